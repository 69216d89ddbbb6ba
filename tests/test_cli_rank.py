"""``fastattn rank``: texts in the order in which they answer a query."""

import json

import numpy as np
import pytest
from support.command_line import TEXTS, assert_one_line, rank
from support.folders import DATA, TINY

import fastattn as fa
from fastattn.cli import main

RERANKER = DATA / "cross" / "electra"


class TestRank:
    def test_order(self, capsys):
        assert rank("the cat", *TEXTS) == 0
        lines = capsys.readouterr().out.splitlines()
        model = fa.load(RERANKER)
        ranked = model.rank("the cat", TEXTS, return_documents=True)
        assert [line.split("  ")[-1] for line in lines] == [e["text"] for e in ranked]
        shown = [float(line.split()[0]) for line in lines]
        assert shown == [round(entry["score"], 4) for entry in ranked]

    def test_of_a_file_the_best(self, capsys, tmp_path):
        (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
        assert rank("the cat", "--input", tmp_path / "texts.txt", "--top", 1) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ((), "no texts: give some"),
            (("a", "--top", 0), "top_k must be at least 1"),
            (("a", "--output", "x.npy"), "must end in .jsonl (- is standard output: JSON"),
            (("a", "--output", "no/x.jsonl"), "there is no folder"),
            (
                ("a", "--model", TINY),
                "holds a TextEncoder: give it to fastattn encode or fastattn explain",
            ),
        ],
    )
    def test_errors(self, capsys, arguments, problem):
        assert rank("the cat", *arguments) == 2
        assert_one_line(capsys, problem)

    def test_what_else_takes_no_reranker(self, capsys):
        assert main(["encode", "a", "--model", str(RERANKER)]) == 2
        fit = "give it to fastattn explain or fastattn rank or fastattn serve\n"
        assert_one_line(capsys, f"holds a CrossEncoder: {fit}")

    def test_what_takes_no_sparse_model(self, capsys):
        assert rank("a", "b", "--model", DATA / "sparse" / "bert") == 2
        assert_one_line(capsys, "holds a SparseEncoder: give it to fastattn encode or ")

    def test_written_as_json_lines(self, capsys, tmp_path):
        path = tmp_path / "ranked.jsonl"
        options = "--top", 2, "--batch-tokens", 8, "--threads", 1
        assert rank("the cat", *TEXTS, "--output", path, *options) == 0
        assert capsys.readouterr().out == f"{path}: 2 texts, the best first\n"
        assert rank("the cat", *TEXTS, "--output", "-", *options) == 0
        assert capsys.readouterr().out == path.read_text()
        ranked = fa.load(RERANKER).rank("the cat", TEXTS, top_k=2, return_documents=True)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [list(line) for line in lines] == [["corpus_id", "score", "text"]] * 2
        for line, entry in zip(lines, ranked, strict=True):
            assert str(line["score"]) == str(np.float32(entry["score"]))
            assert line | {"score": entry["score"]} == entry

    def test_weights_reach_load(self, capsys):
        assert rank("the cat", *TEXTS, "--output", "-", "--weights", "int8") == 0
        line, *_ = capsys.readouterr().out.splitlines()
        model = fa.load(RERANKER, weights="int8")
        assert np.float32(json.loads(line)["score"]) == max(
            entry["score"] for entry in model.rank("the cat", TEXTS)
        )

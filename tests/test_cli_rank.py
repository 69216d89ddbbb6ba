"""``fastattn rank``: texts in the order in which they answer a query."""

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
            (("a", "--model", TINY), "holds a TextEncoder"),
        ],
    )
    def test_errors(self, capsys, arguments, problem):
        assert rank("the cat", *arguments) == 2
        assert_one_line(capsys, problem)

    def test_what_else_takes_no_reranker(self, capsys):
        for command in ("encode", "explain"):
            assert main([command, "a", "--model", str(RERANKER)]) == 2
            assert_one_line(capsys, "holds a CrossEncoder")

"""``fastattn search``: what of a folder of vectors is closest to a query."""

import gzip
import json
import shutil

import numpy as np
import pytest
from support.command_line import TEXTS, assert_one_line
from support.folders import DATA, TINY, change_json

import fastattn as fa
from fastattn.cli import main

RECORDS = [{"text": text, "key": text[-3:]} for text in TEXTS]


def search(folder, *arguments):
    given = ["--vectors", folder, "--model", TINY, *arguments]
    return main(["search", *map(str, given)])


def lines_of(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def expected(model, query, top):
    """Give ranks, scores, ids and texts as similarity orders the texts."""
    scores = model.similarity(model.encode_query([query]), model.encode(TEXTS))[0]
    order = np.argsort(-scores, kind="stable")[:top]
    return [(i, RECORDS[row]["key"], TEXTS[row]) for i, row in enumerate(order, 1)]


def write_source(path):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt") as file:
        if path.suffix == ".csv":
            file.writelines(["text,key\n", *(f"{r['text']},{r['key']}\n" for r in RECORDS)])
        else:
            file.writelines(f"{json.dumps(record)}\n" for record in [*RECORDS, {}])


def make(tmp_path, name, **options):
    source, folder = tmp_path / name, tmp_path / "vectors"
    write_source(source)
    fa.encode_corpus(TINY, source, folder, id_field="key", shard_rows=2, **options)
    return source, folder


@pytest.fixture
def corpus(tmp_path):
    return make(tmp_path, "texts.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv"])
def test_finds_what_similarity_finds(capsys, tmp_path, model, name):
    _, folder = make(tmp_path, name)
    queries = ["the cat", "a red sun"]
    assert search(folder, *queries, "--output", "-", "--threads", 1) == 0
    found = lines_of(capsys)
    for query in queries:
        hits = [hit for hit in found if hit["query"] == query]
        shown = [(hit["rank"], hit["id"], hit["text"]) for hit in hits]
        assert shown == expected(model, query, 3)
        vectors = fa.open_vectors(folder).shards
        scores, _ = fa.top_k(model.encode_query(query), vectors, 3, metric="cosine")
        assert [str(hit["score"]) for hit in hits] == [str(score) for score in scores]


def test_shows_lines(capsys, corpus, model):
    _, folder = corpus
    assert search(folder, "the cat", "--top", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [tuple(part.strip() for part in line.split("  ") if part) for line in lines]
    wanted = [(str(rank), key, text) for rank, key, text in expected(model, "the cat", 2)]
    assert [(rank, *rest) for rank, _, *rest in shown] == wanted


def test_queries_of_a_file_into_a_file(capsys, tmp_path, corpus):
    _, folder = corpus
    queries, out = tmp_path / "queries.txt", tmp_path / "found.jsonl"
    queries.write_text("a\nb\n")
    assert search(folder, "--input", queries, "--output", out, "--top", 1) == 0
    assert capsys.readouterr().out == f"{out}: 2 hits, the best of each query first\n"
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [hit["query"] for hit in found] == ["a", "b"]


def test_queries_are_encoded_as_the_texts_were(capsys, tmp_path, model):
    _, folder = make(tmp_path, "a.jsonl", truncate_dim=8, precision="float16")
    assert search(folder, TEXTS[1], "--top", 1, "--output", "-") == 0
    assert [hit["text"] for hit in lines_of(capsys)] == [TEXTS[1]]


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_says_once_why_there_are_no_texts(capsys, corpus, change):
    source, folder = corpus
    if change == "gone":
        source.unlink()
    else:
        source.write_text("{}\n")
    assert search(folder, "a", "b", "--output", "-") == 0
    shown = capsys.readouterr()
    assert shown.err.startswith(f"fastattn: warning: without texts: {source}")
    assert shown.err.count("\n") == 1
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert {tuple(line) for line in lines} == {("query", "rank", "score", "id")}
    assert search(folder, "a") == 0


def test_texts_that_came_from_no_file(capsys, tmp_path):
    fa.encode_corpus(TINY, TEXTS, tmp_path / "out", source_id="three texts")
    assert search(tmp_path / "out", TEXTS[0], "--top", 1) == 0
    shown = capsys.readouterr()
    assert shown.err == "fastattn: warning: without texts: 'three texts' is no file\n"
    assert shown.out == "  1    1.0000  0\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "no texts: give some"),
        (("a", "--top", 0), "--top must be at least 1"),
        (("a", "--output", "x.npy"), "must end in .jsonl (- is standard output: JSON"),
        (("a", "--vectors", "no"), "this is no folder of vectors"),
        (("a", "--compute", "int8"), "with --compute float32, not int8: leave --compute"),
        (("a", "--model", "nowhere"), "the model that made it is not here: no model now"),
        (
            ("a", "--vectors", TINY / "config.json"),
            "json: A file, where a folder is wanted",
        ),
        (("a", "--model", DATA / "cross" / "electra"), "holds a CrossEncoder: give it to"),
    ],
)
def test_errors(capsys, corpus, arguments, problem):
    assert search(corpus[1], *arguments) == 2
    assert_one_line(capsys, problem)


def test_a_folder_that_is_not_whole(capsys, corpus):
    manifest = corpus[1] / "manifest.json"
    kept = json.loads(manifest.read_text())
    del kept["rows"]
    manifest.write_text(json.dumps(kept))
    assert search(corpus[1], "a") == 2
    assert_one_line(capsys, "not all shards are there")


def test_integers_are_not_searched(capsys, tmp_path, corpus):
    fa.quantize_vectors(corpus[1], tmp_path / "small")
    assert search(tmp_path / "small", "a") == 2
    assert_one_line(capsys, "holds int8, and a search takes float32 or float16")


def test_takes_the_model_that_the_folder_names(capsys, tmp_path, monkeypatch, corpus):
    source, folder = corpus
    monkeypatch.chdir(TINY.parent)
    options = "--input", source, "--output", f"{folder}/8/", "--compute", "int8"
    assert main([*map(str, ("encode", *options, "--model", TINY.name))]) == 0
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    for settings in (), ("--model", TINY), ("--compute", "int8"):
        given = "search", TEXTS[0], "--vectors", f"{folder}/8", "--top", 1, *settings
        assert main([*map(str, given)]) == 0
        shown = capsys.readouterr()
        assert TEXTS[0] in shown.out
        assert shown.err == ""


def test_a_model_that_is_loaded_with_settings(capsys, tmp_path):
    model = fa.load(TINY, max_length=9, prompts={"query": "find "})
    fa.encode_corpus(model, TEXTS, tmp_path / "out", source_id="three texts")
    assert (
        main(["search", "the cat", "--vectors", str(tmp_path / "out"), "--top", "1"]) == 0
    )
    query = model.encode_query("the cat")
    score = model.similarity(query, model.encode(TEXTS)).max()
    assert capsys.readouterr().out.startswith(f"  1    {score:.4f}")


def test_another_model(capsys, corpus, folder):
    change_json(folder / "config.json", layer_norm_eps=0.5)
    assert search(corpus[1], "a", "--model", folder) == 2
    assert_one_line(capsys, f"holds vectors of another model than {folder} is")


def test_a_model_that_nothing_names(capsys, tmp_path, model):
    parts = model.model, model.tokenizer, model.special_tokens
    unnamed = fa.TextEncoder(*parts, modules=model.modules, prompt="", prompts={})
    fa.encode_corpus(unnamed, ["a"], tmp_path / "out", source_id="a text")
    assert main(["search", "a", "--vectors", str(tmp_path / "out")]) == 2
    assert_one_line(capsys, "does not say which model made it: give --model")


@pytest.mark.parametrize("distance", ["euclidean", "manhattan"])
def test_refuses_distances_by_name(capsys, tmp_path, corpus, distance):
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    path = folder / "config_sentence_transformers.json"
    config = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(config | {"similarity_fn_name": distance}))
    assert search(corpus[1], "a", "--model", folder) == 2
    assert_one_line(capsys, f"compares by {distance} distances")

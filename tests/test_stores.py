"""The recipes of docs/corpus.md, run with the stores and engines that are installed."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from support.processes import ROOT

import fastattn as fa

# What these packages say to their own is no failure.
pytestmark = pytest.mark.filterwarnings("default")

MODEL = "all-MiniLM-L6-v2"
TEXTS = [f"Article number {i}." for i in range(25)]
PAGE = (ROOT / "docs" / "corpus.md").read_text()
RECIPES = re.findall(r"^```py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def recipe(word):
    """Find the one recipe that has a word."""
    [found] = [block for block in RECIPES if word in block]
    return found


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = (json.dumps({"text": text, "url": f"/{i}"}) for i, text in enumerate(TEXTS))
    Path("articles.jsonl").write_text("".join(f"{line}\n" for line in lines))
    fa.encode_corpus(MODEL, "articles.jsonl", "npy", shard_rows=10)


def run(word, format="npy"):
    """Run a recipe on a folder of vectors, and give its names."""
    fa.encode_corpus(MODEL, "articles.jsonl", "vectors", shard_rows=10, format=format)
    names = {"vectors": fa.open_vectors("npy")}
    exec(recipe(word), names)
    return names


QUERY = "Article number 7."


@pytest.fixture
def query():
    return fa.load(MODEL).encode(QUERY)


def expected(query):
    """Give the rows that are closest."""
    return fa.top_k(query, fa.open_vectors("npy"), 3)[1].tolist()


def test_faiss(query):
    pytest.importorskip("faiss")
    _, rows = run("import faiss")["index"].search(query[None], 3)
    assert rows[0].tolist() == expected(query)


def test_usearch(query):
    pytest.importorskip("usearch")
    found = run("import Index")["index"].search(query, 3)
    assert found.keys.tolist() == expected(query)


def test_qdrant(query):
    pytest.importorskip("qdrant_client")
    client = run("import QdrantClient")["client"]
    found = client.query_points("articles", query=query.tolist(), limit=3).points
    assert [point.id for point in found] == expected(query)


def test_milvus():
    run('"milvus"')
    folders = sorted(Path("milvus").iterdir())
    ids, vectors = (
        np.concatenate([np.load(folder / f"{name}.npy") for folder in folders])
        for name in ("id", "vector")
    )
    assert ids.tolist() == list(range(25))
    np.testing.assert_array_equal(vectors, fa.open_vectors("npy")[:], strict=True)


def test_duckdb(query):
    duckdb = pytest.importorskip("duckdb")
    run("import duckdb", "parquet")
    order = "SELECT id FROM articles ORDER BY array_inner_product(vector, $1::FLOAT[384])"
    found = duckdb.execute(f"{order} DESC LIMIT 3", [query.tolist()]).fetchall()
    assert [int(key) for (key,) in found] == expected(query)


def test_lancedb(query):
    pytest.importorskip("lancedb")
    table = run("import lancedb", "parquet")["table"]
    found = table.search(query).distance_type("dot").limit(3).to_list()
    assert [int(row["id"]) for row in found] == expected(query)


def test_pinecone():
    parquet = pytest.importorskip("pyarrow.parquet")
    run('"pinecone"', "parquet")
    table = parquet.read_table("pinecone")
    assert table.schema.names == ["id", "values"]
    assert [*map(str, table.schema.types)] == ["string", "list<element: float>"]
    assert table["id"].to_pylist() == [str(i) for i in range(25)]
    vectors = np.array(table["values"].to_pylist(), np.float32)
    np.testing.assert_array_equal(vectors, fa.open_vectors("npy")[:], strict=True)


def check_table():
    """Compare what an engine wrote with the vectors, in any order."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table("vectors")
    assert len(table) == len(TEXTS)
    for row in table.to_pylist():
        expected = fa.open_vectors("npy")[int(row["url"][1:])]
        np.testing.assert_array_equal(np.array(row["vector"], np.float32), expected)


def test_ray():
    pytest.importorskip("ray.data")
    exec(recipe("import ray"), {"__name__": "__main__"})
    check_table()


def test_spark(monkeypatch):
    pytest.importorskip("pyspark")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    exec(recipe("import SparkSession"), {"__name__": "__main__"})
    check_table()

"""LanceDB: our embedding function in a table's schema, and its own by our class."""

import sys

import lancedb
from lancedb.embeddings import get_registry
from lancedb.pydantic import LanceModel, Vector

import fastattn.integrations.lancedb  # noqa: F401
from fastattn.integrations import install_as_sentence_transformers


def search(folder, function, texts):
    class Row(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    table = lancedb.connect(folder).create_table("texts", schema=Row)
    table.add([{"text": text} for text in texts])
    found = lancedb.connect(folder).open_table("texts").search("Where do pets rest?")
    return {row["text"] for row in found.limit(2).to_list()}


def test_our_function(texts, tmp_path):
    function = get_registry().get("fastattn").create(name="all-MiniLM-L6-v2")
    assert search(tmp_path, function, texts) == set(texts[:2])
    assert "torch" not in sys.modules


def test_its_own_function_with_our_class(texts, tmp_path):
    install_as_sentence_transformers()
    function = get_registry().get("sentence-transformers").create(name="all-MiniLM-L6-v2")
    assert search(tmp_path, function, texts) == set(texts[:2])

"""Chroma: our embedding function, which collections remember, and its own by our class."""

import sys

import chromadb
import numpy as np
import pytest
from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction

from fastattn.integrations import install_as_sentence_transformers
from fastattn.integrations.chroma import FastattnEmbeddingFunction


def test_a_collection_remembers_it(texts, tmp_path):
    client = chromadb.PersistentClient(str(tmp_path))
    function = FastattnEmbeddingFunction("all-MiniLM-L6-v2")
    collection = client.create_collection("texts", embedding_function=function)
    collection.add(ids=[str(i) for i in range(4)], documents=texts)
    again = chromadb.PersistentClient(str(tmp_path)).get_collection("texts")
    found = again.query(query_texts=["Where do pets rest?"], n_results=2)
    assert set(found["ids"][0]) == {"0", "1"}
    assert "torch" not in sys.modules


def test_its_own_function_with_our_class(texts, encoder):
    install_as_sentence_transformers()
    function = SentenceTransformerEmbeddingFunction("all-MiniLM-L6-v2")
    np.testing.assert_array_equal(np.array(function(texts)), encoder.encode(texts))


@pytest.mark.parametrize(
    ("similarity", "space"),
    [("cosine", "cosine"), ("dot", "ip"), ("euclidean", "l2"), ("manhattan", "cosine")],
)
def test_spaces(similarity, space):
    function = FastattnEmbeddingFunction("all-MiniLM-L6-v2", truncate_dim=4)
    function._encoder.similarity_fn_name = similarity
    assert function.default_space() == space
    again = FastattnEmbeddingFunction.build_from_config(function.get_config())
    assert again(["a"])[0].shape == (4,)

"""Haystack: a pipeline that writes documents, one that finds and ranks them, and YAML."""

import sys
from pathlib import Path

import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore

from fastattn.integrations.haystack import (
    FastattnDocumentEmbedder,
    FastattnRanker,
    FastattnTextEmbedder,
)

NAME = "all-MiniLM-L6-v2"
RERANKER = str(Path(__file__).parents[1] / "data" / "cross" / "electra")


@pytest.fixture
def store(texts):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    indexing = Pipeline()
    indexing.add_component("embedder", FastattnDocumentEmbedder(NAME))
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("embedder", "writer")
    indexing.run({"embedder": {"documents": [Document(content=text) for text in texts]}})
    return store


def test_search(store, texts, reranker):
    search = Pipeline()
    search.add_component("embedder", FastattnTextEmbedder(NAME))
    search.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=2))
    search.add_component("ranker", FastattnRanker(RERANKER, top_k=1))
    search.connect("embedder.embedding", "retriever.query_embedding")
    search.connect("retriever", "ranker")
    query = "Where do pets rest?"
    inputs = {"embedder": {"text": query}, "ranker": {"query": query}}
    found = search.run(inputs, include_outputs_from={"retriever"})
    retrieved = [document.content for document in found["retriever"]["documents"]]
    assert set(retrieved) == set(texts[:2])
    [best] = found["ranker"]["documents"]
    assert (
        best.score
        == max(reranker.rank(query, retrieved), key=lambda e: e["score"])["score"]
    )
    again = Pipeline.loads(search.dumps(), allowed_modules=["fastattn.*", "haystack.*"])
    again.remove_component("retriever")
    assert "torch" not in sys.modules


def test_options(texts, encoder):
    component = FastattnDocumentEmbedder(NAME, options={"truncate_dim": 4})
    component.warm_up()
    [document] = component.run([Document(content=texts[0])])["documents"]
    assert document.embedding == encoder.encode(texts[0], truncate_dim=4).tolist()

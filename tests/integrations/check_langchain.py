"""LangChain: a vector store in memory, also from coroutines, and a reranker."""

import asyncio
import sys

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_huggingface import HuggingFaceEmbeddings

from fastattn.integrations import install_as_sentence_transformers
from fastattn.integrations.langchain import FastattnEmbeddings, FastattnReranker


@pytest.fixture
def store(texts, encoder):
    store = InMemoryVectorStore(FastattnEmbeddings(encoder))
    store.add_texts(texts)
    return store


def test_search(store, texts):
    found = store.similarity_search("Where do pets rest?", k=2)
    assert {document.page_content for document in found} == set(texts[:2])
    assert "torch" not in sys.modules


def test_search_from_a_coroutine(store, texts):
    async def search():
        store = await InMemoryVectorStore.afrom_texts(
            texts, FastattnEmbeddings("all-MiniLM-L6-v2")
        )
        retriever = store.as_retriever(search_kwargs={"k": 1})
        return await asyncio.gather(*map(retriever.ainvoke, texts))

    assert [found[0].page_content for found in asyncio.run(search())] == texts


def test_vectors_are_lists_of_numbers(texts, encoder):
    embeddings = FastattnEmbeddings(encoder, truncate_dim=5)
    assert (
        embeddings.embed_documents(texts) == encoder.encode(texts, truncate_dim=5).tolist()
    )
    assert embeddings.embed_query("a") == encoder.encode("a", truncate_dim=5).tolist()


def test_reranker(texts, reranker):
    documents = [Document(text, metadata={"n": i}) for i, text in enumerate(texts)]
    compressor = FastattnReranker(model=reranker, top_n=2)
    expected = reranker.rank("sleep", texts, top_k=2)
    for found in (
        compressor.compress_documents(documents, "sleep"),
        asyncio.run(compressor.acompress_documents(documents, "sleep")),
    ):
        told = [(d.metadata["n"], d.metadata["relevance_score"]) for d in found]
        assert told == [(entry["corpus_id"], entry["score"]) for entry in expected]
    assert "relevance_score" not in documents[0].metadata


def test_its_own_embeddings_with_our_class(texts, encoder):
    install_as_sentence_transformers()
    own = HuggingFaceEmbeddings(
        model="all-MiniLM-L6-v2", encode_kwargs={"normalize_embeddings": True}
    )
    assert own.embed_documents(texts) == encoder.encode(texts).tolist()
    assert own.embed_query(texts[0]) == encoder.encode(texts[0]).tolist()


def test_what_is_no_model():
    with pytest.raises(TypeError, match=r"model must be a fastattn\.TextEncoder"):
        FastattnEmbeddings(3)

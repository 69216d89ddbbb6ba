"""LlamaIndex: an index in memory, its retriever, also from coroutines, and a reranker."""

import asyncio
import sys
from pathlib import Path

from llama_index.core import VectorStoreIndex
from llama_index.core.postprocessor import SentenceTransformerRerank
from llama_index.core.schema import NodeWithScore, TextNode

from fastattn.integrations import install_as_sentence_transformers
from fastattn.integrations.llama_index import FastattnEmbedding, FastattnRerank

RERANKER = str(Path(__file__).parents[1] / "data" / "cross" / "electra")


def test_retriever(texts, encoder):
    nodes = [TextNode(text=text) for text in texts]
    index = VectorStoreIndex(nodes, embed_model=FastattnEmbedding(encoder))
    found = index.as_retriever(similarity_top_k=2).retrieve("Where do pets rest?")
    assert {each.node.text for each in found} == set(texts[:2])
    again = asyncio.run(index.as_retriever(similarity_top_k=1).aretrieve(texts[3]))
    assert again[0].node.text == texts[3]
    assert "torch" not in sys.modules


def test_vectors(texts, encoder):
    model = FastattnEmbedding("all-MiniLM-L6-v2", embed_batch_size=3)
    expected = encoder.encode(texts).tolist()
    assert model.get_text_embedding_batch(texts) == expected
    assert asyncio.run(model.aget_text_embedding_batch(texts)) == expected
    assert model.get_query_embedding(texts[0]) == expected[0]


def test_its_own_reranker_with_our_class(texts, reranker):
    install_as_sentence_transformers()
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in texts]
    own = SentenceTransformerRerank(model=RERANKER, top_n=4, device="cpu")
    found = own.postprocess_nodes(nodes, query_str="sleep")
    expected = [entry["score"] for entry in reranker.rank("sleep", texts)]
    assert [each.score for each in found] == expected


def test_reranker(texts, reranker):
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in texts]
    found = FastattnRerank(reranker, top_n=3).postprocess_nodes(nodes, query_str="sleep")
    expected = reranker.rank("sleep", texts, top_k=3)
    told = [(texts.index(each.node.text), each.score) for each in found]
    assert told == [(entry["corpus_id"], entry["score"]) for entry in expected]

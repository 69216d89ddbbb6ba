"""For LangChain: embeddings for its vector stores, and a reranker for its retrievers."""

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings

from ..cross_encoder import CrossEncoder
from ..text import TextEncoder
from .loaded import loaded


class FastattnEmbeddings(Embeddings):
    """Embeddings by a TextEncoder, or its name; `options` are those of its `encode`."""

    def __init__(self, model: Any, **options: Any) -> None:
        self.model = loaded(TextEncoder, model)
        self.options = options

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Turn documents into vectors, with the prompt for them."""
        vectors: list[list[float]] = self.model.encode_document(
            texts, **self.options
        ).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Turn a query into a vector, with the prompt for it."""
        vector: list[float] = self.model.encode_query(text, **self.options).tolist()
        return vector


class FastattnReranker(BaseDocumentCompressor):
    """Keep the best `top_n` documents, by a CrossEncoder or its name, the best first."""

    model: Any
    top_n: int | None = 3

    def model_post_init(self, context: Any) -> None:
        """Load the model."""
        self.model = loaded(CrossEncoder, self.model)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Any = None
    ) -> list[Document]:
        """Put documents in order; their metadata get a "relevance_score"."""
        texts = [document.page_content for document in documents]
        ranked = self.model.rank(query, texts, top_k=self.top_n)
        return [
            document.model_copy(
                update={"metadata": document.metadata | {"relevance_score": entry["score"]}}
            )
            for entry in ranked
            for document in [documents[entry["corpus_id"]]]
        ]

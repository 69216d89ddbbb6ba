"""For Haystack: components that embed texts and documents, and one that ranks documents."""

from dataclasses import replace
from functools import cached_property
from typing import Any

from haystack import Document, component

from ..cross_encoder import CrossEncoder
from ..text import TextEncoder


class _Embedder:
    """A TextEncoder by its name or folder, which pipelines write down, and options."""

    def __init__(self, model: str, options: dict[str, Any] | None = None) -> None:
        self.model = model
        self.options = options

    @cached_property
    def encoder(self) -> TextEncoder:
        """The model, which is loaded when it is first used."""
        return TextEncoder.load(self.model)

    def warm_up(self) -> None:
        """Load the model."""
        self.encoder  # noqa: B018


@component
class FastattnTextEmbedder(_Embedder):
    """Turn a query into a vector, with the prompt for queries."""

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Give the vector as "embedding"."""
        vector = self.encoder.encode_query(text, **(self.options or {}))
        return {"embedding": vector.tolist()}


@component
class FastattnDocumentEmbedder(_Embedder):
    """Turn documents into vectors, with the prompt for documents."""

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Give documents that have an "embedding"."""
        texts = [document.content or "" for document in documents]
        vectors = self.encoder.encode_document(texts, **(self.options or {})).tolist()
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(document, embedding=v) for document, v in pairs]}


@component
class FastattnRanker:
    """Put documents in the order in which they answer a query, by a CrossEncoder."""

    def __init__(self, model: str, top_k: int | None = 10) -> None:
        self.model = model
        self.top_k = top_k

    @cached_property
    def encoder(self) -> CrossEncoder:
        """The model, which is loaded when it is first used."""
        return CrossEncoder.load(self.model)

    def warm_up(self) -> None:
        """Load the model."""
        self.encoder  # noqa: B018

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, Any]:
        """Give the best documents with their "score", the best first."""
        texts = [document.content or "" for document in documents]
        ranked = self.encoder.rank(query, texts, top_k=top_k or self.top_k)
        return {
            "documents": [
                replace(documents[entry["corpus_id"]], score=entry["score"])
                for entry in ranked
            ]
        }

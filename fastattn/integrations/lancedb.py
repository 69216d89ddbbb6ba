"""For LanceDB: an embedding function of its registry, by the name "fastattn"."""

from functools import cached_property
from typing import Any

from lancedb.embeddings import TextEmbeddingFunction, register

from ..text import TextEncoder


@register("fastattn")
class FastattnEmbeddings(TextEmbeddingFunction):
    """Vectors by the TextEncoder of a name or folder."""

    name: str = "all-MiniLM-L6-v2"

    @cached_property
    def _encoder(self) -> TextEncoder:
        return TextEncoder.load(self.name)

    def ndims(self) -> int:
        """Count the values of a vector."""
        return self._encoder.dim

    def generate_embeddings(self, texts: Any, *args: Any, **kwargs: Any) -> Any:
        """Turn documents into vectors, with the prompt for them."""
        return list(self._encoder.encode_document(texts))

    def compute_query_embeddings(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Turn a query into a vector, with the prompt for it."""
        return [self._encoder.encode_query(query)]

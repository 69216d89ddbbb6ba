"""For KeyBERT: what it calls a backend."""

from typing import Any

from keybert.backend import BaseEmbedder

from ..text import TextEncoder
from .loaded import loaded


class FastattnBackend(BaseEmbedder):
    """Vectors by a TextEncoder, or its name; `options` are those of `encode`."""

    def __init__(self, model: Any, **options: Any) -> None:
        super().__init__(embedding_model=loaded(TextEncoder, model))
        self.options = options

    def embed(self, documents: list[str], verbose: bool = False) -> Any:
        """Turn documents and words into vectors."""
        return self.embedding_model.encode(documents, show_progress=verbose, **self.options)

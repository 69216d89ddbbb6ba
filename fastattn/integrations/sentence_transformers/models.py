"""The modules of sentence_transformers.models: libraries import them, and few use them."""

from typing import Any, Never


class Module:
    """A module that a model is put together from, which folders say here."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        refuse()

    @classmethod
    def from_model2vec(cls, *arguments: Any, **keywords: Any) -> Never:
        """Refuse: a folder of model2vec is given to SentenceTransformer."""
        refuse()


Dense = LayerNorm = Normalize = Pooling = StaticEmbedding = Transformer = Module


def refuse() -> Never:
    """Say what to do instead."""
    raise TypeError(
        "a model is not put together from modules here: give SentenceTransformer its name, "
        "or the folder that says them"
    )

"""Models by name, and what of a request is work for them."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, ClassVar

import numpy as np
from numpy import int64

from ..arrays import as_index
from ..cross_encoder import CrossEncoder
from ..models.pairs import PairTokenization
from ..models.tokenization import Tokens
from ..text import TextEncoder
from ..text_base import DOCUMENT_PROMPTS, QUERY_PROMPTS
from .batching import Compute, Rows, Work

# Ways to compute that are kept, for texts share a batch where theirs is the same.
KEPT = 256

Pair = tuple[str, str]


class Embedder:
    """A model that makes vectors."""

    kind: ClassVar[str] = "embedding"

    def __init__(self, name: str, model: TextEncoder, num_threads: int | None) -> None:
        self.name = name
        self.model = model
        self._num_threads = num_threads
        self._way: Callable[..., tuple[str, Compute]] = lru_cache(KEPT)(self._make_way)

    def texts(
        self,
        texts: list[str],
        *,
        prompt_name: str | None = None,
        normalize: bool | None = None,
        dimensions: int | None = None,
    ) -> Work:
        """Tokenize texts."""
        prompt, compute = self._way(prompt_name, None, normalize, dimensions)
        return Work(self.model._tokens(texts, prompt), compute)

    def ids(
        self,
        texts: list[list[int]],
        *,
        normalize: bool | None = None,
        dimensions: int | None = None,
    ) -> Work:
        """Take token ids as they are, special tokens included."""
        _, compute = self._way(None, "", normalize, dimensions)
        return Work([self._as_tokens(i, ids) for i, ids in enumerate(texts)], compute)

    def query(self, text: str) -> Work:
        """Tokenize what others are compared with."""
        return self.texts([text], prompt_name=self._first(QUERY_PROMPTS))

    def documents(self, texts: list[str]) -> Work:
        """Tokenize what is compared."""
        return self.texts(texts, prompt_name=self._first(DOCUMENT_PROMPTS))

    def about(self) -> dict[str, Any]:
        """Say what the model is, as text-embeddings-inference does."""
        first, *_ = self.model.modules.values()
        return {"embedding": {"pooling": repr(first)}}

    def _first(self, names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in self.model.prompts), None)

    def _make_way(
        self,
        prompt_name: str | None,
        prompt: str | None,
        normalize: bool | None,
        dimensions: int | None,
    ) -> tuple[str, Compute]:
        """Give the prompt, and what computes."""
        if dimensions is not None:
            as_index(dimensions, "dimensions", 1, self.model.modules.dim)
        call = self.model._call(
            prompt=prompt,
            prompt_name=prompt_name,
            normalize=normalize,
            truncate_dim=dimensions,
            num_threads=self._num_threads,
        )

        def compute(tokens: list[Tokens]) -> Rows:
            rows: Rows = call.empty(len(tokens))
            self.model._compute(tokens, call, rows, list(range(len(tokens))))
            return rows

        return call.prompt, compute

    def _as_tokens(self, index: int, given: list[int]) -> Tokens:
        """Check token ids."""
        most, size = self.model.max_length, self.model.model.vocab_size
        if not 1 <= len(given) <= most:
            raise ValueError(
                f"a text must have from 1 to {most} token ids, and text {index} has "
                f"{len(given)}"
            )
        if min(given) < 0 or max(given) >= size:
            raise ValueError(
                f"token ids must be from 0 to {size - 1}, and those of the model's own "
                f"tokenizer: text {index} has one from {min(given)} to {max(given)}"
            )
        ids = np.array(given, int64)
        return Tokens(ids, np.zeros_like(ids), False)


class Scorer:
    """A model that scores texts, or pairs of them."""

    kind: ClassVar[str] = "scores"

    def __init__(self, name: str, model: CrossEncoder, num_threads: int | None) -> None:
        self.name = name
        self.model = model
        self._num_threads = num_threads
        self._way: Callable[[str], Compute] = lru_cache(KEPT)(self._make_way)

    def texts(self, texts: list[str], activation: str) -> Work:
        """Tokenize texts."""
        tokens = self.model._tokens(texts, self.model.prompt)
        return Work(tokens, self._way(activation))

    def pairs(self, pairs: list[Pair], names: tuple[str, str], activation: str) -> Work:
        """Tokenize pairs, whose texts errors call by names with the place of an index."""
        tokenize = partial(
            PairTokenization,
            self.model._template,
            name=lambda index, side: names[side].format(index),
        )
        tokens = self.model._tokens(pairs, self.model.prompt, tokenize)
        return Work(tokens, self._way(activation))

    def about(self) -> dict[str, Any]:
        """Say what the model is, as text-embeddings-inference does."""
        labels = dict(enumerate(self.model.labels))
        ids = {label: index for index, label in labels.items()}
        kind = "reranker" if len(labels) == 1 else "classifier"
        return {kind: {"id2label": {str(i): x for i, x in labels.items()}, "label2id": ids}}

    def _make_way(self, activation: str) -> Compute:
        def compute(tokens: list[Tokens]) -> Rows:
            return self.model._compute(tokens, activation, self._num_threads)

        return compute

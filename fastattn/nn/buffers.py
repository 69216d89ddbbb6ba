"""Working memory of layers, and how it is looked at."""

from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .._packed import PANEL
from .rotary import Rotary

__all__ = ["Buffers", "Heads", "Sizes", "empty_rows"]

Array = NDArray[np.float32]

PAGE = 1024  # floats


def row_length(width: int) -> int:
    """Give the floats from one row of this width in working memory to the next.

    Rows that lie a multiple of a page apart share the sets of the first-level cache, where
    a tile of a product needs up to 14 of them at once: it would take a quarter longer.
    """
    return width if width % PAGE else width + PANEL


def empty_rows(count: int, width: int) -> Array:
    """Allocate rows (count, width) of working memory."""
    length = row_length(width)
    rows = np.empty((count, length), np.float32)
    return rows if length == width else rows[:, :width]


class Heads(NamedTuple):
    """Queries (query tokens, num_heads, head_dim); keys, values (tokens, kv heads, ...).

    Keys and values in a cache are (batch, kv heads, tokens, head_dim).
    """

    query: Array
    key: Array
    value: Array

    @property
    def in_cache(self) -> bool:
        """Whether keys and values lie in a cache."""
        return self.key.ndim == 4

    @classmethod
    def of_rows(cls, rows: Array, num_heads: int, head_dim: int) -> Self:
        """View rows q|k|v, each with its heads side by side and `num_heads` those of q."""
        count = rows.shape[1] // head_dim
        heads = rows.reshape(len(rows), count, head_dim)
        values = (num_heads + count) // 2
        return cls(heads[:, :num_heads], heads[:, num_heads:values], heads[:, values:])


class Sizes(NamedTuple):
    """How many floats a token takes in each buffer.

    Attributes
    ----------
    hidden : int
        Of a vector between layers.
    qkv : int
        Of a query, a key and a value, all heads of each.
    context : int
        Of what attention makes of the values, all heads.
    intermediate : int
        Of the vector inside a feed-forward network.
    """

    hidden: int
    qkv: int
    context: int
    intermediate: int = 0


class Buffers:
    """Working memory for a number of tokens, shared by all the layers of a call.

    Attributes
    ----------
    attended : float32 array (tokens, hidden)
        What an encoder layer hands from attention to the feed-forward network.
    angles : dict of (length, offset, Rotary) to arrays (cos, sin)
        Rotary positions, once computed.
    """

    def __init__(self, tokens: int, sizes: Sizes, within: Self | None = None) -> None:
        """Allocate memory, or take the beginning of a larger one's."""
        self._tokens = tokens
        # A layer never needs queries, keys and values while it has an intermediate.
        inner = tokens * (max(sizes.qkv, sizes.intermediate) + PANEL)
        outer = tokens * (max(sizes.context, sizes.hidden) + PANEL)
        attended = tokens * row_length(sizes.hidden)
        if within is None:
            # One piece, which malloc keeps for the next call: of several that are freed one
            # by one it gives memory back, and each call would wait for new pages.
            self._memory: Array = np.empty(inner + outer + attended, np.float32)
            self.angles: dict[tuple[int, int, Rotary], tuple[Array, Array]] = {}
        else:
            self._memory, self.angles = within._memory, within.angles
        self._inner = self._memory[:inner]
        self._outer = self._memory[inner : inner + outer]
        self.attended = self._view(self._memory[inner + outer :], sizes.hidden)
        self._views: dict[tuple[int, int, int], tuple[Array, Heads, Array, Array]] = {}
        self._intermediates: dict[int, Array] = {}

    @cached_property
    def normed(self) -> Array:
        """The input of attention or of a feed-forward network behind a norm.

        It lies in the memory of the context: attention has read its input before it
        writes its context.
        """
        return self._view(self._outer, self.attended.shape[1])

    def _view(self, memory: Array, width: int) -> Array:
        length = row_length(width)
        rows = memory[: self._tokens * length].reshape(self._tokens, length)
        return rows if length == width else rows[:, :width]

    def of_attention(
        self, width: int, num_heads: int, head_dim: int
    ) -> tuple[Array, Heads, Array, Array]:
        """Give q|k|v (tokens, width), it by head, and the context, as it is and by head."""
        key = width, num_heads, head_dim
        if key not in self._views:
            qkv = self._view(self._inner, width)
            heads = Heads.of_rows(qkv, num_heads, head_dim)
            context = self._view(self._outer, num_heads * head_dim)
            by_head = context.reshape(self._tokens, num_heads, head_dim)
            self._views[key] = qkv, heads, context, by_head
        return self._views[key]

    def intermediate(self, width: int) -> Array:
        """Give room for the vectors inside a feed-forward network (tokens, width)."""
        if width not in self._intermediates:
            self._intermediates[width] = self._view(self._inner, width)
        return self._intermediates[width]

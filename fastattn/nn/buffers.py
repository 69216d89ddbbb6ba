"""Working memory of layers, and how it is looked at."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Buffers", "Heads"]

Array = NDArray[np.float32]


class Heads(NamedTuple):
    """Queries (query tokens, num_heads, head_dim); keys, values (tokens, kv heads, ...)."""

    query: Array
    key: Array
    value: Array

    @classmethod
    def of_rows(cls, rows: Array, num_heads: int, head_dim: int) -> "Heads":
        """View rows q|k|v, each with its heads side by side and `num_heads` those of q."""
        count = rows.shape[1] // head_dim
        heads = rows.reshape(len(rows), count, head_dim)
        values = (num_heads + count) // 2
        return cls(heads[:, :num_heads], heads[:, num_heads:values], heads[:, values:])


class Buffers:
    """Working memory for a number of tokens, shared by all the layers of a call.

    Attributes
    ----------
    qkv : float32 array (tokens, qkv_size)
        Queries, keys and values.
    heads : Heads
        The same by head.
    intermediate : float32 array (tokens, intermediate_size)
        What stands between the dense layers of a feed-forward network. It lies in the
        memory of `qkv`: a layer never needs both at once.
    context : float32 array (tokens, hidden_size)
        What attention makes of the values.
    context_heads : float32 array (tokens, num_heads, head_dim)
        The same by head.
    attended : float32 array (tokens, hidden_size)
        What an encoder layer hands from attention to the feed-forward network.
    angles : dict of (length, dim, base) to arrays (cos, sin)
        Rotary positions, once computed.
    """

    def __init__(
        self,
        tokens: int,
        num_heads: int,
        head_dim: int,
        qkv_size: int,
        intermediate_size: int = 0,
    ):
        memory = np.empty(tokens * max(qkv_size, intermediate_size), np.float32)
        self.qkv = memory[: tokens * qkv_size].reshape(tokens, qkv_size)
        self.heads = Heads.of_rows(self.qkv, num_heads, head_dim)
        size = tokens * intermediate_size
        self.intermediate = memory[:size].reshape(tokens, intermediate_size)
        self.context = np.empty((tokens, num_heads * head_dim), np.float32)
        self.context_heads = self.context.reshape(tokens, num_heads, head_dim)
        self.attended = np.empty_like(self.context)
        self.angles: dict[Any, Any] = {}

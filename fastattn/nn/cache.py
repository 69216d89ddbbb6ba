"""What attention remembers of the tokens before."""

import numpy as np
from numpy.typing import NDArray

from .. import _rowwise
from .._program import Program
from .buffers import Heads

__all__ = ["KeyValueCache"]

Array = NDArray[np.float32]


class KeyValueCache:
    """Keys and values of the tokens so far, for attention that gets them bit by bit.

    A new cache is empty and fits every layer; the first tokens settle batch and heads.
    One cache belongs to one layer and one batch of sequences, and a call changes it: a
    layer may serve many threads, each with a cache of its own.

    Attributes
    ----------
    keys, values : float32 array (batch, num_kv_heads, length, head_dim) or None
        What is remembered, read-only; None before the first call.

    Notes
    -----
    ``len(cache)`` is the number of tokens. Memory doubles when it is full, so n tokens
    are copied fewer than 2 n times altogether.

    Examples
    --------
    Token by token, to the bit what one call computes for all of them:

    >>> import numpy as np
    >>> import fastattn as fa
    >>> layer = fa.nn.MultiHeadAttention(8, 2, rng=0)
    >>> x = np.random.default_rng(0).standard_normal((2, 5, 8), np.float32)
    >>> cache = fa.nn.KeyValueCache()
    >>> steps = [layer(x[:, i : i + 1], cache=cache, causal=True) for i in range(5)]
    >>> np.array_equal(np.concatenate(steps, axis=1), layer(x, causal=True))
    True
    >>> len(cache)
    5
    """

    def __init__(self) -> None:
        self._length = 0
        # Keys and values (2, batch, heads, capacity, dim).
        self._memory: Array | None = None

    def __len__(self) -> int:
        """Count the tokens that are remembered."""
        return self._length

    @property
    def keys(self) -> Array | None:
        """The keys (batch, num_kv_heads, length, head_dim), read-only, or None."""
        return self._read(0)

    @property
    def values(self) -> Array | None:
        """The values (batch, num_kv_heads, length, head_dim), read-only, or None."""
        return self._read(1)

    def _read(self, part: int) -> Array | None:
        if self._memory is None:
            return None
        array = self._memory[part, :, :, : self._length]
        array.flags.writeable = False
        return array

    def check(self, batch: int, num_heads: int, head_dim: int) -> None:
        """Refuse keys that are not like those remembered."""
        if self._memory is None or not self._length:
            return
        _, rows, heads, _, dim = self._memory.shape
        if (rows, heads, dim) != (batch, num_heads, head_dim):
            raise ValueError(
                f"cache holds {rows} sequences with {heads} heads of size {dim}, got "
                f"{batch} with {num_heads} of size {head_dim}: a cache belongs to one "
                "layer and one batch"
            )

    def extended(self, program: Program, heads: Heads, batch: int) -> Heads:
        """Add the writing of keys and values behind those remembered to a program.

        Returns the queries, and all keys and values (batch, heads, length, dim). They are
        remembered once they are counted: `advance`.
        """
        tokens, num_heads, dim = heads.key.shape
        start, stop = self._length, self._length + tokens // max(batch, 1)
        memory = self._memory
        if memory is None or not start or memory.shape[3] < stop:
            larger = np.empty((2, batch, num_heads, 2 * stop, dim), np.float32)
            if memory is not None and start:
                larger[..., :start, :] = memory[..., :start, :]
            self._memory = memory = larger
        for part, rows in zip(memory, heads[1:], strict=True):
            _rowwise.split_heads(program, rows, part[:, :, start:stop])
        return Heads(heads.query, *memory[:, :, :, :stop])

    def advance(self, length: int) -> None:
        """Count tokens that `extended` has written."""
        self._length += length

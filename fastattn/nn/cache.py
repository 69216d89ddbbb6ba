"""What attention remembers of the tokens before."""

import numpy as np
from numpy.typing import NDArray

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

    def extended(self, key: Array, value: Array) -> tuple[Array, Array]:
        """Write keys and values (batch, heads, length, dim) behind those remembered.

        Returns all of them. They are remembered once they are counted: `advance`.
        """
        batch, heads, length, dim = key.shape
        stop = self._length + length
        memory = self._memory
        if memory is None or not self._length or memory.shape[3] < stop:
            larger = np.empty((2, batch, heads, 2 * stop, dim), np.float32)
            if memory is not None and self._length:
                larger[..., : self._length, :] = memory[..., : self._length, :]
            self._memory = memory = larger
        memory[0, :, :, self._length : stop] = key
        memory[1, :, :, self._length : stop] = value
        return memory[0, :, :, :stop], memory[1, :, :, :stop]

    def advance(self, length: int) -> None:
        """Count tokens that `extended` has written."""
        self._length += length

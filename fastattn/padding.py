"""Padded batches and packed tokens.

A batch of sequences is dense outside, (batch, length, ...), with padding where a
sequence is shorter than the longest. Inside it is packed: the real tokens of all
sequences one after the other, (tokens, ...), and `cu_seqlens`, the running sum of the
lengths, which says where each sequence starts. Nothing is ever computed for padding.

    lengths = [2, 3]        a b .        tokens      a b c d e
                            c d e        cu_seqlens  0   2     5

This module knows which positions are real. It does not know what is stored there.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import as_array, as_integers

__all__ = ["Packing", "packing_of", "pad", "unpad"]

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(eq=False)
class Packing:
    """Which positions of a (batch, length) grid are real tokens; it never changes.

    Attributes
    ----------
    batch, length : int
        Size of the grid.
    index : int64 array (tokens,) or None
        Positions of the real tokens in the flattened grid, in order; None when every
        position is real.
    cu_seqlens : int64 array (batch + 1,)
        Where each sequence starts among the tokens: 0 first, the number of tokens last.
    """

    batch: int
    length: int
    index: NDArray[np.int64] | None
    cu_seqlens: NDArray[np.int64]

    @property
    def columns(self) -> NDArray[np.int64]:
        """In which column of the grid each token stands, (tokens,)."""
        index = np.arange(self.batch * self.length) if self.index is None else self.index
        return index % max(self.length, 1)

    @cached_property
    def has_gaps(self) -> bool:
        """Whether there is padding between two real tokens of a sequence."""
        if self.index is None:
            return False
        adjacent = np.diff(self.index) == 1
        starts = self.cu_seqlens[1:-1]
        adjacent[starts[(0 < starts) & (starts < len(self.index))] - 1] = True
        return not adjacent.all()

    def part(self, start: int, stop: int) -> "Packing":
        """Give the packing of some adjacent sequences."""
        first, last = self.cu_seqlens[[start, stop]].tolist()
        index = self.index
        if index is not None:
            index = index[first:last] - start * self.length
        starts = self.cu_seqlens[start : stop + 1] - first
        return Packing(stop - start, self.length, index, starts)

    def tokens_of(self, i: int) -> slice:
        """Say where the tokens of a sequence are among the packed ones."""
        return slice(*self.cu_seqlens[i : i + 2].tolist())

    def columns_of(self, i: int) -> NDArray[np.int64]:
        """Say in which columns of the grid the tokens of a sequence stand."""
        if self.index is None:
            return np.arange(self.length)
        return self.index[self.tokens_of(i)] - i * self.length


def packing_of(
    batch: int,
    length: int,
    *,
    lengths: ArrayLike | None = None,
    padding_mask: ArrayLike | None = None,
) -> Packing:
    """Find the real positions of a batch from its lengths or its padding mask.

    Parameters
    ----------
    batch, length : int
        Size of the grid.
    lengths : array_like of int (batch,), optional
        How many positions of each row are real, counted from the left. For a batch of
        one, a single integer will do.
    padding_mask : array_like of bool or of the integers 0 and 1, (batch, length), optional
        True or 1 at real positions; the gaps may be anywhere. For a batch of one,
        (length,) will do.

    Returns
    -------
    Packing
        The real positions; all of them when neither argument is given.

    Raises
    ------
    TypeError
        When `lengths` does not hold integers, or `padding_mask` neither bools nor integers.
    ValueError
        When both are given, a shape is wrong, a length is negative or greater than
        `length`, or an integer mask holds anything but 0 and 1.

    Examples
    --------
    >>> from fastattn.padding import packing_of
    >>> packing = packing_of(2, 3, lengths=[2, 3])
    >>> packing.index
    array([0, 1, 3, 4, 5])
    >>> packing.cu_seqlens
    array([0, 2, 5])
    """
    if lengths is not None and padding_mask is not None:
        raise ValueError("lengths and padding_mask say the same thing: give one of them")
    if lengths is not None:
        real = np.arange(length) < _check_lengths(lengths, batch, length)[:, None]
    elif padding_mask is not None:
        real = _check_mask(padding_mask, batch, length)
    else:
        return Packing(batch, length, None, np.arange(batch + 1) * length)
    cu_seqlens = np.zeros(batch + 1, np.int64)
    np.cumsum(real.sum(axis=1), out=cu_seqlens[1:])
    index = None if cu_seqlens[-1] == real.size else np.flatnonzero(real)
    return Packing(batch, length, index, cu_seqlens)


def unpad(x: NDArray[Scalar], packing: Packing) -> NDArray[Scalar]:
    """Take the real tokens out of a padded batch.

    Parameters
    ----------
    x : array (batch, length, ...)
        A padded batch.
    packing : Packing
        Its real positions.

    Returns
    -------
    array (tokens, ...)
        The real tokens, a view of `x` where nothing is padded and its strides allow it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastattn.padding import packing_of, unpad
    >>> batch = np.array([["a", "b", "."], ["c", "d", "e"]])
    >>> unpad(batch, packing_of(2, 3, lengths=[2, 3]))
    array(['a', 'b', 'c', 'd', 'e'], dtype='<U1')
    """
    tokens = x.reshape(packing.batch * packing.length, *x.shape[2:])
    return tokens if packing.index is None else tokens[packing.index]


def pad(
    tokens: NDArray[Scalar],
    packing: Packing,
    out: NDArray[Scalar] | None = None,
) -> NDArray[Scalar]:
    """Put packed tokens back into a padded batch, with zeros at the padding.

    Parameters
    ----------
    tokens : array (tokens, ...)
        Packed tokens.
    packing : Packing
        The real positions.
    out : array (batch, length, ...), optional
        Where to write the batch.

    Returns
    -------
    array (batch, length, ...)
        `out` if it was given; else a view of `tokens` where nothing is padded, and a
        new array where something is.

    Examples
    --------
    >>> import numpy as np
    >>> from fastattn.padding import packing_of, pad
    >>> pad(np.array([1, 2, 3, 4, 5]), packing_of(2, 3, lengths=[2, 3]))
    array([[1, 2, 0],
           [3, 4, 5]])
    """
    shape = (packing.batch, packing.length, *tokens.shape[1:])
    if packing.index is None:
        batch = tokens.reshape(shape)
        if out is None:
            return batch
        out[...] = batch
        return out
    if out is None:
        out = np.zeros(shape, tokens.dtype)
    else:
        out[...] = 0
    out[np.divmod(packing.index, packing.length)] = tokens
    return out


def _check_lengths(lengths: ArrayLike, batch: int, length: int) -> NDArray[np.int64]:
    """Convert lengths to int64 (batch,), each from 0 to `length`."""
    rows = np.atleast_1d(as_integers(lengths, "lengths"))
    if rows.shape != (batch,):
        raise ValueError(
            f"lengths must have shape (batch,) = ({batch},), got {np.shape(lengths)}"
        )
    wrong = (rows < 0) | (rows > length)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"lengths must be from 0 to {length}, the length of the batch; "
            f"row {row} says {rows[row]}"
        )
    return rows


def _check_mask(mask: ArrayLike, batch: int, length: int) -> NDArray[np.bool_]:
    """Convert a padding mask to bool (batch, length)."""
    array = as_array(mask, "padding_mask")
    if array.dtype.kind not in "biu":
        raise TypeError(
            "padding_mask must be bool, or integers 0 and 1 (True or 1 = a real token), "
            f"got an array of {array.dtype}"
        )
    rows = np.atleast_2d(array)
    if rows.shape != (batch, length):
        raise ValueError(
            f"padding_mask must have shape (batch, length) = ({batch}, {length}), "
            f"got {array.shape}; what a query may see goes in mask"
        )
    real = rows.astype(np.bool_)
    if not np.array_equal(real, rows):
        wrong = rows[real != rows][0]
        raise ValueError(f"an integer padding_mask must hold 0 and 1 only, got {wrong}")
    return real

"""Layers that look along a sequence: dense outside, packed tokens inside.

Every such layer is called in the same way, so that is written once, here: find the real
tokens, compute on them alone, put zeros at the padding. What a layer does with the
tokens is its `steps`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._program import Program
from ..arrays import as_flag, as_float32, as_mask
from ..padding import Packing, packing_of, pad, unpad
from .buffers import Buffers
from .layer import Layer
from .recorder import program_for

__all__ = [
    "MaskedRun",
    "SequenceLayer",
    "as_batch",
    "cut_mask",
    "masked_runs",
    "real_positions",
]


@dataclass(frozen=True, eq=False)
class MaskedRun:
    """Adjacent sequences of one length among the packed tokens, and their masks.

    Attributes
    ----------
    queries, keys : slice
        Where their tokens are: among the queries, and among the keys and values.
    mask : bool or float32 array (sequences, heads, query length, key length)
        What each query may attend to.
    """

    queries: slice
    keys: slice
    mask: NDArray[Any]


class SequenceLayer(Layer):
    """Base class of the layers that look along a sequence."""

    hidden_size: int
    num_heads: int

    def __call__(
        self,
        x: ArrayLike,
        *,
        padding_mask: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        causal: bool = False,
    ) -> NDArray[np.float32]:
        """Apply the layer to a batch of sequences, or to one sequence.

        Parameters
        ----------
        x : array_like of float32 (batch, length, hidden_size) or (length, hidden_size)
            The sequences.
        padding_mask : array_like of bool or of the integers 0 and 1, optional
            (batch, length): True or 1 where a token is real, False or 0 where there is
            padding, which may be anywhere. PyTorch's `src_key_padding_mask` and
            `key_padding_mask` say the opposite: pass ``~src_key_padding_mask``.
        lengths : array_like of int (batch,), optional
            How many tokens of each row are real, counted from the left: the same as a
            padding mask with its gaps on the right. Give one of the two.
        mask : array_like, broadcastable to (batch, num_heads, length, length)
            What each query may attend to, besides padding: bool, True = attend; or
            float32, added to the scaled scores. PyTorch's boolean `src_mask` and
            `attn_mask` say the opposite.
        causal : bool, default False
            Whether a token attends only to itself and to tokens before it.

        Returns
        -------
        float32 array of the shape of `x`
            Padded positions are not computed and come back as zeros.

        Raises
        ------
        TypeError
            When an argument has the wrong dtype.
        ValueError
            When a shape is wrong, or both `padding_mask` and `lengths` are given.

        Notes
        -----
        A sequence gives the same bits alone, in any batch, with any padding on its
        right and with any number of threads; what stands at padded positions, NaN too,
        has no influence. A token that may attend to nothing gets zeros from attention.
        """
        batch, single = as_batch(x, "x", self.hidden_size)
        packing = packing_of(*batch.shape[:2], lengths=lengths, padding_mask=padding_mask)
        runs = None
        if mask is not None:
            runs = masked_runs(mask, packing, packing, self.num_heads)
        tokens = unpad(batch, packing)
        out = np.empty(tokens.shape, np.float32)
        buffers = self.buffers(len(tokens))
        program = program_for(packing)
        self.steps(
            program,
            tokens,
            out,
            packing.cu_seqlens,
            buffers,
            causal=as_flag(causal, "causal"),
            runs=runs,
            positions=packing.columns,
        )
        program.run()
        padded = pad(out, packing)
        return padded[0] if single else padded

    @abstractmethod
    def buffers(self, tokens: int) -> Buffers:
        """Allocate the working memory that `steps` needs."""

    @abstractmethod
    def steps(
        self,
        program: Program,
        x: NDArray[np.float32],
        out: NDArray[np.float32],
        cu_seqlens: NDArray[np.int64],
        buffers: Buffers,
        *,
        causal: bool = False,
        runs: Sequence[MaskedRun] | None = None,
        positions: NDArray[np.int64] | None = None,
    ) -> None:
        """Add the layer to a program: x and out are packed tokens (tokens, hidden).

        `runs` are the masks of all sequences in order; None means no masks.
        `positions` (tokens,) are by default those in the tokens' sequences.
        """


def as_batch(x: ArrayLike, name: str, width: int) -> tuple[NDArray[np.float32], bool]:
    """Read a batch (batch, length, width); a single sequence, True, is a batch of one."""
    sequences = as_float32(x, name)
    shape = sequences.shape
    if len(shape) not in (2, 3) or shape[-1] != width:
        raise ValueError(
            f"{name} must have shape (batch, length, {width}) or (length, {width}), "
            f"got {shape}"
        )
    return (sequences, False) if len(shape) == 3 else (sequences[None], True)


def masked_runs(
    mask: ArrayLike, queries: Packing, keys: Packing, num_heads: int
) -> list[MaskedRun]:
    """Cut a mask into the masks of the packed sequences.

    Without padding all sequences are one run. With padding each is its own, and its
    mask a view of its real positions; only gaps on the left or inside make a copy.
    """
    shape = (queries.batch, num_heads, queries.length, keys.length)
    masks = as_mask(mask, "mask", shape)
    if queries.index is None and keys.index is None:
        return [MaskedRun(slice(None), slice(None), masks)]
    runs = []
    for i in range(queries.batch):
        (rows, of_rows), (columns, of_columns) = (
            real_positions(packing, i) for packing in (queries, keys)
        )
        cut = cut_mask(masks[i : i + 1], of_rows, of_columns)
        runs.append(MaskedRun(rows, columns, cut))
    return runs


def real_positions(packing: Packing, i: int) -> tuple[slice, NDArray[np.int64]]:
    """Say where the tokens of a sequence are when packed, and where when padded."""
    start, stop = packing.cu_seqlens[i : i + 2].tolist()
    tokens = slice(start, stop)
    if packing.index is None:
        return tokens, np.arange(packing.length)
    return tokens, packing.index[tokens] - i * packing.length


def cut_mask(
    mask: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[Any]:
    """Take the real positions out of masks (..., heads, length, length)."""
    # A mask for all heads is copied once: it has stride 0 along them.
    shared = mask if mask.strides[-3] else mask[..., :1, :, :]
    cut = _take(_take(shared, rows, mask.ndim - 2), columns, mask.ndim - 1)
    return np.broadcast_to(cut, (*mask.shape[:-2], len(rows), len(columns)))


def _take(mask: NDArray[Any], positions: NDArray[np.int64], axis: int) -> NDArray[Any]:
    """Take ascending positions along an axis, as a view if they are the first ones."""
    count = len(positions)
    if count == 0 or positions[-1] == count - 1:
        return mask[(*[slice(None)] * axis, slice(count))]
    return mask.take(positions, axis)

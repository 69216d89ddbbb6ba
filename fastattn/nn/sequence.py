"""Layers that look along a sequence: dense outside, packed tokens inside.

Every such layer is called in the same way, so that is written once, here: find the real
tokens, compute on them alone, put zeros at the padding. What a layer does with the
tokens is its `steps`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._cpu import Program
from ..arrays import as_float32, as_mask
from ..padding import Packing, packing_of, pad, unpad
from .layer import Layer

__all__ = ["Buffers", "MaskedRun", "SequenceLayer"]


class Buffers:
    """Working memory for a number of tokens, shared by all the layers of a call.

    Attributes
    ----------
    qkv : float32 array (tokens, 3 * hidden_size)
        Queries, keys and values.
    intermediate : float32 array (tokens, intermediate_size)
        What stands between the dense layers of a feed-forward network. It lies in the
        memory of `qkv`: a layer never needs both at once.
    context : float32 array (tokens, hidden_size)
        What attention makes of the values.
    attended : float32 array (tokens, hidden_size)
        What an encoder layer hands from attention to the feed-forward network.
    """

    def __init__(self, tokens: int, hidden_size: int, intermediate_size: int = 0):
        wide = max(3 * hidden_size, intermediate_size)
        memory = np.empty(tokens * wide, np.float32)
        self.qkv = _part(memory, tokens, 3 * hidden_size)
        self.intermediate = _part(memory, tokens, intermediate_size)
        self.context = np.empty((tokens, hidden_size), np.float32)
        self.attended = np.empty((tokens, hidden_size), np.float32)


@dataclass(frozen=True, eq=False)
class MaskedRun:
    """Adjacent sequences of one length among the packed tokens, and their masks.

    Attributes
    ----------
    tokens : slice
        Where their tokens are.
    mask : bool or float32 array (sequences, heads, length, length)
        What each query may attend to.
    """

    tokens: slice
    mask: NDArray[Any]


class SequenceLayer(Layer):
    """Base class of the layers that look along a sequence."""

    hidden_size: int
    num_heads: int

    def __call__(
        self,
        x: ArrayLike,
        mask: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        *,
        attention_mask: ArrayLike | None = None,
        causal: bool = False,
    ) -> NDArray[np.float32]:
        """Apply the layer to a batch of sequences, or to one sequence.

        Parameters
        ----------
        x : array_like of float32 (batch, length, hidden_size) or (length, hidden_size)
            The sequences.
        mask : array_like of bool or of the integers 0 and 1, (batch, length), optional
            True or 1 where a token is real, False or 0 where there is padding, which
            may be anywhere. PyTorch's `src_key_padding_mask` and `key_padding_mask` say
            the opposite: pass ``~src_key_padding_mask``.
        lengths : array_like of int (batch,), optional
            How many tokens of each row are real, counted from the left: the same as a
            mask with its gaps on the right. Give one of the two.
        attention_mask : array_like, broadcastable to (batch, num_heads, length, length)
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
            When a shape is wrong, or both `mask` and `lengths` are given.

        Notes
        -----
        A sequence gives the same bits alone, in any batch, with any padding on its
        right and with any number of threads; what stands at padded positions, NaN too,
        has no influence. A token that may attend to nothing gets zeros from attention.
        """
        sequences = as_float32(x, "x")
        shape = sequences.shape
        if len(shape) not in (2, 3) or shape[-1] != self.hidden_size:
            raise ValueError(
                f"x must have shape (batch, length, {self.hidden_size}) or "
                f"(length, {self.hidden_size}), got {shape}"
            )
        batch = sequences if len(shape) == 3 else sequences[None]
        packing = packing_of(*batch.shape[:2], lengths=lengths, mask=mask)
        runs = None
        if attention_mask is not None:
            runs = masked_runs(attention_mask, packing, self.num_heads)
        tokens = unpad(batch, packing)
        out = np.empty(tokens.shape, np.float32)
        buffers = self.buffers(len(tokens))
        program = Program()
        self.steps(
            program, tokens, out, packing.cu_seqlens, buffers, causal=causal, runs=runs
        )
        program.run()
        return pad(out, packing).reshape(shape)

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
    ) -> None:
        """Add the layer to a program: x and out are packed tokens (tokens, hidden).

        `runs` are the attention masks of all sequences in order; None means no masks.
        """


def masked_runs(
    attention_mask: ArrayLike, packing: Packing, num_heads: int
) -> list[MaskedRun]:
    """Cut an attention mask into the masks of the packed sequences.

    Without padding all sequences are one run. With padding each is its own, and its
    mask a view of its real positions; only gaps on the left or inside make a copy.
    """
    batch, length = packing.batch, packing.length
    shape = (batch, num_heads, length, length)
    masks = as_mask(attention_mask, "attention_mask", shape)
    if packing.index is None:
        return [MaskedRun(slice(0, batch * length), masks)]
    runs = []
    for i, (start, stop) in enumerate(pairwise(packing.cu_seqlens.tolist())):
        columns = packing.index[start:stop] - i * length
        count = len(columns)
        mask = masks[i : i + 1]
        # The last real position is the count less one where there is no gap before it.
        if count == 0 or columns[-1] == count - 1:
            mask = mask[:, :, :count, :count]
        else:
            # A mask for all heads is copied once: it has stride 0 along them.
            shared = mask if mask.strides[1] else mask[:, :1]
            gathered = shared[:, :, columns[:, None], columns]
            mask = np.broadcast_to(gathered, (1, num_heads, count, count))
        runs.append(MaskedRun(slice(start, stop), mask))
    return runs


def _part(memory: NDArray[np.float32], rows: int, cols: int) -> NDArray[np.float32]:
    """View the beginning of some memory as a matrix."""
    return memory[: rows * cols].reshape(rows, cols)

"""Layers that look along a sequence: dense outside, packed tokens inside.

Every such layer is called in the same way, so that is written once, here: find the real
tokens, compute on them alone, put zeros at the padding. What a layer does with the
tokens is its `steps`.
"""

import warnings
from abc import abstractmethod
from typing import Never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._program import Program
from .._threads import get_num_threads
from ..arrays import as_flag, as_float32
from ..keywords import unexpected
from ..padding import Packing, packing_of, pad, unpad
from .buffers import Buffers, Sizes, empty_rows
from .layer import Layer
from .recorder import program_for
from .sequences import Sequences

__all__ = ["SequenceLayer", "as_batch", "real_tokens"]

# Tokens of a part of a batch, for each thread. What a step writes should still be in the
# caches where the next one reads it, while each step more is one more wait for all threads.
# MiniLM is equally fast from 256 to 512, and in int8 a quarter slower from 4096 on.
PART_TOKENS = 384


class SequenceLayer(Layer):
    """Base class of the layers that look along a sequence."""

    hidden_size: int
    num_heads: int
    sizes: Sizes  # how much working memory a token takes

    def __call__(
        self,
        x: ArrayLike,
        *,
        padding_mask: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        causal: bool = False,
        **others: Never,
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
            floating, added to the scaled scores. PyTorch's boolean `src_mask` and
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
        if others:
            raise unexpected(SequenceLayer.__call__, others, type(self).__name__)
        batch, single = as_batch(x, "x", self.hidden_size)
        packing = real_tokens(batch, lengths, padding_mask)
        sequences = Sequences.of(
            packing, packing, self.num_heads, mask, as_flag(causal, "causal")
        )
        tokens = unpad(batch, packing)
        out = empty_rows(*tokens.shape)
        program = program_for(packing)
        self.add_parts(program, tokens, out, sequences)
        program.run()
        padded = np.ascontiguousarray(pad(out, packing))
        return padded[0] if single else padded

    def add_parts(
        self,
        program: Program,
        x: NDArray[np.float32],
        out: NDArray[np.float32],
        sequences: Sequences,
    ) -> None:
        """Add the layer to a program for one part of a batch after the other.

        They share their working memory. A recorder sees the batch as a whole, and masks
        are not cut.
        """
        count = -(-len(x) // (PART_TOKENS * get_num_threads()))
        if count < 2 or sequences.runs is not None or program.recorder is not None:
            self.steps(program, x, out, sequences, Buffers(len(x), self.sizes))
            return
        parts = list(sequences.parts(count))
        longest = max(rows.stop - rows.start for rows, _ in parts)
        buffers = Buffers(longest, self.sizes)
        for rows, part in parts:
            some = Buffers(rows.stop - rows.start, self.sizes, buffers)
            self.steps(program, x[rows], out[rows], part, some)

    @abstractmethod
    def steps(
        self,
        program: Program,
        x: NDArray[np.float32],
        out: NDArray[np.float32],
        sequences: Sequences,
        buffers: Buffers,
    ) -> None:
        """Add the layer to a program: x and out are packed tokens (tokens, hidden)."""


def real_tokens(
    batch: NDArray[np.float32], lengths: ArrayLike | None, padding_mask: ArrayLike | None
) -> Packing:
    """Find out which tokens of a batch are real; tell a mask that says the opposite."""
    count, length = batch.shape[:2]
    packing = packing_of(count, length, lengths=lengths, padding_mask=padding_mask)
    if padding_mask is not None and packing.index is not None and length > 1:
        places = packing.index % length
        if (places > 0).all() and (places == length - 1).sum() == count:
            warnings.warn(
                "padding_mask has padding at the first token of every sequence and none at "
                "the last: True or 1 is a real token here; pass ~key_padding_mask for "
                "PyTorch's, which says the opposite",
                UserWarning,
                stacklevel=3,
            )
    return packing


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

"""Which tokens are where and who sees whom: made once for a call, handed to every layer."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import LARGEST, Float32, as_array, as_mask, as_real
from ..padding import Packing
from ..scores import FAR, Scores

__all__ = ["MaskedRun", "Sequences"]


class MaskedRun(NamedTuple):
    """Adjacent sequences of one length among the packed tokens, and their masks.

    Attributes
    ----------
    batch : int
        How many sequences there are.
    queries, keys : slice
        Where their tokens are: among the queries, and among the keys and values.
    mask : bool or float array (batch, heads, query length, key length), or None
        What each query may see; None: all.
    """

    batch: int
    queries: slice
    keys: slice
    mask: NDArray[Any] | None


@dataclass(eq=False)
class Sequences:
    """What is computed, from what, and which of it a query may see; it never changes.

    Attention of a sequence to itself has the same packing twice, attention to a source
    has two, and behind a cache the keys are all tokens so far.

    Attributes
    ----------
    queries, keys : Packing
        The real tokens of what is computed, and of what it attends to.
    causal : bool
        Whether a query sees no key behind it, in every layer.
    runs : tuple of MaskedRun, or None
        The masks of all sequences in order; None: there is no mask.
    past : int
        How many keys in a cache stand before the first query.
    """

    queries: Packing
    keys: Packing
    causal: bool = False
    runs: tuple[MaskedRun, ...] | None = None
    past: int = 0

    @classmethod
    def of(
        cls,
        queries: Packing,
        keys: Packing,
        num_heads: int,
        mask: ArrayLike | None,
        causal: bool,
        past: int = 0,
    ) -> Self:
        """Check a mask of the scores and cut it to the real tokens."""
        runs = None
        if mask is not None:
            _check_meant(as_array(mask, "mask"), queries, keys, num_heads)
            shape = (queries.batch, num_heads, queries.length, keys.length)
            runs = tuple(_masked_runs(as_mask(mask, "mask", shape), queries, keys))
        return cls(queries, keys, causal, runs, past)

    @cached_property
    def query_columns(self) -> NDArray[np.int64]:
        """The column of each packed query in its batch: its position from `past` on."""
        return self.queries.columns

    @cached_property
    def key_columns(self) -> NDArray[np.int64]:
        """The column of each packed key, which is its position."""
        same = self.keys is self.queries
        return self.query_columns if same else self.keys.columns

    @cached_property
    def offsets(self) -> NDArray[np.int64] | None:
        """Where the first query of each sequence is among its keys; None: at the first."""
        if self.keys is self.queries or (self.keys.index is None and not self.past):
            return None
        offsets = np.full(self.keys.batch, self.past)
        if self.keys.index is not None:
            starts = self.keys.cu_seqlens
            some = starts[1:] > starts[:-1]
            offsets[some] -= self.key_columns[starts[:-1][some]]
        return offsets

    @cached_property
    def has_gaps(self) -> bool:
        """Whether padding stands between real tokens: places there are not positions."""
        return self.queries.has_gaps or self.keys.has_gaps

    @cached_property
    def positions(self) -> tuple[Float32, Float32] | None:
        """Of queries and keys, what slopes count from; None: places in a sequence."""
        if not self.has_gaps:
            return None
        return self.query_columns.astype(np.float32), self.key_columns.astype(np.float32)

    def resolved(self, scores: Scores) -> tuple[Scores, tuple[MaskedRun, ...] | None]:
        """Give scores, and masks, by places among the real tokens.

        That is what they are, but for sequences with gaps: there what depends on the
        distance of two positions becomes a mask.
        """
        if self.causal:
            scores = scores.causal()
        if not self.has_gaps:
            return scores, self.runs
        of_positions = scores.by_distance or (
            scores.right < FAR and self.keys is not self.queries
        )
        if not of_positions:
            return scores, self.runs
        return scores.without_distances(), tuple(self._spelled_out(scores))

    def _spelled_out(self, scores: Scores) -> Iterator[MaskedRun]:
        """Give each sequence a run with a mask that says what its scores say."""
        for i in range(self.queries.batch):
            rows, columns = self.queries.tokens_of(i), self.keys.tokens_of(i)
            mask = scores.as_mask(self.query_columns[rows], self.key_columns[columns])
            mask = mask if mask.ndim == 3 else mask[None]
            given = self.mask_of(i)
            yield MaskedRun(
                1, rows, columns, mask[None] if given is None else _both(given, mask)
            )

    def only(self, i: int) -> "Sequences":
        """Give one of the sequences by itself."""
        queries = self.queries.part(i, i + 1)
        keys = queries if self.keys is self.queries else self.keys.part(i, i + 1)
        runs = None
        if self.runs is not None:
            runs = (MaskedRun(1, slice(None), slice(None), self.mask_of(i)),)
        return Sequences(queries, keys, self.causal, runs, self.past)

    def parts(self, count: int) -> Iterator[tuple[slice, "Sequences"]]:
        """Cut what attends to itself, unmasked, into parts of about equally many tokens.

        Each comes with the place of its tokens. A sequence is never cut, so that there
        may be fewer parts than `count`.
        """
        starts = self.queries.cu_seqlens
        wanted = starts[-1] * np.arange(count + 1) // count
        bounds = np.unique(np.searchsorted(starts, wanted)).tolist()
        for start, stop in pairwise(bounds):
            packing = self.queries.part(start, stop)
            rows = slice(*starts[[start, stop]].tolist())
            yield rows, Sequences(packing, packing, self.causal)

    def mask_of(self, i: int) -> NDArray[Any] | None:
        """Give the mask (1, heads, query length, key length) of a sequence, or None."""
        for run in self.runs or ():
            if i < run.batch:
                return None if run.mask is None else run.mask[i : i + 1]
            i -= run.batch
        return None


def _check_meant(
    mask: NDArray[Any], queries: Packing, keys: Packing, num_heads: int
) -> None:
    """Tell what is a mask of something else, or fits by accident alone."""
    batch, padding = queries.batch, "which tokens are real goes in as padding_mask"
    if mask.dtype.kind in "iu":
        raise TypeError(
            f"mask must be bool (True = may see) or floating (added), got {mask.dtype}: "
            f"{padding}, what each query may see as mask.astype(bool)"
        )
    if batch < 2:
        return
    if mask.shape == (batch, keys.length):
        if batch != queries.length:
            raise ValueError(
                f"mask of shape {mask.shape} has a row for each sequence, not for each of "
                f"{queries.length} queries: {padding}"
            )
        warnings.warn(
            f"mask of shape {mask.shape} is taken as (length, length), for all {batch} "
            f"sequences: pass mask[None, None] if so; {padding}",
            UserWarning,
            stacklevel=4,
        )
    if mask.ndim == 3 and len(mask) == batch == num_heads:
        warnings.warn(
            f"mask of shape {mask.shape} is taken as (num_heads, length, length), for all "
            f"{batch} sequences: pass mask[None] if so, mask[:, None] if it is by sequence",
            UserWarning,
            stacklevel=4,
        )
    if mask.ndim == 3 and num_heads > 1 and len(mask) == batch * num_heads:
        raise ValueError(
            f"mask of shape {mask.shape} has sequences and heads in one dimension, as "
            f"PyTorch's attn_mask: pass mask.reshape({batch}, {num_heads}, "
            f"*mask.shape[1:])"
        )


def _both(given: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    """Combine masks of (1, heads, length, length) and (heads or 1, length, length)."""
    if given.dtype != np.bool_:
        given = as_real(given, "mask")
    shape = np.broadcast_shapes(given.shape, mask.shape)
    given, mask = np.broadcast_to(given, shape), np.broadcast_to(mask, shape)
    if mask.dtype == np.bool_ == given.dtype:
        both: NDArray[Any] = given & mask
        return both
    hidden = np.float32(-np.inf)
    if mask.dtype == np.bool_:
        return np.where(mask, given, hidden)
    if given.dtype == np.bool_:
        return np.where(given, mask, hidden)
    with np.errstate(over="ignore"):
        total = np.clip(given + mask, -LARGEST, LARGEST)
    return np.where((mask == hidden) | (given == hidden), hidden, total)


def _masked_runs(
    masks: NDArray[Any], queries: Packing, keys: Packing
) -> Iterator[MaskedRun]:
    """Cut masks (batch, heads, length, key length) to the packed sequences.

    Without padding all sequences are one run. With padding each is its own, and its
    mask a view of its real positions; only gaps on the left or inside make a copy.
    """
    if queries.index is None and keys.index is None:
        yield MaskedRun(queries.batch, slice(None), slice(None), masks)
        return
    for i in range(queries.batch):
        rows, columns = queries.columns_of(i), keys.columns_of(i)
        cut = _cut(masks[i : i + 1], rows, columns)
        yield MaskedRun(1, queries.tokens_of(i), keys.tokens_of(i), cut)


def _cut(
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

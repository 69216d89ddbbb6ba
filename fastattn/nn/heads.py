"""Attention over heads of packed tokens: the part without weights."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _attention
from .._cpu import Program
from ..arrays import as_float32, as_mask
from ..padding import Packing
from ..positions import alibi_slopes
from .sequence import MaskedRun, cut_mask, real_positions

__all__ = [
    "Alibi",
    "Heads",
    "attend",
    "by_head",
    "causal_mask",
    "probabilities",
    "score_settings",
    "slopes_of",
]

Array = NDArray[np.float32]


class Heads(NamedTuple):
    """Queries (query tokens, num_heads, head_dim); keys, values (tokens, kv heads, ...)."""

    query: Array
    key: Array
    value: Array


class Alibi(NamedTuple):
    """Slopes (num_heads,), and the positions of packed queries and of packed keys."""

    slopes: Array
    queries: NDArray[np.int64]
    keys: NDArray[np.int64]


def attend(
    program: Program,
    heads: Heads,
    out: Array,
    cu_seqlens_q: NDArray[np.int64],
    cu_seqlens_k: NDArray[np.int64],
    causal: bool,
    runs: Sequence[MaskedRun] | None,
    alibi: Alibi | None = None,
) -> None:
    """Add attention over packed tokens to a program: out (query tokens, hidden_size)."""
    settings = score_settings(heads.query.shape[-1], causal)
    arrays = (*heads, out.reshape(heads.query.shape))
    if runs is None:
        starts = cu_seqlens_q, cu_seqlens_k
        if alibi is not None:
            count = len(cu_seqlens_q) - 1
            settings |= _alibi_settings(alibi, count, slice(None), slice(None))
        _attention.attention_varlen(program, *arrays, *starts, **settings)
        return
    for run in runs:
        places = run.queries, run.keys, run.keys, run.queries
        dense = (
            by_head(array[place], len(run.mask))
            for array, place in zip(arrays, places, strict=True)
        )
        if alibi is not None:
            settings |= _alibi_settings(alibi, len(run.mask), run.queries, run.keys)
        _attention.attention(program, *dense, mask=run.mask, **settings)


def _alibi_settings(
    alibi: Alibi, sequences: int, queries: slice, keys: slice
) -> dict[str, Any]:
    """Give what the kernels are told of the slopes of some sequences."""
    return {
        "slopes": np.broadcast_to(alibi.slopes, (sequences, len(alibi.slopes))),
        "positions": (
            alibi.queries[queries].astype(np.float32),
            alibi.keys[keys].astype(np.float32),
        ),
    }


def probabilities(
    heads: Heads,
    queries: Packing,
    keys: Packing,
    attention_mask: ArrayLike | None,
    causal: bool,
    alibi: Alibi | None,
) -> Array:
    """Compute what each query attends to, (batch, num_heads, length, key length)."""
    shape = (queries.batch, heads.query.shape[1], queries.length, keys.length)
    weights = np.zeros(shape, np.float32)
    masks = None
    if attention_mask is not None:
        masks = as_mask(attention_mask, "attention_mask", shape)
    settings = score_settings(heads.query.shape[-1], causal)
    for i in range(queries.batch):
        rows, of_rows = real_positions(queries, i)
        others, of_columns = real_positions(keys, i)
        # Attention to the identity matrix is what each query attends to.
        count, shared = len(of_columns), heads.key.shape[1]
        identity = np.broadcast_to(
            np.eye(count, dtype=np.float32), (1, shared, count, count)
        )
        seen = np.empty((1, shape[1], len(of_rows), count), np.float32)
        if masks is not None:
            settings["mask"] = cut_mask(masks[i : i + 1], of_rows, of_columns)
        if alibi is not None:
            settings |= _alibi_settings(alibi, 1, rows, others)
        query, key = by_head(heads.query[rows], 1), by_head(heads.key[others], 1)
        program = Program()
        _attention.attention(program, query, key, identity, seen, **settings)
        program.run()
        weights[i][:, of_rows[:, None], of_columns] = seen[0]
    return weights


def by_head(tokens: Array, batch: int) -> Array:
    """View adjacent sequences of one length as (batch, heads, length, dim)."""
    length = len(tokens) // max(batch, 1)
    return tokens.reshape(batch, length, *tokens.shape[1:]).swapaxes(1, 2)


def slopes_of(alibi: bool | ArrayLike, num_heads: int) -> Array | None:
    """Give the slopes that a layer is asked for: none, the paper's, or its own."""
    if isinstance(alibi, bool):
        return alibi_slopes(num_heads) if alibi else None
    slopes = as_float32(alibi, "alibi").copy()
    if slopes.shape != (num_heads,):
        raise ValueError(
            f"alibi must be True or have shape ({num_heads},), got {slopes.shape}"
        )
    return slopes


def score_settings(head_dim: int, causal: bool) -> dict[str, Any]:
    """Give what the kernels are told besides arrays."""
    return {"scale": head_dim**-0.5, "right": 0 if causal else _attention.FAR}


def causal_mask(mask: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[Any]:
    """Hide the keys behind each query, besides what a mask of the scores hides."""
    seen = np.tri(*shape[-2:], dtype=np.bool_)
    if mask is None:
        return seen
    given = as_mask(mask, "attention_mask", shape)
    if given.dtype == np.bool_:
        return given & seen
    return np.where(seen, given, np.float32(-np.inf))

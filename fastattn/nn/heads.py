"""Attention over heads of packed tokens: the part without weights."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _attention
from .._program import Program
from ..arrays import as_float32, as_mask
from ..functional import matmul
from ..padding import Packing
from ..positions import alibi_slopes
from .buffers import Heads
from .sequence import MaskedRun, real_positions

__all__ = [
    "Alibi",
    "attend",
    "by_head",
    "causal_mask",
    "score_matrix",
    "score_settings",
    "slopes_of",
]

Array = NDArray[np.float32]


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
    """Add attention over packed tokens to a program; out has the shape of queries."""
    if program.recorder is not None:
        _record(program, heads, causal, runs, alibi)
    settings = score_settings(heads.query.shape[-1], causal)
    arrays = (*heads, out)
    if runs is None:
        starts = cu_seqlens_q, cu_seqlens_k
        if alibi is not None:
            count = len(cu_seqlens_q) - 1
            settings |= _alibi_settings(alibi, count, slice(None), slice(None))
        _attention.attention_varlen(program, *arrays, *starts, **settings)
    for run in runs or ():
        places = run.queries, run.keys, run.keys, run.queries
        dense = (
            by_head(array[place], len(run.mask))
            for array, place in zip(arrays, places, strict=True)
        )
        if alibi is not None:
            settings |= _alibi_settings(alibi, len(run.mask), run.queries, run.keys)
        _attention.attention(program, *dense, mask=run.mask, **settings)
    program.record("context", out)


def _record(
    program: Program,
    heads: Heads,
    causal: bool,
    runs: Sequence[MaskedRun] | None,
    alibi: Alibi | None,
) -> None:
    """Record what attention reads, and the scores and weights that it never stores."""
    for name, array in zip(("queries", "keys", "values"), heads, strict=True):
        program.record(name, array)
    packings = program.recorder.queries, program.recorder.keys
    matrix = partial(score_matrix, heads, *packings, causal, runs, alibi)
    program.record("scores", partial(matrix, scores, -np.inf))
    program.record("weights", matrix)


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


def probabilities(query: Array, key: Array, **settings: Any) -> Array:
    """Compute what each query attends to: attention to the identity matrix."""
    heads, count = key.shape[1:3]
    identity = np.broadcast_to(np.eye(count, dtype=np.float32), (1, heads, count, count))
    weights = np.empty((*query.shape[:3], count), np.float32)
    program = Program()
    _attention.attention(program, query, key, identity, weights, **settings)
    program.run()
    return weights


def score_matrix(
    heads: Heads,
    queries: Packing,
    keys: Packing,
    causal: bool,
    runs: Sequence[MaskedRun] | None,
    alibi: Alibi | None,
    compute: Callable[..., Array] = probabilities,
    hidden: float = 0.0,
) -> Array:
    """Compute what each query makes of each key, (batch, num_heads, length, key length).

    `compute` does it for one sequence, from queries and keys (1, heads, length,
    head_dim) and what the kernels are told; where there is padding stands `hidden`.
    """
    shape = (queries.batch, heads.query.shape[1], queries.length, keys.length)
    matrix = np.full(shape, hidden, np.float32)
    masks = [mask for run in runs or () for mask in run.mask]
    settings = score_settings(heads.query.shape[-1], causal)
    for i in range(queries.batch):
        rows, of_rows = real_positions(queries, i)
        others, of_columns = real_positions(keys, i)
        if masks:
            settings["mask"] = masks[i][None]
        if alibi is not None:
            settings |= _alibi_settings(alibi, 1, rows, others)
        query, key = by_head(heads.query[rows], 1), by_head(heads.key[others], 1)
        of_one = compute(query, key, **settings)
        matrix[i][:, of_rows[:, None], of_columns] = of_one[0]
    return matrix


def scores(
    query: Array,
    key: Array,
    *,
    scale: float,
    right: int,
    mask: NDArray[Any] | None = None,
    slopes: Array | None = None,
    positions: tuple[Array, Array] | None = None,
) -> Array:
    """Compute what attention takes the softmax of: -inf where a query may not look."""
    key = np.repeat(key, query.shape[1] // key.shape[1], axis=1)
    products: Array = matmul(query, key.swapaxes(-1, -2)) * np.float32(scale)
    if slopes is not None and positions is not None:
        distances = np.abs(positions[0][:, None] - positions[1])
        products -= slopes[..., None, None] * distances
    seen = causal_mask(mask, products.shape) if right == 0 else mask
    if seen is None:
        return products
    if seen.dtype == np.bool_:
        return np.where(seen, products, np.float32(-np.inf))
    return np.where(seen == -np.inf, seen, products + seen)


def by_head(tokens: Array, batch: int) -> Array:
    """View adjacent sequences of one length as (batch, heads, length, dim)."""
    length = len(tokens) // max(batch, 1)
    return tokens.reshape(batch, length, *tokens.shape[1:]).swapaxes(1, 2)


def slopes_of(alibi: bool | ArrayLike, num_heads: int) -> Array | None:
    """Give the slopes that a layer is asked for: none, the paper's, or its own."""
    if isinstance(alibi, bool | np.bool_):
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
    given = as_mask(mask, "mask", shape)
    if given.dtype == np.bool_:
        return given & seen
    return np.where(seen, given, np.float32(-np.inf))

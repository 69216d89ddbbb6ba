"""Attention over heads of packed tokens: the part without weights."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _attention
from .._cpu import Program
from ..arrays import as_mask
from ..padding import Packing
from ..positions import apply_rotary, rotary_positions
from ..scaled_dot import attention_weights
from .sequence import MaskedRun, cut_mask, real_positions

__all__ = [
    "Heads",
    "attend",
    "by_head",
    "causal_mask",
    "columns",
    "probabilities",
    "score_settings",
    "turn",
]

Array = NDArray[np.float32]


class Heads(NamedTuple):
    """Queries (query tokens, num_heads, head_dim); keys, values (tokens, kv heads, ...)."""

    query: Array
    key: Array
    value: Array


def attend(
    program: Program,
    heads: Heads,
    out: Array,
    cu_seqlens_q: NDArray[np.int64],
    cu_seqlens_k: NDArray[np.int64],
    causal: bool,
    runs: Sequence[MaskedRun] | None,
) -> None:
    """Add attention over packed tokens to a program: out (query tokens, hidden_size)."""
    settings = score_settings(heads.query.shape[-1], causal)
    arrays = (*heads, out.reshape(heads.query.shape))
    if runs is None:
        starts = cu_seqlens_q, cu_seqlens_k
        _attention.attention_varlen(program, *arrays, *starts, **settings)
        return
    for run in runs:
        places = run.queries, run.keys, run.keys, run.queries
        dense = (
            by_head(array[place], len(run.mask))
            for array, place in zip(arrays, places, strict=True)
        )
        _attention.attention(program, *dense, mask=run.mask, **settings)


def turn(
    tokens: Array,
    positions: NDArray[np.int64],
    length: int,
    base: float,
    interleaved: bool,
    offset: int = 0,
) -> None:
    """Turn heads (tokens, heads, dim) in place by the angles of their positions.

    `positions` (tokens,) count from `offset` and are less than `length`.
    """
    table = rotary_positions(length, tokens.shape[-1], base=base, offset=offset)
    cos, sin = (angles[positions] for angles in table)
    by_token = tokens.swapaxes(0, 1)
    by_token[...] = apply_rotary(by_token, cos, sin, interleaved=interleaved)


def columns(packing: Packing) -> NDArray[np.int64]:
    """Say in which column of the padded batch each packed token stands."""
    if packing.index is None:
        return np.tile(np.arange(packing.length), packing.batch)
    return packing.index % max(packing.length, 1)


def probabilities(
    heads: Heads,
    queries: Packing,
    keys: Packing,
    attention_mask: ArrayLike | None,
    causal: bool,
) -> Array:
    """Compute what each query attends to, (batch, num_heads, length, key length)."""
    shape = (queries.batch, heads.query.shape[1], queries.length, keys.length)
    weights = np.zeros(shape, np.float32)
    masks = None
    if attention_mask is not None:
        masks = as_mask(attention_mask, "attention_mask", shape)
    for i in range(queries.batch):
        rows, of_rows = real_positions(queries, i)
        others, of_columns = real_positions(keys, i)
        weights[i][:, of_rows[:, None], of_columns] = attention_weights(
            heads.query[rows].swapaxes(0, 1),
            heads.key[others].swapaxes(0, 1),
            None if masks is None else cut_mask(masks[i], of_rows, of_columns),
            causal=causal,
        )
    return weights


def by_head(tokens: Array, batch: int) -> Array:
    """View adjacent sequences of one length as (batch, heads, length, dim)."""
    length = len(tokens) // max(batch, 1)
    return tokens.reshape(batch, length, *tokens.shape[1:]).swapaxes(1, 2)


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

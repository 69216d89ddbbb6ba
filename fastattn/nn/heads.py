"""Attention over heads of packed tokens: the part without weights."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _attention
from .._packed import PANEL
from .._program import Program
from ..arrays import as_real
from ..functional import matmul
from ..positions import alibi_slopes
from ..scores import Scores
from .buffers import Heads
from .recorder import Kind
from .sequences import MaskedRun, Sequences

__all__ = ["attend", "score_matrix", "slopes_of"]

Array = NDArray[np.float32]
WHOLE = slice(None)


def attend(
    program: Program, heads: Heads, out: Array, sequences: Sequences, scores: Scores
) -> None:
    """Add attention over packed tokens to a program; out has the shape of queries."""
    if program.recorder is not None:
        _record(program, heads, sequences, scores)
    scores, runs = sequences.resolved(scores)
    if runs is None and not heads.in_cache:
        _attention.attention_varlen(
            program,
            heads.query,
            heads.key,
            heads.value,
            out,
            sequences.queries.cu_seqlens,
            sequences.keys.cu_seqlens,
            scores,
            query_offset=sequences.offsets,
            positions=sequences.positions,
        )
    else:
        _attend_runs(program, heads, out, sequences, scores, runs)
    program.record("context", out, Kind.QUERIES)


def _attend_runs(
    program: Program,
    heads: Heads,
    out: Array,
    sequences: Sequences,
    scores: Scores,
    runs: tuple[MaskedRun, ...] | None,
) -> None:
    """Add attention run by run, as masks and what is in a cache need it."""
    offsets, positions, in_cache = sequences.offsets, sequences.positions, heads.in_cache
    first = 0
    for run in runs or (MaskedRun(sequences.queries.batch, WHOLE, WHOLE, None),):
        rows, columns, last = run.queries, run.keys, first + run.batch
        _attention.attention(
            program,
            _by_head(heads.query[rows], run.batch),
            heads.key if in_cache else _by_head(heads.key[columns], run.batch),
            heads.value if in_cache else _by_head(heads.value[columns], run.batch),
            _by_head(out[rows], run.batch),
            scores,
            mask=_for_heads(run.mask, heads.query.shape[1]),
            query_offset=None if offsets is None else offsets[first:last],
            positions=positions and (positions[0][rows], positions[1][columns]),
        )
        first = last


def _for_heads(mask: NDArray[Any] | None, num_heads: int) -> NDArray[Any] | None:
    """Give a mask for all heads, of layers that do not have equally many, to each."""
    if mask is None or mask.shape[1] == num_heads:
        return mask
    return np.broadcast_to(mask, (len(mask), num_heads, *mask.shape[2:]))


def _record(program: Program, heads: Heads, sequences: Sequences, scores: Scores) -> None:
    """Record what attention reads, and the scores and weights that it never stores."""
    kinds = (Kind.QUERIES, Kind.KEYS, Kind.KEYS)
    for name, array, kind in zip(("queries", "keys", "values"), heads, kinds, strict=True):
        program.record(name, array, kind)
    matrix = partial(score_matrix, heads, sequences, scores)
    if scores.relative is not None:
        added = partial(matrix, compute_relative)
        program.record("relative_scores", added, Kind.MATRIX)
    program.record("scores", partial(matrix, compute_scores, -np.inf), Kind.MATRIX)
    program.record("weights", matrix, Kind.MATRIX)


def score_matrix(
    heads: Heads,
    sequences: Sequences,
    scores: Scores,
    compute: Callable[[Heads, Sequences, Scores], Array] | None = None,
    hidden: float = 0.0,
) -> Array:
    """Compute what becomes of each query and key, (batch, num_heads, length, key length).

    By default that is the weight. `compute` does it for one sequence; where there is
    padding stands `hidden`.
    """
    compute = compute or compute_weights
    queries, keys = sequences.queries, sequences.keys
    shape = (queries.batch, heads.query.shape[1], queries.length, keys.length)
    matrix = np.full(shape, hidden, np.float32)
    for i in range(queries.batch):
        rows, columns = queries.columns_of(i), keys.columns_of(i)
        of_keys = slice(i, i + 1) if heads.in_cache else keys.tokens_of(i)
        alone = Heads(heads.query[queries.tokens_of(i)], *(x[of_keys] for x in heads[1:]))
        matrix[i][:, rows[:, None], columns] = compute(alone, sequences.only(i), scores)
    return matrix


def compute_weights(heads: Heads, sequences: Sequences, scores: Scores) -> Array:
    """Compute the weights (heads, length, key length) that attention gives the keys."""
    key = heads.key if heads.in_cache else heads.key.swapaxes(0, 1)[None]
    scores, runs = sequences.resolved(scores)
    query = heads.query.swapaxes(0, 1)[None]
    weights = np.empty((*query.shape[:3], key.shape[-2]), np.float32)
    program = Program()
    _attention.attention(
        program,
        query,
        key,
        None,
        weights,
        scores,
        mask=None if runs is None else _for_heads(runs[0].mask, query.shape[1]),
        query_offset=sequences.offsets,
        positions=sequences.positions,
    )
    program.run()
    of_one: Array = weights[0]
    return of_one


def compute_scores(heads: Heads, sequences: Sequences, scores: Scores) -> Array:
    """Compute what attention takes the softmax of: -inf where a query may not look."""
    query, key = heads.query.swapaxes(0, 1), heads.key
    key = key[0] if heads.in_cache else key.swapaxes(0, 1)
    key = np.repeat(key, len(query) // len(key), axis=0)
    values: Array = matmul(query, key.swapaxes(-1, -2)) * np.float32(scores.scale)
    if scores.relative is not None:
        values += compute_relative(heads, sequences, scores)
    if scores.softcap:
        cap = np.float32(scores.softcap)
        values = cap * np.tanh(values / cap)
    positions = sequences.query_columns + sequences.past, sequences.key_columns
    if scores.slopes is not None:
        distance = np.abs(positions[0][:, None] - positions[1]).astype(np.float32)
        values -= scores.slopes[0, :, None, None] * distance
    scores = scores.causal() if sequences.causal else scores
    for added in (scores.as_mask(*positions), sequences.mask_of(0)):
        if added is not None and added.dtype == np.bool_:
            values = np.where(added, values, np.float32(-np.inf))
        elif added is not None:
            added = as_real(added, "mask")
            values = np.where(added == -np.inf, np.float32(-np.inf), values + added)
    return values.reshape(values.shape[-3:])


def compute_relative(heads: Heads, sequences: Sequences, scores: Scores) -> Array:
    """Compute what vectors of distances add to scores (heads, length, key length)."""
    vectors = scores.relative
    assert vectors is not None
    query, key = heads.query.swapaxes(0, 1), heads.key
    key = key[0] if heads.in_cache else key.swapaxes(0, 1)
    rows, columns = sequences.query_columns + sequences.past, sequences.key_columns
    buckets = vectors.buckets[rows[:, None] - columns + len(vectors.buckets) // 2]
    added = np.zeros((len(query), *buckets.shape), np.float32)
    for x, table, turned in (query, vectors.keys, False), (key, vectors.queries, True):
        if table is None:
            continue
        # (heads, dim, buckets)
        by_head = table.reshape(len(query), -1, query.shape[-1], PANEL).swapaxes(1, 2)
        products = matmul(x, by_head.reshape(*by_head.shape[:2], -1))
        chosen = np.take_along_axis(products, (buckets.T if turned else buckets)[None], -1)
        added += chosen.swapaxes(-1, -2) if turned else chosen
    return added * np.float32(scores.scale)


def _by_head(tokens: Array, batch: int) -> Array:
    """View adjacent sequences of one length as (batch, heads, length, dim)."""
    length = len(tokens) // max(batch, 1)
    return tokens.reshape(batch, length, *tokens.shape[1:]).swapaxes(1, 2)


def slopes_of(alibi: bool | ArrayLike, num_heads: int) -> Array | None:
    """Give the slopes that a layer is asked for: none, the paper's, or its own."""
    if isinstance(alibi, bool):
        return alibi_slopes(num_heads) if alibi else None
    slopes = as_real(alibi, "alibi").copy()
    if slopes.shape != (num_heads,):
        raise ValueError(
            f"alibi must be True or have shape ({num_heads},), got {slopes.shape}"
        )
    return slopes

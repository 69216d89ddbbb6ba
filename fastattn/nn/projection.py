"""Projections to queries, keys and values: from one matrix, or from three."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _gemm
from .._packed import PANEL, PackedMatrix
from .._program import Program
from .buffers import Heads

__all__ = ["SEPARATE", "project_queries_and_keys", "project_rows", "project_source"]

Array = NDArray[np.float32]
SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


def project_rows(
    program: Program, weights: Mapping[str, Any], x: Array, out: Array
) -> None:
    """Add the projection of x to rows q|k|v, by one matrix."""
    weight, bias = weights["in_proj_weight"], weights.get("in_proj_bias")
    _gemm.linear(program, x, weight, out, bias=bias)


def project_queries_and_keys(
    program: Program, weights: Mapping[str, Any], x: Array, width: int
) -> Array:
    """Add the projection of x to rows q|k of `width`, by one matrix, and give them."""
    bias = weights.get("in_proj_bias")
    return _projected(program, x, weights["in_proj_weight"], bias, (0, width))


def project_source(
    program: Program,
    weights: Mapping[str, Any],
    ends: list[int],
    head_dim: int,
    x: Array,
    source: Array,
) -> Heads:
    """Add the projections of x to queries, and of a source to keys and values.

    `ends` say where queries, keys and values end in a projected vector.
    """
    bias = weights.get("in_proj_bias")
    if "in_proj_weight" in weights:
        # Rows of a weight are taken from the beginning of a panel on.
        start, weight = ends[0] // PANEL * PANEL, weights["in_proj_weight"]
        query = _projected(program, x, weight, bias, (0, ends[0]))
        pair = _projected(program, source, weight, bias, (start, ends[-1]))
        parts = [query, *np.split(pair[:, ends[0] - start :], 2, axis=1)]
    else:
        biases = [None] * 3 if bias is None else np.split(bias, ends[:-1])
        inputs = zip((x, source, source), SEPARATE, biases, strict=True)
        parts = [
            _projected(program, rows, weights[name], part) for rows, name, part in inputs
        ]
    return Heads(
        *(part.reshape(len(part), part.shape[1] // head_dim, head_dim) for part in parts)
    )


def _projected(
    program: Program,
    x: Array,
    weight: PackedMatrix,
    bias: Array | None,
    rows: tuple[int, int] | None = None,
) -> Array:
    """Add x weight^T + bias to a program, of some rows of the weight or of all."""
    start, stop = (0, weight.shape[0]) if rows is None else rows
    out = np.empty((len(x), stop - start), np.float32)
    bias = None if bias is None else bias[start:stop]
    _gemm.linear(program, x, weight, out, bias=bias, rows=(start, stop))
    return out

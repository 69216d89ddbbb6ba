"""How alike vectors are, by the four functions that a model's folder may name.

They are those of sentence-transformers, by its names: the cosine of the angle, the dot
product, and the Euclidean and the Manhattan distance, which are negative so that more
alike is always more.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy import float32, float64
from numpy.typing import ArrayLike, NDArray

from .arrays import as_float32
from .functional import linear

# Numbers of float64 that are looked at together: 2 MB, which a cache holds.
BLOCK = 2**18

# A row whose length lies between these can be multiplied in float32 with one of unit
# length: nothing overflows, and what underflow takes, 2**-150 a product, is nothing.
LENGTHS = 2.0**-100, 2.0**100

Rows = NDArray[float32]
Wide = NDArray[float64]


def every(name: str, a: ArrayLike, b: ArrayLike) -> Rows:
    """Compare each of `a` with each of `b`, by the function of a name: (n, m)."""
    rows, columns = as_rows(a, "a"), as_rows(b, "b")
    if rows.shape[1] != columns.shape[1]:
        raise ValueError(
            "a and b must hold vectors of one length, "
            f"got {rows.shape[1]} and {columns.shape[1]}"
        )
    return FUNCTIONS[name].every(rows, columns)


def pairwise(name: str, a: ArrayLike, b: ArrayLike) -> Rows:
    """Compare each of `a` with the one of `b` in its place: (n,), () for one pair."""
    first, second = as_float32(a, "a"), as_float32(b, "b")
    if first.shape != second.shape:
        raise ValueError(
            f"a and b must have one shape, got {first.shape} and {second.shape}"
        )
    rows, columns = as_rows(first, "a"), as_rows(second, "b")
    out = np.empty(len(rows), float32)
    for some in _blocks(rows):
        with np.errstate(over="ignore"):
            out[some] = FUNCTIONS[name].pairs(rows[some], columns[some])
    return out.reshape(first.shape[:-1])


def _dots(a: Rows, b: Rows) -> Rows:
    # The second matrix is packed, which copies it: be that the one of fewer rows.
    return linear(a, b) if len(a) >= len(b) else linear(b, a).T


def _cosines(a: Rows, b: Rows) -> Rows:
    if len(a) > len(b):
        return _cosines(b, a).T
    units = unit_rows(a)
    out = linear(b, units)
    for some in _blocks(b):
        lengths = _euclidean(b[some])
        extreme = ~((LENGTHS[0] < lengths) & (lengths < LENGTHS[1]))
        if extreme.any():
            out[some][extreme] = linear(unit_rows(b[some][extreme]), units)
            lengths[extreme] = 1
        out[some] /= lengths[:, None]
    return out.T


def _cosines_of_pairs(a: Rows, b: Rows) -> Wide:
    lengths = _euclidean(a) * _euclidean(b)
    lengths[lengths == 0] = 1
    cosines: Wide = _dots_of_pairs(a, b) / lengths
    return cosines


# In float64, where no square of a float32 is too large or too small.
def _dots_of_pairs(a: NDArray[Any], b: NDArray[Any]) -> Wide:
    dots: Wide = np.vecdot(a.astype(float64, copy=False), b.astype(float64, copy=False))
    return dots


def _euclidean(rows: NDArray[Any]) -> Wide:
    lengths: Wide = np.sqrt(_dots_of_pairs(rows, rows))
    return lengths


def _manhattan(rows: NDArray[Any]) -> Wide:
    lengths: Wide = np.abs(rows).sum(axis=1)
    return lengths


class Function(NamedTuple):
    """One way to compare: rows with all of the others, and rows one by one."""

    every: Callable[[Rows, Rows], Rows]
    pairs: Callable[[Rows, Rows], Wide]


def _distance(length: Callable[[Wide], Wide]) -> Function:
    """Make the two functions of a distance, given the length of a difference."""

    def pairs(a: NDArray[Any], b: Rows) -> Wide:
        # Not -length, which would show a zero as -0.
        return 0 - length(a.astype(float64, copy=False) - b)

    def every(a: Rows, b: Rows) -> Rows:
        if len(a) > len(b):
            return every(b, a).T
        out = np.empty((len(a), len(b)), float32)
        for some in _blocks(b):
            block = b[some].astype(float64)
            for index, row in enumerate(a):
                with np.errstate(over="ignore"):
                    out[index, some] = pairs(block, row)
        return out

    return Function(every, pairs)


FUNCTIONS = {
    "cosine": Function(_cosines, _cosines_of_pairs),
    "dot": Function(_dots, _dots_of_pairs),
    "euclidean": _distance(_euclidean),
    "manhattan": _distance(_manhattan),
}


def _blocks(rows: Rows) -> list[slice]:
    """Cut rows into blocks of at most BLOCK numbers, or one row."""
    step = max(1, BLOCK // max(1, rows.shape[1]))
    return [slice(start, start + step) for start in range(0, len(rows), step)]


def as_rows(vectors: ArrayLike, name: str) -> Rows:
    """Return vectors as (n, dim), a single one as a row."""
    rows = np.atleast_2d(as_float32(vectors, name))
    if rows.ndim != 2:
        raise ValueError(f"{name} must have 1 or 2 dimensions, got {rows.ndim}")
    return rows


def unit_rows(rows: Rows) -> Rows:
    """Scale rows to unit length; a zero row stays zero."""
    norms = _euclidean(rows)
    norms[norms == 0] = 1
    unit: Rows = (rows / norms[:, None]).astype(float32)
    return unit

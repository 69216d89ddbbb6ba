"""How close and how fast each way to compute is, on somebody's own texts."""

import os
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._packed import PRECISIONS
from .cross_encoder import CrossEncoder
from .loading import load
from .sparse_encoder import SparseEncoder
from .text_base import as_texts

# The nearest texts that are compared, among so many at most: all have to be looked at.
NEIGHBOURS = 10
NEIGHBOUR_TEXTS = 2000

# Turns of each way, of which the fastest counts, and when there is no further one.
TURNS = 3
SECONDS = 20.0


class Closeness(NamedTuple):
    """How close vectors are to others in the same places.

    Attributes
    ----------
    mean, percentile, worst : float
        Cosines: their mean, what 1 % of them are below, the lowest.
    neighbours : float
        The part of the ten nearest of each vector that are the same.
    """

    mean: float
    percentile: float
    worst: float
    neighbours: float


class Compared(NamedTuple):
    """What one way to compute makes of some texts.

    Attributes
    ----------
    compute : str
        The way, as for :func:`fastattn.load`.
    texts_per_second : float
        Texts encoded in a second, tokenizing included.
    speedup : float
        The same over that of float32.
    closeness : Closeness
        To the vectors of float32.
    nbytes : int
        Bytes that the weights take.
    """

    compute: str
    texts_per_second: float
    speedup: float
    closeness: Closeness
    nbytes: int


class Comparison(tuple[Compared, ...]):
    """A :class:`Compared` for each way to compute; shown as a table."""

    def __repr__(self) -> str:
        """Show the table."""
        header = ("compute", "texts/s", "times", *Closeness._fields, "MB")
        cells: list[tuple[str, ...]] = [header]
        for row in self:
            mean, percentile, worst, neighbours = row.closeness
            cosines = [f"{cosine:.6f}" for cosine in (mean, percentile, worst)]
            speed = f"{row.texts_per_second:.0f}", f"{row.speedup:.2f}"
            bytes_shown = f"{row.nbytes / 1e6:.1f}"
            cells.append((row.compute, *speed, *cosines, f"{neighbours:.3f}", bytes_shown))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        )


def compare_compute(
    model_name: str | os.PathLike[str],
    texts: Iterable[str],
    *,
    num_threads: int | None = None,
    **options: Any,
) -> Comparison:
    """Tell how close and how fast each way to compute is, on texts of yours.

    Parameters
    ----------
    model_name : str or path
        A model that turns texts into vectors, as for :func:`fastattn.load`.
    texts : iterable of str
        At least two texts, such as the model will get.
    num_threads : int, optional
        Threads to compute with; unless given, :func:`fastattn.get_num_threads`.
    **options
        What else :func:`fastattn.load` takes, but `compute` and `weights`.

    Returns
    -------
    Comparison
        A tuple with a `Compared` for each way: float32 first, then "int8", "int16" and
        "bfloat16", each with its texts in a second, its closeness to float32 (cosines of
        vectors, nearest texts that stay) and its bytes. It is shown as a table.

    Raises
    ------
    TypeError
        If the model is a reranker or a classifier, or a text is not a str.
    ValueError
        If there are less than two texts.

    Notes
    -----
    All ways are in memory together, and take turns at all texts, up to three; the
    fastest turn of each counts. Texts beyond `max_length` are cut. Nearest texts are looked
    for among the first 2,000.

    Examples
    --------
    >>> import fastattn as fa
    >>> texts = ["A man is eating food.", "Someone has a meal.", "The sky is clear."]
    >>> for row in fa.compare_compute("all-MiniLM-L6-v2", texts):
    ...     print(row.compute, row.closeness.worst > 0.99)
    float32 True
    int8 True
    int16 True
    bfloat16 True
    """
    given = as_texts(texts)
    if len(given) < 2:
        raise ValueError(f"texts must be at least two, got {len(given)}")
    models = {
        compute: load(model_name, compute=compute, **options) for compute in PRECISIONS
    }
    if any(isinstance(model, CrossEncoder) for model in models.values()):
        raise TypeError(
            f"{os.fspath(model_name)} gives scores and no vectors: compare what predict "
            'gives after load(..., compute="int8") and without'
        )
    vectors: dict[str, Any] = {}
    seconds = dict.fromkeys(models, np.inf)
    began = time.perf_counter()
    for _ in range(TURNS):
        for compute, model in models.items():
            start = time.perf_counter()
            encoded = model.encode(given, on_truncation="ignore", num_threads=num_threads)
            seconds[compute] = min(seconds[compute], time.perf_counter() - start)
            vectors[compute] = encoded
        if time.perf_counter() - began > SECONDS:
            break
    if isinstance(models["float32"], SparseEncoder):
        vectors = {compute: rows.toarray() for compute, rows in vectors.items()}
    return Comparison(
        Compared(
            compute,
            len(given) / seconds[compute],
            seconds["float32"] / seconds[compute],
            closeness(vectors[compute], vectors["float32"]),
            model.nbytes,
        )
        for compute, model in models.items()
    )


def closeness(vectors: NDArray[np.float32], expected: NDArray[np.float32]) -> Closeness:
    """Compare vectors (n, dim), n > 1, with those that are expected in their places."""
    units = [_unit(vectors), _unit(expected)]
    cosines = (units[0] * units[1]).sum(axis=1)
    first, second = (_nearest(unit[:NEIGHBOUR_TEXTS]) for unit in units)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(first, second, strict=True)]
    return Closeness(
        float(cosines.mean()),
        float(np.percentile(cosines, 1)),
        float(cosines.min()),
        sum(shared) / first.size,
    )


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scale to unit length, in float64 so that what is compared is not this."""
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    unit: NDArray[np.float64] = exact / np.where(lengths > 0, lengths, 1)
    return unit


def _nearest(unit: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the nearest others of each vector."""
    similarities = unit @ unit.T
    np.fill_diagonal(similarities, -np.inf)
    count = min(NEIGHBOURS, len(unit) - 1)
    return np.argpartition(similarities, -count, axis=1)[:, -count:]

"""The rows of a corpus that are most like a query, found by looking at all of them."""

from collections.abc import Sequence
from typing import Any, Never, Protocol

import numpy as np
from numpy import float32, int64
from numpy.typing import ArrayLike, NDArray

from . import _search
from ._program import Program
from .arrays import STORED, as_choice, as_index, as_storage
from .bfloat16 import is_bfloat16
from .keywords import unexpected
from .similarity import as_rows, unit_rows

# Each task has lists of its own. So many keep any machine of a few cores busy; more of them
# would fill more lists from nothing.
TASKS = 64
# Rows for each place of a list, and for each task, at least: a task that keeps most of what
# it sees would leave the search to the join of the lists.
ROWS_OF_A_PLACE, ROWS_OF_A_TASK = 8, 1024
# Queries that go over the corpus together: beyond, a product gets no faster, and the lists
# of all tasks are to stay below so many places, 48 MB.
QUERIES, PLACES = 512, 2**22


class Shards(Protocol):
    """What holds arrays that stand one after the other, as `open_vectors` gives it."""

    @property
    def shards(self) -> Sequence[NDArray[Any]]:
        """The arrays."""
        ...


def top_k(
    queries: ArrayLike,
    corpus: ArrayLike | Sequence[ArrayLike] | Shards,
    k: int = 10,
    *,
    metric: str = "dot",
    num_threads: int | None = None,
    **others: Never,
) -> tuple[NDArray[float32], NDArray[int64]]:
    """Find the rows of a corpus that score highest with each query, exactly.

    Parameters
    ----------
    queries : array_like, (n, dim) or (dim,), float32
        What is looked for.
    corpus : array_like, (rows, dim), or a list of them, or Vectors
        What is searched: float32, float16 or bfloat16, arrays or memory maps, which are
        read where they lie. A list is searched as if its arrays stood one after the other,
        and so is what :func:`fastattn.open_vectors` maps.
    k : int
        How many rows to find for each query; all of them where the corpus has fewer.
    metric : {"dot", "cosine"}
        The score of a query q and a row x: ``q . x``, or that of both at unit length,
        ``q . x / (|q| |x|)``, where what has no length scores 0.
    num_threads : int, optional
        Threads for this call; see :func:`fastattn.set_num_threads`.

    Returns
    -------
    scores : ndarray, (n, k) or (k,), float32
        Best first; -inf at the end, where there are no more rows to find.
    indices : ndarray, (n, k) or (k,), int64
        The rows that have these scores; of equal ones, the lower index comes first. -1
        where there are no more: ``indices[indices >= 0]`` are rows, and -1 would mean the
        last one where it is taken for an index.

    Raises
    ------
    TypeError
        If queries are not float32, or a corpus is none of its three.
    ValueError
        If shapes do not fit, k is below 1 or the metric is unknown.

    Notes
    -----
    A row whose score is NaN, as all of a row of NaN are, is never found, so that a corpus
    may have fewer than k rows to find.

    A score is a sum as in :func:`fastattn.matmul`, of rows widened to float32. It has
    the same bits for a query alone and among others, on any number of threads and however
    the corpus is cut into arrays.

    The corpus is read once for every 512 queries and scores are not stored. Up to 7 queries
    take about as long as the corpus takes to be read from memory.

    Examples
    --------
    >>> import fastattn as fa
    >>> corpus = [[1, 0], [0, 1], [3, 4]]
    >>> scores, indices = fa.top_k([1, 0], corpus, k=2)
    >>> scores, indices
    (array([3., 1.], dtype=float32), array([2, 0]))
    >>> fa.top_k([[1, 0], [0, 2]], corpus, k=2, metric="cosine")[1]
    array([[0, 2],
           [1, 2]])
    >>> scores, indices = fa.top_k([1, 0], [[float("nan"), 0], [0, 1]], k=2)
    >>> scores, indices
    (array([  0., -inf], dtype=float32), array([ 1, -1]))
    >>> indices[indices >= 0]
    array([1])
    """
    if others:
        raise unexpected(top_k, others)
    rows = as_rows(queries, "queries")
    parts = _parts_of(corpus, rows.shape[1])
    k = as_index(k, "k", 1)
    as_choice(metric, "metric", ("dot", "cosine"))
    if num_threads is not None:
        num_threads = as_index(num_threads, "num_threads", 1)
    if metric == "cosine":
        with np.errstate(invalid="ignore"):
            rows = unit_rows(rows)
    count = sum(map(len, parts))
    k = min(k, count)
    scores = np.empty((len(rows), k), float32)
    indices = np.empty((len(rows), k), int64)
    if scores.size:
        _search_all(np.ascontiguousarray(rows), parts, metric, num_threads, scores, indices)
    shape = (*np.shape(queries)[:-1], k)
    return scores.reshape(shape), indices.reshape(shape)


def _search_all(
    queries: NDArray[float32],
    parts: list[NDArray[Any]],
    metric: str,
    num_threads: int | None,
    scores: NDArray[float32],
    indices: NDArray[int64],
) -> None:
    """Write the best scores of all queries and the rows that have them."""
    k, count = scores.shape[1], sum(map(len, parts))
    tasks = min(TASKS, -(-count // max(ROWS_OF_A_TASK, ROWS_OF_A_PLACE * k)))
    step = min(QUERIES, max(_search.FEW_QUERIES, PLACES // (tasks * k)))
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        found = np.empty((tasks, len(some), k), float32)
        where = np.empty(found.shape, int64)
        program = Program(num_threads=num_threads)
        _search.top_k(program, some, parts, found, where, cosine=metric == "cosine")
        program.run()
        scores[start : start + step] = found[0]
        indices[start : start + step] = where[0]


def _parts_of(corpus: Any, dim: int) -> list[NDArray[Any]]:
    """Return the arrays of a corpus, each (rows, dim) and of a dtype that is read."""
    corpus = getattr(corpus, "shards", corpus)
    listed = isinstance(corpus, list | tuple) and (
        not corpus or any(np.ndim(x) != 1 for x in corpus)
    )
    names = [f"corpus[{i}]" for i in range(len(corpus))] if listed else ["corpus"]
    parts = []
    for name, given in zip(names, corpus if listed else [corpus], strict=True):
        kind = getattr(given, "dtype", None)
        if isinstance(kind, np.dtype) and kind.kind in "iub":
            raise TypeError(
                f"{name} must be {STORED}, got {kind}: integers may be codes of vectors, "
                "with ranges of their own; what are none, convert with astype(np.float32)"
            )
        array = as_storage(given, name)
        if array.ndim != 2:
            raise ValueError(f"{name} must have 2 dimensions, got {array.ndim}")
        if array.shape[1] != dim:
            raise ValueError(
                f"queries and {name} must hold vectors of one length, "
                f"got {dim} and {array.shape[1]}"
            )
        parts.append(array.view(np.uint16) if is_bfloat16(array.dtype) else array)
    return parts

"""The rows of a corpus that are most like each query."""

from typing import Any

from numpy import float32, int64
from numpy.typing import NDArray

from ._program import Program

FEW_QUERIES: int  # up to so many, the corpus is read as fast as memory allows
KINDS: dict[str, str]  # the character of a dtype -> the kind of memory that is asked for

def top_k(
    program: Program,
    queries: NDArray[float32],
    corpus: list[NDArray[Any]],
    scores: NDArray[float32],
    indices: NDArray[int64],
    *,
    cosine: bool = False,
) -> None:
    """Add the search for the rows of a corpus with the highest products.

    queries are (n, dim) and contiguous, the corpus is arrays (rows, dim) with adjacent
    columns, one after the other: float32, float16 or, as uint16, bfloat16. scores and
    indices (tasks, n, k) are working memory; scores[0] and indices[0] are the result, best
    first, -inf and -1 where there is no more. With `cosine` products are divided by the
    lengths of the corpus' rows.
    """

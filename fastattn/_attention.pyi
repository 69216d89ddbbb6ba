"""Attention over dense batches and over packed sequences.

Arrays are of the `dtype` "float32", "float16" or "bfloat16" (then viewed as uint16) and of
any strides with an adjacent last dimension. `scores` is a :class:`fastattn.scores.Scores`.
How work is cut depends on the threads of the program, and changes no bit. `positions` are
what slopes count from where that is not the place in a sequence: of all queries and of all
keys, one sequence behind the other.
"""

from typing import Any, TypeAlias

from numpy import float32, int64
from numpy.typing import NDArray

from ._distances import DistanceVectors
from ._program import Program

FAR: int
_Table: TypeAlias = NDArray[float32] | None
_Scores: TypeAlias = tuple[float, float, int, int, _Table, _Table, DistanceVectors | None]

def attention(
    program: Program,
    query: NDArray[Any],
    key: NDArray[Any],
    value: NDArray[Any] | None,
    out: NDArray[Any],
    scores: _Scores,
    *,
    dtype: str = "float32",
    mask: NDArray[Any] | None = None,
    key_lengths: NDArray[int64] | None = None,
    query_offset: NDArray[int64] | None = None,
    positions: tuple[NDArray[float32], NDArray[float32]] | None = None,
    lse: NDArray[float32] | None = None,
) -> None:
    """Add attention over (..., heads, length, dim), leading dimensions broadcast already.

    query (..., H, Lq, D), key (..., H', Lk, D), value (..., H', Lk, Dv) and
    out (..., H, Lq, Dv) have equal leading dimensions, of stride 0 where they were
    broadcast, and H is a multiple of H'. `mask` is (..., H, Lq, Lk) with any strides,
    bool or floating, `lse` (..., H, Lq); `key_lengths` and `query_offset` have one
    element per leading index. All these are contiguous but for the mask and lse.
    """

def attention_varlen(
    program: Program,
    query: NDArray[Any],
    key: NDArray[Any],
    value: NDArray[Any],
    out: NDArray[Any],
    cu_seqlens_q: NDArray[int64],
    cu_seqlens_k: NDArray[int64],
    scores: _Scores,
    *,
    dtype: str = "float32",
    query_offset: NDArray[int64] | None = None,
    positions: tuple[NDArray[float32], NDArray[float32]] | None = None,
    lse: NDArray[float32] | None = None,
) -> None:
    """Add attention over packed sequences.

    Arrays are (tokens, heads, dim), lse is (tokens, heads). `cu_seqlens_*` are contiguous
    (sequences + 1,), first 0, never decreasing, last the number of tokens.
    """

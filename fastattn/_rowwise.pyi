"""Operations on rows: normalisation, activations, embedding, pooling, positions.

Every function adds one step to a program. Arrays are float32, two-dimensional with
adjacent columns unless said otherwise.
"""

from collections.abc import Sequence

from numpy import float32, float64, int64
from numpy.typing import NDArray

from ._program import Program

# Names and the kernels' numbers for them.
ACTIVATIONS: dict[str, int]
POOLINGS: dict[str, int]

def softmax(program: Program, x: NDArray[float32], out: NDArray[float32]) -> None:
    """Add the softmax of each row; out may be x."""

def layer_norm(
    program: Program,
    x: NDArray[float32],
    weight: NDArray[float32] | None,
    bias: NDArray[float32] | None,
    eps: float,
    out: NDArray[float32],
    *,
    rms: bool = False,
) -> None:
    """Add the layer normalisation of each row, with `rms` around 0; out may be x."""

def activate(
    program: Program, x: NDArray[float32], activation: str, out: NDArray[float32]
) -> None:
    """Add an activation, element by element, on contiguous (n,) arrays; out may be x.

    `activation` is one of ACTIVATIONS.
    """

def embed(
    program: Program,
    tables: Sequence[NDArray[float32]],
    ids: Sequence[NDArray[int64]],
    out: NDArray[float32],
    *,
    scale: float = 1.0,
    norm: tuple[NDArray[float32] | None, NDArray[float32] | None, float] | None = None,
) -> None:
    """Add out[t] = norm(scale * sum of table[ids[t]]) for one to three tables (rows, dim).

    Each ids is a contiguous (tokens,) int64 array; one out of range is an IndexError.
    """

def pool(
    program: Program,
    x: NDArray[float32],
    cu_seqlens: NDArray[int64],
    pooling: str,
    out: NDArray[float32],
    *,
    first: int = 0,
    normalize: bool = False,
) -> None:
    """Add one vector per sequence, pooled: x (tokens, dim), out (n, dim).

    `pooling` is one of POOLINGS; rows of a sequence before `first` do not count.
    """

def sinusoid(
    program: Program,
    base: float,
    out: NDArray[float32],
    *,
    first: int = 0,
    frequencies: NDArray[float64] | None = None,
) -> None:
    """Add the sinusoidal positions from `first` on, out (length, dim) contiguous.

    `frequencies` (dim / 2, rounded up), float64, stand in place of those of the base.
    """

def rotary(
    program: Program,
    x: NDArray[float32],
    cos: NDArray[float32],
    sin: NDArray[float32],
    positions: NDArray[int64],
    *,
    interleaved: bool = False,
) -> None:
    """Add the turning of heads x (rows, heads, dim), in place, by rows of cos and sin.

    cos and sin are contiguous (any number, pairs); `positions` (rows,) says which of their
    rows turns a row of x, and one out of range is an IndexError.
    """

def split_heads(program: Program, x: NDArray[float32], out: NDArray[float32]) -> None:
    """Add the copy of packed rows x (tokens, heads, dim) to out (n, heads, length, dim)."""

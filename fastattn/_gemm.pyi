"""Products with packed weights, and with matrices that nobody packed."""

from numpy import float32, int64
from numpy.typing import NDArray

from ._packed import PackedMatrix
from ._program import Program

UNPACKED_ROWS: int  # up to so many rows, `matmul` does not pack twice what it reads
PRODUCT: str  # the name of a product for a recorder: (a packed weight, its rows)

def linear(
    program: Program,
    x: NDArray[float32],
    weight: PackedMatrix,
    out: NDArray[float32],
    *,
    bias: NDArray[float32] | None = None,
    rows: tuple[int, int] | None = None,
    activation: str | None = None,
    factor: NDArray[float32] | None = None,
    residual: NDArray[float32] | None = None,
    norm: tuple[NDArray[float32] | None, NDArray[float32] | None, float] | None = None,
) -> None:
    """Add out = norm(activation(x weight^T + bias) * factor + residual).

    x is (m, in_features), out, factor and residual (m, out_features), all with adjacent
    columns; norm is (weight, bias, eps) of a layer normalisation. `activation` is one of
    _rowwise.ACTIVATIONS, or None. With `rows` (start, stop), start a multiple of PANEL,
    these rows of the weight stand for all of it. factor may be out; neither x nor residual
    may overlap out.
    """

def fold(
    program: Program,
    x: NDArray[float32],
    weight: PackedMatrix,
    cu_seqlens: NDArray[int64],
    out: NDArray[float32],
    *,
    bias: NDArray[float32] | None = None,
    activation: str | None = None,
    add: bool = False,
) -> None:
    """Add out[i] = max over the rows of sequence i of activation(x weight^T + bias), and 0.

    With `add` it is their sum. x is (tokens, in_features), out (sequences, out_features).
    The product is never stored.
    """

def matmul(
    program: Program,
    a: NDArray[float32],
    b: NDArray[float32],
    out: NDArray[float32],
    *,
    bias: NDArray[float32] | None = None,
    activation: str | None = None,
) -> None:
    """Add out = activation(a b + bias) for matrices at every index, b of any strides."""

"""Packed weights and the products with them."""

from typing import Any, final

from numpy import float32, int64
from numpy.typing import NDArray

from ._program import Program

PANEL: int  # rows of a weight that are packed together
UNPACKED_ROWS: int  # up to so many rows, `matmul` does not pack twice what it reads
# Name of a format -> the kernels' number for it, bytes of an element, largest magnitude.
FORMATS: dict[str, tuple[int, int, float]]

@final
class PackedMatrix:
    """Weights (out_features, in_features) in the layout that the kernels read."""

    format: str
    nbytes: int

    def __init__(self, *weights: NDArray[float32], format: str = "float32") -> None:
        """Pack one weight, or several on top of each other, of any strides."""
    @property
    def shape(self) -> tuple[int, int]:
        """(out_features, in_features)."""
    def unpack(self) -> NDArray[float32]:
        """Copy the weights into a float32 array (out_features, in_features)."""
    def __reduce__(self) -> tuple[Any, ...]: ...

def pack(program: Program, weight: NDArray[float32], packed: PackedMatrix) -> None:
    """Add the step that packs `weight` (out_features, in_features) into `packed`."""

def empty_packed(
    out_features: int, in_features: int, *, temporary: bool = False
) -> PackedMatrix:
    """Make a packed matrix whose weights are still to be packed, and 0 until then.

    With `temporary` its memory is not that of weights that stay: it costs less to get.
    """

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

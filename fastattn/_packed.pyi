"""Weights in the layout that products read."""

from typing import Any, final

from numpy import float32, uint8
from numpy.typing import NDArray

from ._program import Program

PANEL: int  # rows of a weight that are packed together
# Name of a format -> the kernels' number for it, bytes of an element, largest magnitude.
FORMATS: dict[str, tuple[int, int, float]]
# Name of a precision -> its number, the most terms of a sum, largest magnitude of a weight.
PRECISIONS: dict[str, tuple[int, float]]

@final
class PackedMatrix:
    """Weights (out_features, in_features) in the layout that the kernels read."""

    format: str
    precision: str  # of the products with them; another than float32 is the format, too
    factors: NDArray[float32] | None
    nbytes: int

    def __init__(
        self,
        *weights: NDArray[float32],
        format: str = "float32",
        precision: str = "float32",
        factors: NDArray[float32] | None = None,
    ) -> None:
        """Pack one weight, or several on top of each other, of any strides."""
    @property
    def shape(self) -> tuple[int, int]:
        """(out_features, in_features)."""
    def unpack(self) -> NDArray[float32]:
        """Copy the weights into a float32 array (out_features, in_features)."""
    def like(self, weight: NDArray[float32]) -> PackedMatrix:
        """Pack another weight in the format and precision of this one."""
    def __reduce__(self) -> tuple[Any, ...]: ...

def restored(
    shape: tuple[int, int],
    precision: str,
    factors: NDArray[float32] | None,
    contents: NDArray[uint8],
) -> PackedMatrix:
    """Make the packed matrix of a precision that has these contents."""

def pack(program: Program, weight: NDArray[float32], packed: PackedMatrix) -> None:
    """Add the step that packs `weight` (out_features, in_features) into `packed`."""

def empty_packed(
    out_features: int, in_features: int, *, temporary: bool = False
) -> PackedMatrix:
    """Make a packed matrix whose weights are still to be packed, and 0 until then.

    With `temporary` its memory is not that of weights that stay: it costs less to get.
    """

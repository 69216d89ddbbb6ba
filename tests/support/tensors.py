"""What a bfloat16 tensor of PyTorch looks like to NumPy, without PyTorch."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastattn.bfloat16 import BFLOAT, CAPSULES, UNSIGNED, _is_valid, _pointer, _Tensor


def bits_of(values: ArrayLike) -> NDArray[np.uint16]:
    """Round float32 numbers to bfloat16, to nearest even."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16)


def wide(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Widen bfloat16 to float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


class Exported:
    """Bits of bfloat16 that speak DLPack alone, in its first form or the present one."""

    def __init__(self, bits: NDArray[np.uint16], *, versioned: bool = True) -> None:
        self.bits, self.versioned = bits, versioned

    def __dlpack_device__(self) -> Any:
        return self.bits.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        capsule = self.bits.__dlpack__(**(options if self.versioned else {}))
        (name,) = (name for name in CAPSULES if _is_valid(capsule, name))
        assert name.endswith(b"versioned") == self.versioned
        tensor = _Tensor.from_address(_pointer(capsule, name) + CAPSULES[name])
        assert tensor.code == UNSIGNED
        tensor.code = BFLOAT
        return capsule


class Tensor(Exported):
    """A tensor, which NumPy is offered and cannot read."""

    dtype = "torch.bfloat16"
    requires_grad = False

    @property
    def ndim(self) -> int:
        return self.bits.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bits.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("Got unsupported ScalarType BFloat16")


class Parameter(Tensor):
    """A tensor whose gradient is asked for."""

    requires_grad = True

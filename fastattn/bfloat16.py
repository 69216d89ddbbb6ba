"""bfloat16, for which NumPy has no dtype: that of ml_dtypes, or the bits alone.

A tensor of PyTorch says what it is through DLPack, which NumPy refuses to read. So it is
told that the elements are integers of the same size.
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The dtype of an array that shares the memory of a bfloat16 tensor.
BITS = np.dtype([("bfloat16", np.uint16)])

# DLPack: the codes of kinds, and the names of capsules with where their tensor starts.
UNSIGNED, BFLOAT = 1, 4
CAPSULES = {b"dltensor": 0, b"dltensor_versioned": 32}


class _Tensor(ctypes.Structure):
    """The first fields of a DLTensor (DLPack's dlpack.h)."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    )


def _capsule_function(name: str, result: Any) -> Any:
    prototype = ctypes.PYFUNCTYPE(result, ctypes.py_object, ctypes.c_char_p)
    return prototype((name, ctypes.pythonapi))


_is_valid = _capsule_function("PyCapsule_IsValid", ctypes.c_int)
_pointer = _capsule_function("PyCapsule_GetPointer", ctypes.c_void_p)


class _AsIntegers:
    """A bfloat16 array that says of itself, through DLPack, that it holds integers."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        capsule = self._array.__dlpack__(**options)
        for name, start in CAPSULES.items():
            if _is_valid(capsule, name):
                tensor = _Tensor.from_address(_pointer(capsule, name) + start)
                if (tensor.code, tensor.bits, tensor.lanes) == (BFLOAT, 16, 1):
                    tensor.code = UNSIGNED
                    return capsule
        raise BufferError("not an array of bfloat16")


def from_dlpack(array: Any) -> NDArray[Any]:
    """View a bfloat16 array that speaks DLPack, as `BITS`; BufferError for any other."""
    return np.from_dlpack(_AsIntegers(array)).view(BITS)


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is `BITS`, or the bfloat16 of ml_dtypes."""
    # A dtype's name is a string that NumPy puts together anew, in 4 microseconds.
    return dtype.kind == "V" and (dtype == BITS or dtype.name == "bfloat16")


def widened(array: NDArray[Any]) -> NDArray[np.float32]:
    """Widen bfloat16 numbers, which are the upper halves of float32 ones."""
    return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)

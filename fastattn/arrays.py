"""What people pass, made into arrays that the kernels read, or refused in their words."""

import math
import operator
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import bfloat16
from .bfloat16 import is_bfloat16

Float32 = NDArray[np.float32]
FLOAT32, INT64 = np.dtype(np.float32), np.dtype(np.int64)
LARGEST = float(np.finfo(np.float32).max)
FLAGS = bool, np.bool_
STORED = "float32, float16 or bfloat16"
# What a table has where it has no text, beside None and NaN.
GAPS = "NAType", "NaTType"
UNREADABLE = TypeError, ValueError, RuntimeError, BufferError


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return `value` as an ndarray without a copy where there is memory to look at."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, whose mask would be lost: pass its data, and a "
            "mask where the function takes one"
        )
    if getattr(value, "requires_grad", False):
        raise TypeError(
            f"{name} requires a gradient, and none is computed here: call .detach() on it"
        )
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except UNREADABLE as error:
        with suppress(AttributeError, *UNREADABLE):
            return bfloat16.from_dlpack(value)
        raise TypeError(f"{name} cannot be read as an array: {error}") from error


def as_float32(value: Any, name: str) -> Float32:
    """Return `value` as a float32 array with an adjacent last dimension.

    Float32 arrays of any strides are taken as they are as long as the elements of the
    last dimension are adjacent, aligned and in native byte order, and copied otherwise.
    Integers, booleans, Python numbers and nested lists of them are rounded.

    Parameters
    ----------
    value : array_like
        What the caller passed.
    name : str
        What the caller calls it, for the message.

    Raises
    ------
    TypeError
        For floating arrays of another width, and for anything that is no real number.
    ValueError
        For a number that is beyond float32.
    """
    return readable(as_strided(value, name))


def as_strided(value: Any, name: str, wanted: str = "float32") -> Float32:
    """Return what :func:`as_float32` does, of any strides; errors say what is `wanted`."""
    array = as_array(value, name)
    if array.dtype is FLOAT32:
        return array if array.flags.aligned else array.copy()
    if not hasattr(value, "dtype"):
        array = _of_integers(array, name)
    other_width = array.dtype.kind == "f" and array.dtype.itemsize != 4
    typed = hasattr(value, "dtype") or hasattr(value, "__dlpack__")
    if typed and (other_width or is_half(array.dtype)):
        cure = "astype(np.float32)" if hasattr(value, "astype") else "float()"
        raise TypeError(
            f"{name} must be {wanted}, got {name_of(array.dtype)}: convert it with "
            f"{name}.{cure}"
        )
    return _rounded(array, name)


def as_real(value: Any, name: str) -> Float32:
    """Return numbers of any real dtype as float32, aligned; see :func:`as_float32`."""
    array = as_array(value, name)
    if not hasattr(value, "dtype"):
        array = _of_integers(array, name)
    return np.require(_rounded(array, name), requirements="A")


def _of_integers(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return what a list became, as float64 where integers beyond 64 bits are in it."""
    if array.dtype != object or not {type(n) for n in array.flat} <= {int, float}:
        return array
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(f"{name} holds an integer beyond float32") from None


def _rounded(array: NDArray[Any], name: str) -> Float32:
    """Round to float32: ValueError for a number beyond it, TypeError for no number."""
    if is_bfloat16(array.dtype):
        return bfloat16.widened(array)
    if array.dtype.kind not in "fiub":
        raise _no_numbers(array, name)
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32, copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        lost = np.isinf(rounded) & np.isfinite(array)
        if lost.any():
            raise ValueError(f"{name} holds {array[lost][0]}, which is beyond float32")
    return rounded


def _no_numbers(array: NDArray[Any], name: str) -> TypeError:
    """Make the error about an array of something else; a table's column may hold arrays."""
    found = str(array.dtype)
    if array.dtype.kind in "US":
        found = "texts: encode them first"
    elif any(isinstance(each, np.ndarray | list) for each in array.flat):
        found += f": np.stack({name}) makes one array of several; leave gaps out before"
    return TypeError(f"{name} must be an array of real numbers, got {found}")


def readable(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array`, copied where its layout is not one that the kernels read."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.aligned:
        array = array.copy()
    if array.ndim and array.shape[-1] > 1 and array.strides[-1] != array.itemsize:
        return np.ascontiguousarray(array)
    return array


def as_storage(value: Any, name: str) -> NDArray[Any]:
    """Return `value` as :func:`as_float32` does, or as float16 or bfloat16 if it is."""
    array = as_array(value, name)
    if array.dtype is FLOAT32 or is_half(array.dtype):
        return readable(array)
    return readable(as_strided(value, name, STORED))


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is float16 or bfloat16."""
    return dtype.char == "e" or is_bfloat16(dtype)


def name_of(dtype: np.dtype[Any]) -> str:
    """Name a dtype, for messages."""
    return "bfloat16" if is_bfloat16(dtype) else str(dtype)


def output(
    out: Any,
    shape: tuple[int, ...],
    *inputs: NDArray[Any] | None,
    dtype: np.dtype[Any] = FLOAT32,
) -> NDArray[Any]:
    """Return the array to write a result to: a new one, or `out` after checking it.

    Raises
    ------
    TypeError
        If `out` is not an ndarray of the `dtype`.
    ValueError
        If its shape differs, it cannot be written, its last dimension is not adjacent,
        or it shares memory with one of the `inputs`.
    """
    if out is None:
        return np.empty(shape, dtype)
    masked = np.ma.isMaskedArray(out)
    if not isinstance(out, np.ndarray) or masked or out.dtype != dtype:
        got = out.dtype if type(out) is np.ndarray else type(out).__name__
        raise TypeError(f"out must be an array of {dtype}, got {got}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if not (out.flags.writeable and out.flags.aligned and out.dtype.isnative):
        raise ValueError("out must be writeable, aligned and in native byte order")
    if out.ndim and out.shape[-1] > 1 and out.strides[-1] != out.itemsize:
        raise ValueError("out must have an adjacent last dimension")
    if _overlaps_itself(out) or any(
        array is not None and _share_memory(out, array) for array in inputs
    ):
        raise ValueError("out must not share memory with the inputs")
    return out


def _overlaps_itself(array: NDArray[Any]) -> bool:
    """Whether two elements may share memory, as after broadcast_to or as_strided."""
    reach = array.itemsize
    for stride, size in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if size > 1 and stride < reach:
            return array.size > 0
        reach += stride * (size - 1)
    return False


def _share_memory(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays share an element; where that is hard to tell, yes."""
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def rows_of(array: Float32) -> Float32:
    """Return (..., n) as (rows, n), a view where the strides allow."""
    if array.ndim == 2:
        return array
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def as_integers(value: Any, name: str) -> NDArray[np.int64]:
    """Return `value` as contiguous int64; TypeError for anything but integers."""
    array = as_array(value, name)
    if array.dtype is INT64 and array.flags.c_contiguous and array.flags.aligned:
        return array
    if isinstance(value, int) and array.dtype == object:
        raise ValueError(f"{name} is beyond 64-bit integers, got {value}")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    integers = np.require(array.astype(np.int64, order="C", copy=False), requirements="A")
    # What is beyond them comes out negative.
    if array.dtype.kind == "u" and integers.size and integers.min() < 0:
        raise ValueError(f"{name} has a value beyond 64-bit integers")
    return integers


def as_index(
    value: Any, name: str, least: float = -math.inf, most: float = math.inf
) -> int:
    """Return a Python int from `least` to `most`; TypeError or ValueError otherwise."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    # Python counts with bools, too, but nobody means a number by one.
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if not least <= number <= most:
        span = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be {span}, got {number}")
    return number


def as_choice(value: Any, name: str, choices: Iterable[str | None]) -> Any:
    """Return `value` if it is one of `choices`; ValueError that lists them otherwise."""
    known = tuple(choices)
    if not isinstance(value, str | None) or value not in known:
        listed = ", ".join(map(repr, known))
        raise ValueError(f"{name} must be one of {listed}, got {value!r}")
    return value


def as_number(value: Any, name: str) -> float:
    """Return a Python float that float32 can hold; TypeError or ValueError otherwise."""
    if isinstance(value, (bool, np.bool_, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number, got {value!r}") from error
    # Written so that NaN fails, too.
    if not abs(number) <= LARGEST:
        raise ValueError(f"{name} must be finite in float32, got {value!r}")
    return number


def as_flag(value: Any, name: str) -> bool:
    """Return a truth value; TypeError for anything that is not one."""
    if not isinstance(value, FLAGS):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def as_text(value: Any, name: str) -> str:
    """Return `value` if it is a str; TypeError otherwise, with the cure for a gap."""
    if isinstance(value, str):
        return value
    kind = type(value).__name__
    is_nan = isinstance(value, float) and math.isnan(value)
    message = f"{name} must be a str, got {'nan' if is_nan else kind}"
    is_gap = value is None or is_nan or kind in GAPS
    if is_gap and name.endswith("]"):
        message += ": leave gaps out, or put '' there (dropna() or fillna('') of pandas)"
    if isinstance(value, bytes):
        message += ": decode it first"
    raise TypeError(message)


def as_mask(value: Any, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a mask, bool or floating, as a view of the shape of the scores.

    Raises
    ------
    TypeError
        If it is neither bool (True = attend) nor float32, float16 or bfloat16 (added to
        the scores).
    ValueError
        If it does not broadcast to `shape`.
    """
    mask = as_array(value, name)
    if mask.dtype.kind in "iu":
        raise TypeError(
            f"{name} must be bool (True = attend) or floating (added), got {mask.dtype}: "
            f"for a 0/1 mask of scores pass {name}.astype(bool), for a padding mask "
            f"(batch, Lk) {name}.astype(bool)[:, None, None, :]"
        )
    if mask.dtype != bool:
        mask = as_storage(value, name)
    try:
        return np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(
            f"{name} of shape {mask.shape} does not broadcast to the scores' shape {shape}"
            " (a padding mask (batch, Lk) goes in as mask[:, None, None, :])"
        ) from None


def broadcast_to(array: NDArray[Any], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Broadcast an argument; ValueError with its name where it does not fit."""
    if array.shape == shape:
        return array
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"{name} of shape {array.shape} does not broadcast to {shape}"
        ) from None

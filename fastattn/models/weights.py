"""From tensors, of a file or in memory, to the weights of a model, and back."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy import float32
from numpy.typing import ArrayLike, NDArray

from ..arrays import as_array, is_half
from ..errors import ModelFormatError
from ..functional import linear
from .families.family import SameRows
from .saving import Writer
from .tensor_files import Entry
from .tensors import PIECE, Stored, Tensors


class GivenTensors(Tensors):
    """Tensors in memory, held to the same as those of a file.

    Parameters
    ----------
    tensors : mapping of str to array_like
        The tensors, of float32, float16 or bfloat16; others that take no part may be
        among them.
    rename : callable
        Name of a tensor -> name to take it by, or None for one to leave alone.
    """

    def __init__(
        self, tensors: Mapping[str, ArrayLike], rename: Callable[[str], str | None]
    ) -> None:
        self.path = Path("tensors")
        self._entries = {
            name: self._entry(name, value)
            for name, value in self._renamed(tensors, rename).items()
        }

    def _entry(self, name: str, value: ArrayLike) -> Entry:
        """Describe a tensor as a safetensors file does."""
        array = as_array(value, name)
        if array.dtype.kind == "f" and array.dtype.itemsize == 4:
            dtype = "F32"
        elif is_half(array.dtype):
            dtype = "F16" if array.dtype.kind == "f" else "BF16"
        else:
            raise ModelFormatError(
                f"{self.path}: tensor {name} must be float32, float16 or bfloat16, got "
                f"{array.dtype}: convert it, in NumPy with .astype(np.float32)"
            )
        # What is made read-only is a view.
        view = partial(array.view, np.uint16 if dtype == "BF16" else array.dtype)
        return Entry(self.path, dtype, array.shape, view)

    def release(self) -> None:
        """Do nothing, for they are in memory."""

    def to_keep(self, array: NDArray[float32]) -> NDArray[float32]:
        """Copy an array, for the caller may change the memory."""
        return array.copy()


@dataclass(frozen=True)
class Adapted:
    """A tensor, and what is added to it for a task: see :class:`LowRank`."""

    tensor: Stored
    left: Stored
    right: Stored
    task: int
    scale: float

    def release(self) -> None:
        """Let pages that were read leave memory, until they are read again."""
        self.tensor.release()

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """Add the product, some rows at a time."""
        rows = np.asarray(self.tensor)
        # Widened, it has memory of its own already.
        if rows.flags.owndata:
            rows.flags.writeable = True
        else:
            rows = rows.copy()
        left = np.asarray(self.left)[self.task] * float32(self.scale)
        right = np.ascontiguousarray(np.asarray(self.right)[self.task].T)
        step = max(1, PIECE // rows.shape[1])
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            rows[some] += linear(left[some], right)
        return np.array(rows, dtype, copy=copy)


@dataclass(frozen=True)
class Rows:
    """One of some equal parts of the rows of tensors, read when NumPy asks for it."""

    tensors: Sequence[Stored | Adapted]
    part: int
    parts: int
    offset: float = 0.0

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """Put the rows together; those of one float32 tensor are a view of it."""
        # Of what was read before, all is in memory twice: these may have the second place.
        self.tensors[0].release()
        arrays = [np.asarray(tensor) for tensor in self.tensors]
        rows = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        if self.offset:
            rows = rows + float32(self.offset)
        return np.array(np.split(rows, self.parts)[self.part], dtype, copy=copy)


def find_weights(places: Iterable[SameRows], tensors: Tensors) -> dict[str, Rows]:
    """Find all weights of a model among the tensors, by their keys; none is left over."""
    found = {}
    for place in places:
        stored = [_find(place, name, tensors) for name in place.tensors]
        for part, key in enumerate(place.weights):
            found[key] = Rows(stored, part, len(place.weights), place.offset)
    tensors.finish()
    return found


def _find(place: SameRows, name: str, tensors: Tensors) -> Stored | Adapted:
    """Find a tensor, with what is added to it."""
    tensor = tensors.find(name, place.tensors[name])
    added = place.added.get(name)
    if added is None:
        return tensor
    left, right = tensors.find(*added.left), tensors.find(*added.right)
    if added.task is None:
        return tensor
    return Adapted(tensor, left, right, added.task, added.scale)


def weights_file(
    places: Sequence[SameRows], weights: Mapping[str, Callable[[], NDArray[float32]]]
) -> Writer:
    """Write the weights of a model to a safetensors file, as tensors of float32.

    They are read as they are written: no more than what belongs together is in memory.
    """

    def write(file: BinaryIO) -> None:
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for place in places:
            for name, shape in place.tensors.items():
                start, end = end, end + 4 * math.prod(shape)
                offsets = [start, end]
                header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        encoded = json.dumps(header).encode()
        # The package aligns the data to 8 bytes, too.
        encoded += b" " * (-len(encoded) % 8)
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for place in places:
            # The same rows in the same order: however they are cut, so are the bytes.
            for key in place.weights:
                rows = weights[key]()
                if place.offset:
                    rows = rows - float32(place.offset)
                file.write(np.ascontiguousarray(rows, "<f4").data)

    return write

"""The tensors of a folder by the names to take them by, each taken once.

Every error names the file and the tensor. What a tensor means is the business of the
families.
"""

import math
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from ..errors import ModelFormatError
from .cures import cure_of_dtype
from .folder import printable
from .tensor_files import INTEGERS, STORAGE, TensorFiles

# Numbers of a tensor that are looked at together: 4 MB of float32.
PIECE = 2**20


@dataclass(frozen=True)
class Stored:
    """A tensor where it is stored: float32 as soon as NumPy makes an array of it.

    Attributes
    ----------
    elements : array
        A read-only view of the map; bfloat16 as its bits.
    dtype : str
        Which of `STORAGE` it is.
    release : callable
        Lets what was read of the map leave memory.
    """

    elements: NDArray[Any]
    dtype: str
    release: Callable[[], None]

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """Widen the tensor, or show it if it is float32."""
        wide = self.elements
        # A tensor behind one of an odd number of bytes may start anywhere.
        if wide.dtype != float32 or not wide.flags.aligned:
            wide = np.empty(self.elements.shape, float32)
            flat = wide.reshape(-1)
            for start, piece in self.pieces():
                part = flat[start : start + piece.size]
                if self.dtype == "BF16":
                    bits = part.view(np.uint32)
                    bits[...] = piece
                    bits <<= 16
                else:
                    part[...] = piece
                self.release()
        wide.flags.writeable = False
        return np.array(wide, dtype, copy=copy)

    def pieces(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Go through the numbers, with the place of the first of each piece."""
        elements = self.elements.reshape(-1)
        for start in range(0, elements.size, PIECE):
            yield start, elements[start : start + PIECE]

    def is_finite(self) -> bool:
        """Look at all numbers, so many at a time that memory stays small."""
        for _, elements in self.pieces():
            piece = np.asarray(Stored(elements, self.dtype, self.release))
            # NaN is the least and the greatest of whatever it stands in.
            with np.errstate(invalid="ignore"):
                finite = math.isfinite(piece.min()) and math.isfinite(piece.max())
            self.release()
            if not finite:
                return False
        return True


class Tensors:
    """The tensors of a folder, found one by one, each exactly once.

    Parameters
    ----------
    files : TensorFiles
        The files that they are in.
    rename : callable
        Name in the file -> name to take it by, or None for one to leave alone.
    """

    def __init__(self, files: TensorFiles, rename: Callable[[str], str | None]) -> None:
        self.path = files.path
        self._files = files
        self._entries = self._renamed(files.entries, rename)

    def _renamed(
        self, entries: Mapping[str, Any], rename: Callable[[str], str | None]
    ) -> dict[str, Any]:
        """Give the entries of tensors the names to take them by."""
        renamed: dict[str, Any] = {}
        for stored, entry in entries.items():
            name = rename(stored)
            if name in renamed:
                raise ModelFormatError(f"{self.path}: two tensors mean {printable(name)}")
            if name is not None:
                renamed[name] = entry
        return renamed

    def has(self, name: str) -> bool:
        """Say whether there is a tensor that nobody took yet."""
        return name in self._entries

    def shape_within(self, name: str, highest: tuple[int, ...]) -> tuple[int, ...]:
        """Tell a shape that nothing else says: each size is from 1 to the highest."""
        if not self.has(name):
            raise self._missing(name)
        entry = self._entries[name]
        shape: tuple[int, ...] = entry.shape
        if len(shape) != len(highest) or not all(
            1 <= size <= limit for size, limit in zip(shape, highest, strict=True)
        ):
            raise ModelFormatError(
                f"{entry.path}: tensor {name} must have {len(highest)} dimensions, from 1 "
                f"to {highest}, got the shape {reprlib.repr(shape)}"
            )
        return shape

    def find_indices(self, name: str, highest: int, limit: int) -> NDArray[np.int64]:
        """Find a list of at most `highest` whole numbers from 0 to ``limit - 1``."""
        self.shape_within(name, (highest,))
        entry = self._entries.pop(name)
        start = f"{entry.path}: tensor {name} must"
        if entry.dtype not in INTEGERS:
            expected = " or ".join(INTEGERS)
            raise ModelFormatError(f"{start} be stored as {expected}, got {entry.dtype}")
        numbers: NDArray[np.int64] = entry.view().astype(np.int64)
        for extreme in (numbers.min(), numbers.max()):
            if not 0 <= extreme < limit:
                raise ModelFormatError(f"{start} be from 0 to {limit - 1}, got {extreme}")
        return numbers

    def find(self, name: str, shape: tuple[int, ...]) -> Stored:
        """Find a tensor of a known shape; it is widened, and its memory taken, later."""
        entry = self._entries.pop(name, None)
        if entry is None:
            raise self._missing(name)
        if entry.shape != shape:
            raise ModelFormatError(
                f"{entry.path}: tensor {name} must have shape {shape}, got "
                f"{reprlib.repr(entry.shape)}"
            )
        if entry.dtype not in STORAGE:
            raise ModelFormatError(
                f"{entry.path}: tensor {name} must be stored as one of "
                f"{', '.join(STORAGE)}, got {entry.dtype}: "
                f"{cure_of_dtype(entry.path, entry.dtype)}"
            )
        tensor = Stored(entry.view(), entry.dtype, self.release)
        if not tensor.is_finite():
            raise ModelFormatError(f"{entry.path}: tensor {name} holds NaN or infinity")
        return tensor

    def _missing(self, name: str) -> ModelFormatError:
        """Make the error about a tensor that is not there."""
        return ModelFormatError(f"{self.path}: tensor {name} is missing")

    def release(self) -> None:
        """Let pages that were read leave memory, until they are read again."""
        self._files.release()

    def to_keep(self, array: NDArray[float32]) -> NDArray[float32]:
        """Make of an array out of `find` one that may be kept: here it is one already."""
        return array

    def finish(self) -> None:
        """Make sure that nothing is left that nobody took."""
        if self._entries:
            name = min(self._entries)
            more = len(self._entries) - 1
            raise ModelFormatError(
                f"{self._entries[name].path}: unexpected tensor {printable(name)}"
                + (f" and {more} more" if more else "")
            )

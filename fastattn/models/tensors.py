"""The tensors of a folder: of one safetensors file, or of several that an index lists.

Every error names the file and the tensor. What a tensor means is the business of the
families.
"""

import math
import mmap
import re
import reprlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from ..errors import ModelFormatError
from .checkpoint import JSON_BYTES, Settings, parse_json
from .cures import INDEX, WEIGHTS, cure_of_dtype, no_shard, no_weights
from .folder import Folder, errors_of_library, printable

# How numbers are stored -> what to read them as; NumPy has no bfloat16.
STORAGE: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}

# How whole numbers are stored, of which no weights are made.
INTEGERS: dict[str, np.dtype[Any]] = {"I64": np.dtype("<i8"), "I32": np.dtype("<i4")}

# Numbers of a tensor that are looked at together: 4 MB of float32.
PIECE = 2**20

# Files of one model. The largest there are have 163, none of them an encoder; each takes a
# millisecond to look at.
FILES = 2**8

# What a file of an index may be called: it stands beside the index.
SHARD = re.compile(r"\w[\w.-]*\.safetensors")


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


@dataclass(frozen=True)
class Entry:
    """What is known of a tensor before it is read.

    Attributes
    ----------
    path : Path
        The file, which errors name.
    dtype : str
        How it is stored, in the words of safetensors.
    shape : tuple of int
        Its shape.
    view : callable
        Gives its numbers as they are stored, if `dtype` is one of `STORAGE`, or of
        `INTEGERS`.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    view: Callable[[], NDArray[Any]]


class Tensors:
    """The tensors of a folder, found one by one, each exactly once.

    The files are mapped read-only: a float32 tensor is a view of the map, so its pages
    are shared by all processes that read the file and enter memory when they are used.
    float16 and bfloat16 tensors are widened when they are needed. The files must not be
    changed in place while they are mapped.

    Parameters
    ----------
    folder : Folder
        Where the files are.
    rename : callable
        Name in the file -> name to take it by, or None for one to leave alone.
    """

    def __init__(self, folder: Folder, rename: Callable[[str], str | None]) -> None:
        self.path = folder.path / (WEIGHTS if folder.has(WEIGHTS) else INDEX)
        self._maps: list[mmap.mmap] = []
        entries: dict[str, Entry] = {}
        for path, file, header, start in _read_files(folder):
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._maps.append(content)
            for name, entry in header.items():
                dtype, shape = entry["dtype"], tuple(entry["shape"])
                offset = start + entry["data_offsets"][0]
                view = partial(_view, content, dtype, shape, offset)
                entries[name] = Entry(path, dtype, shape, view)
        self._entries = self._renamed(entries, rename)

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
        for content in self._maps:
            content.madvise(mmap.MADV_DONTNEED)

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


def tensor_names(folder: Folder) -> Collection[str]:
    """List the names of the tensors of a folder; there are none where it has no file."""
    if not folder.has(WEIGHTS) and not folder.has(INDEX):
        return ()
    return [name for _, _, header, _ in _read_files(folder) for name in header]


def _view(
    content: mmap.mmap, dtype: str, shape: tuple[int, ...], offset: int
) -> NDArray[Any]:
    """View the numbers of a tensor as they are stored in a map."""
    count = math.prod(shape)
    stored = (STORAGE | INTEGERS)[dtype]
    return np.frombuffer(content, stored, count, offset).reshape(shape)


def _read_files(
    folder: Folder,
) -> Iterator[tuple[Path, BinaryIO, dict[str, Any], int]]:
    """Open the files of the tensors: each with its header, and where its data begins."""
    if folder.has(WEIGHTS):
        with folder.open(WEIGHTS) as file:
            path = folder.path / WEIGHTS
            header, start = _read_header(path, file, JSON_BYTES)
            yield path, file, header, start
        return
    if not folder.has(INDEX):
        raise no_weights(folder)
    left = JSON_BYTES
    for name, listed in _read_index(folder).items():
        path = folder.path / name
        if not folder.has(name):
            raise no_shard(path)
        with folder.open(name) as file:
            header, start = _read_header(path, file, left)
            for tensor in listed.symmetric_difference(header):
                problem = (
                    "is listed to be here, and is not"
                    if tensor in listed
                    else (f"is not listed to be here in {INDEX}")
                )
                raise ModelFormatError(f"{path}: tensor {printable(tensor)} {problem}")
            left -= start
            yield path, file, header, start


def _read_index(folder: Folder) -> dict[str, set[str]]:
    """Read which files there are, and which tensors are in each."""
    index = Settings.read(folder, INDEX)
    shards: dict[str, set[str]] = {}
    for tensor, name in index.get("weight_map", dict).items():
        if not isinstance(name, str) or not SHARD.fullmatch(name):
            raise index.wrong(f"weight_map.{tensor}", "a safetensors file beside it", name)
        shards.setdefault(name, set()).add(tensor)
    if not 0 < len(shards) <= FILES:
        raise index.error("weight_map", f"must list 1 to {FILES} files, got {len(shards)}")
    return shards


def _read_header(path: Path, file: BinaryIO, limit: int) -> tuple[dict[str, Any], int]:
    """Read the entries of a safetensors file, and where its data begins."""
    try:
        from safetensors import safe_open
    except ImportError:
        raise ImportError(
            "reading models needs the package safetensors: pip install fastattn[text]"
        ) from None
    length = int.from_bytes(file.read(8), "little")
    if length > limit:
        raise ModelFormatError(
            f"{path}: the header claims {length} bytes, more than {limit}"
        )
    # The package checks that the header is sound: shapes and types agree with the
    # offsets, and these tile the rest of the file without hole or overlap.
    with errors_of_library(path), safe_open(file.name, framework="numpy"):
        header = parse_json(path, file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length

"""Read model folders: JSON settings by field, and the tensors of safetensors files.

Every error names the file and the field. What a field or a tensor means is the business
of the modules of the architectures.
"""

import json
import math
import mmap
import reprlib
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from ..errors import ModelFormatError
from .cures import WEIGHTS, cure_of_dtype, no_weights
from .folder import Folder, errors_of_library, printable

# The settings and headers of real models take up to some hundred kilobytes. Parsed, a
# hostile file of this size takes some thirty times as much memory.
JSON_BYTES = 2 * 2**20

# Numbers of a tensor that are looked at together: 4 MB of float32.
PIECE = 2**20

# How numbers are stored -> what to read them as; NumPy has no bfloat16.
STORAGE: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}

JSON_KINDS: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a string",
}

_REQUIRED: Any = object()


class Settings:
    """One JSON object of a model folder, read field by field with checks.

    Parameters
    ----------
    path : Path
        Where it was read; errors name it.
    fields : dict
        The object.
    """

    def __init__(self, path: Path, fields: Any) -> None:
        if not isinstance(fields, dict):
            raise ModelFormatError(f"{path}: expected a JSON object at the top")
        self.path = path
        self.fields = fields

    @classmethod
    def read(cls, folder: Folder, name: str, *, optional: bool = False) -> "Settings":
        """Read a file; a missing `optional` one has no fields."""
        path = folder.path / name
        if optional and not folder.has(name):
            return cls(path, {})
        return cls(path, read_json(folder, name))

    def error(self, field: str, problem: str) -> ModelFormatError:
        """Make the error that names this file and a field of it."""
        return ModelFormatError(f"{self.path}: {printable(field)} {problem}")

    def wrong(self, field: str, expected: str, value: Any) -> ModelFormatError:
        """Make the error that says what was expected and what is there."""
        return self.error(field, f"must be {expected}, got {reprlib.repr(value)}")

    def has(self, field: str) -> bool:
        """Say whether a field says something: null, as Python writes None, does not."""
        return self.fields.get(field) is not None

    def get(self, field: str, kind: type, default: Any = _REQUIRED) -> Any:
        """Get a field of one JSON type; a missing one is `default`, if there is any."""
        value = self.fields.get(field, default)
        if value is _REQUIRED:
            raise self.error(field, "is missing")
        # A JSON true is no number, though a Python bool is an int.
        if value is not default and type(value) is not kind:
            raise self.wrong(field, JSON_KINDS[kind], value)
        if kind is str and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise self.wrong(field, "Unicode without half a surrogate pair", value)
        return value

    def get_object(self, field: str) -> "Settings":
        """Get an object, whose errors name it, too; a missing one has no fields."""
        fields = self.get(field, dict) if self.has(field) else {}
        return Settings(Path(f"{self.path}: {field}"), fields)

    def get_choice(
        self, field: str, choices: Collection[str], default: Any = _REQUIRED
    ) -> str:
        """Get one of some strings."""
        value: str = self.get(field, str, default)
        if value not in choices:
            raise self.wrong(field, " or ".join(choices), value)
        return value

    def get_size(self, field: str, highest: int, default: Any = _REQUIRED) -> int:
        """Get a whole number from 1 to `highest`."""
        value: int = self.get(field, int, default)
        if not 1 <= value <= highest:
            raise self.wrong(field, f"from 1 to {highest}", value)
        return value

    def get_float(
        self,
        field: str,
        default: Any = _REQUIRED,
        lowest: float = sys.float_info.min,
        highest: float = sys.float_info.max,
    ) -> float:
        """Get a number from `lowest` to `highest`, whole or not."""
        whole = type(self.fields.get(field)) is int
        value = self.get(field, int if whole else float, default)
        if not lowest <= value <= highest:
            raise self.wrong(field, f"from {lowest} to {highest}", value)
        return float(value)


def read_json(folder: Folder, name: str) -> Any:
    """Read a JSON file of at most JSON_BYTES."""
    return parse_json(folder.path / name, folder.read(name, JSON_BYTES))


def parse_json(path: Path, content: bytes) -> Any:
    """Parse what stands in a file; two values of one name are an error."""
    try:
        return json.loads(str(content, "utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path}: not a JSON file: {error}") from None


def open_weights(folder: Folder) -> BinaryIO:
    """Open the file of the tensors; where there is none, say what to do about it."""
    if not folder.has(WEIGHTS):
        raise no_weights(folder)
    return folder.open(WEIGHTS)


def tensor_names(folder: Folder) -> Collection[str]:
    """List the names of the tensors of a folder; there are none where it has no file."""
    if not folder.has(WEIGHTS):
        return ()
    with open_weights(folder) as file:
        return _read_header(folder.path / WEIGHTS, file)[0].keys()


@dataclass(frozen=True)
class Stored:
    """A tensor where it lies in the file: float32 as soon as NumPy makes an array of it.

    Attributes
    ----------
    elements : array
        A read-only view of the map; bfloat16 as its bits.
    dtype : str
        Which of `STORAGE` it is.
    """

    elements: NDArray[Any]
    dtype: str

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """Widen the tensor, or show it if it is float32."""
        wide = self.elements
        if self.dtype == "BF16":
            wide = (wide.astype(np.uint32) << 16).view(float32)
        # A tensor behind one of an odd number of bytes may start anywhere.
        wide = np.require(wide, float32, "A")
        wide.flags.writeable = False
        return np.array(wide, dtype, copy=copy)


class Tensors:
    """The tensors of one safetensors file, found one by one, each exactly once.

    The file is mapped read-only: a float32 tensor is a view of the map, so its pages
    are shared by all processes that read the file and enter memory when they are used.
    float16 and bfloat16 tensors are widened when they are needed. The file must not be
    changed in place while it is mapped.

    Parameters
    ----------
    folder : Folder
        Where the file is.
    rename : callable
        Name in the file -> name to take it by, or None for one to leave alone.
    """

    def __init__(self, folder: Folder, rename: Callable[[str], str | None]) -> None:
        self.path = folder.path / WEIGHTS
        with open_weights(folder) as file:
            header, self._start = _read_header(self.path, file)
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._entries = self._renamed(header, rename)

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

    def find(self, name: str, shape: tuple[int, ...]) -> Stored:
        """Find a tensor of a known shape; it is widened, and its memory taken, later."""
        entry = self._entries.pop(name, None)
        if entry is None:
            raise ModelFormatError(f"{self.path}: tensor {name} is missing")
        if tuple(entry["shape"]) != shape:
            found = reprlib.repr(tuple(entry["shape"]))
            raise ModelFormatError(
                f"{self.path}: tensor {name} must have shape {shape}, got {found}"
            )
        if entry["dtype"] not in STORAGE:
            raise ModelFormatError(
                f"{self.path}: tensor {name} must be stored as one of "
                f"{', '.join(STORAGE)}, got {entry['dtype']}: "
                f"{cure_of_dtype(self.path, entry['dtype'])}"
            )
        tensor = Stored(self._elements(entry), entry["dtype"])
        if not self._is_finite(tensor):
            raise ModelFormatError(f"{self.path}: tensor {name} holds NaN or infinity")
        return tensor

    def _elements(self, entry: Any) -> NDArray[Any]:
        """View the numbers of a tensor as they are stored."""
        stored = np.frombuffer(
            self._bytes,
            STORAGE[entry["dtype"]],
            math.prod(entry["shape"]),
            self._start + entry["data_offsets"][0],
        )
        return stored.reshape(entry["shape"])

    def _is_finite(self, tensor: Stored) -> bool:
        """Look at all numbers of a tensor, so many at a time that memory stays small."""
        elements = tensor.elements.reshape(-1)
        for start in range(0, elements.size, PIECE):
            piece = np.asarray(Stored(elements[start : start + PIECE], tensor.dtype))
            # NaN is the least and the greatest of whatever it stands in.
            with np.errstate(invalid="ignore"):
                finite = math.isfinite(piece.min()) and math.isfinite(piece.max())
            self.release()
            if not finite:
                return False
        return True

    def release(self) -> None:
        """Let pages that were read leave memory, until they are read again."""
        self._bytes.madvise(mmap.MADV_DONTNEED)

    def to_keep(self, array: NDArray[float32]) -> NDArray[float32]:
        """Make of an array out of `find` one that may be kept: here it is one already."""
        return array

    def finish(self) -> None:
        """Make sure that nothing is left that nobody took."""
        if self._entries:
            names = sorted(self._entries)
            found = printable(names[0])
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelFormatError(f"{self.path}: unexpected tensor {found}{more}")


def _read_header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Read the entries of a safetensors file, and where its data begins."""
    try:
        from safetensors import safe_open
    except ImportError:
        raise ImportError(
            "reading models needs the package safetensors: pip install fastattn[text]"
        ) from None
    length = int.from_bytes(file.read(8), "little")
    if length > JSON_BYTES:
        raise ModelFormatError(
            f"{path}: the header claims {length} bytes, more than {JSON_BYTES}"
        )
    # The package checks that the header is sound: shapes and types agree with the
    # offsets, and these tile the rest of the file without hole or overlap.
    with errors_of_library(path), safe_open(file.name, framework="numpy"):
        header = parse_json(path, file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object, whose names must all be different."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"{printable(name)} is there twice")
        fields[name] = value
    return fields

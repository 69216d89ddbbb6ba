"""Read model folders: JSON settings by field, and the tensors of safetensors files.

Every error names the file and the field. What a field or a tensor means is the business
of the modules of the architectures.
"""

import json
import math
import mmap
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from ..errors import ModelFormatError

# Headers of real models take some ten to a hundred kilobytes; the bound keeps a hostile
# file from costing more memory than that before anything else about it is known.
HEADER_BYTES = 8 * 2**20

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
    def read(cls, path: Path, *, optional: bool = False) -> "Settings":
        """Read a file; a missing `optional` one has no fields."""
        if optional and not path.exists():
            return cls(path, {})
        return cls(path, read_json(path))

    def error(self, field: str, problem: str) -> ModelFormatError:
        """Make the error that names this file and a field of it."""
        return ModelFormatError(f"{self.path}: {field} {problem}")

    def get(self, field: str, kind: type, default: Any = _REQUIRED) -> Any:
        """Get a field of one JSON type; a missing one is `default`, if there is any."""
        value = self.fields.get(field, default)
        if value is _REQUIRED:
            raise self.error(field, "is missing")
        # A JSON true is no number, though a Python bool is an int.
        if value is not default and type(value) is not kind:
            raise self.error(field, f"must be {JSON_KINDS[kind]}, got {value!r:.60}")
        return value

    def get_choice(
        self, field: str, choices: Collection[str], default: Any = _REQUIRED
    ) -> str:
        """Get one of some strings."""
        value: str = self.get(field, str, default)
        if value not in choices:
            known = " or ".join(choices)
            raise self.error(field, f"must be {known}, got {value!r:.60}")
        return value

    def get_positive(self, field: str, default: Any = _REQUIRED) -> int:
        """Get a whole number of at least 1."""
        value = self.get(field, int, default)
        if value < 1:
            raise self.error(field, f"must be at least 1, got {value!r:.60}")
        return int(value)

    def get_positive_float(self, field: str, default: Any = _REQUIRED) -> float:
        """Get a finite number above 0, whole or not."""
        whole = type(self.fields.get(field)) is int
        value = self.get(field, int if whole else float, default)
        if not 0 < value <= sys.float_info.max:
            raise self.error(field, f"must be finite and above 0, got {value!r:.60}")
        return float(value)


def find_weights(folder: Path) -> Path:
    """Find the file of the tensors; where there is none, say what to do about it."""
    path = folder / "model.safetensors"
    if path.exists():
        return path
    if (folder / "pytorch_model.bin").exists():
        raise ModelFormatError(
            f"{path}: no such file, and pytorch_model.bin is not read: to unpickle it "
            "can run any code. Where there are torch and transformers, convert it: "
            f'python -c "from transformers import AutoModel as M; '
            f'M.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"'
        )
    if (folder / "model.safetensors.index.json").exists():
        raise ModelFormatError(f"{path}: no such file; weights in several are not read")
    raise ModelFormatError(f"{path}: no such file")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFormatError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path}: not a JSON file: {error}") from None


class Tensors:
    """The tensors of one safetensors file, taken one by one, each exactly once.

    The file is mapped read-only: a float32 tensor is a view of the map, so its pages
    are shared by all processes that read the file and enter memory when they are used.
    float16 and bfloat16 tensors are widened. The file must not be changed in place
    while it is mapped.

    Parameters
    ----------
    path : Path
        The file.
    rename : callable
        Name in the file -> name to take it by, or None for one to leave alone.
    """

    def __init__(self, path: Path, rename: Callable[[str], str | None]) -> None:
        self.path = path
        self._entries: dict[str, dict[str, Any]] = {}
        header, start = _read_header(path)
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._start = start
        for stored, entry in header.items():
            name = rename(stored)
            if name in self._entries:
                raise ModelFormatError(f"{path}: two tensors mean {name}")
            if name is not None:
                self._entries[name] = entry

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[float32]:
        """Take a tensor of a known shape, as a read-only array."""
        entry = self._entries.pop(name, None)
        if entry is None:
            raise ModelFormatError(f"{self.path}: tensor {name} is missing")
        if tuple(entry["shape"]) != shape:
            found = tuple(entry["shape"])
            raise ModelFormatError(
                f"{self.path}: tensor {name} must have shape {shape}, got {found}"
            )
        if entry["dtype"] not in STORAGE:
            raise ModelFormatError(
                f"{self.path}: tensor {name} must be stored as one of "
                f"{', '.join(STORAGE)}, got {entry['dtype']}"
            )
        stored = np.frombuffer(
            self._bytes,
            STORAGE[entry["dtype"]],
            math.prod(shape),
            self._start + entry["data_offsets"][0],
        )
        return _widen(stored, entry["dtype"]).reshape(shape)

    def finish(self) -> None:
        """Make sure that nothing is left that nobody took."""
        if self._entries:
            names = sorted(self._entries)
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelFormatError(f"{self.path}: unexpected tensor {names[0]}{more}")


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Read the entries of a safetensors file, and where its data begins."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportError(
            "reading models needs the package safetensors: pip install fastattn[text]"
        ) from None
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_BYTES:
            raise ModelFormatError(
                f"{path}: the header claims {length} bytes, more than {HEADER_BYTES}"
            )
        # The package checks that the header is sound: shapes and types agree with the
        # offsets, and these tile the rest of the file without hole or overlap.
        try:
            with safe_open(path, framework="numpy"):
                text = file.read(length)
        except SafetensorError as error:
            raise ModelFormatError(f"{path}: {error}") from None
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except ValueError as error:
        raise ModelFormatError(f"{path}: {error}") from None
    header.pop("__metadata__", None)
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object, whose names must all be different."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"{name} is there twice")
        fields[name] = value
    return fields


def _widen(stored: NDArray[Any], dtype: str) -> NDArray[float32]:
    """Make read-only, aligned float32 of what is stored; a copy only if it is not."""
    if dtype == "BF16":
        stored = (stored.astype(np.uint32) << 16).view(float32)
    # A tensor behind one of an odd number of bytes may start anywhere.
    array = np.require(stored, float32, "A")
    array.flags.writeable = False
    return array

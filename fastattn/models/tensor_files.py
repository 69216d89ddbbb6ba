"""The safetensors files of a folder: one, or several that an index lists.

They are opened once, when what is in them is first asked for.
"""

import math
import mmap
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFormatError
from .checkpoint import JSON_BYTES, Settings, parse_json
from .cures import INDEX, WEIGHTS, no_shard, no_weights
from .folder import Folder, errors_of_library, printable

# How numbers are stored -> what to read them as; NumPy has no bfloat16.
STORAGE: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}

# How whole numbers are stored, of which no weights are made.
INTEGERS: dict[str, np.dtype[Any]] = {"I64": np.dtype("<i8"), "I32": np.dtype("<i4")}

# Files of one model. The largest there are have 163, none of them an encoder; each takes a
# millisecond to look at.
FILES = 2**8

# What a file of an index may be called: it stands beside the index.
SHARD = re.compile(r"\w[\w.-]*\.safetensors")


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


class TensorFiles:
    """The files of a folder, and what is in them by the names that tensors have there.

    The files are mapped read-only: a float32 tensor is a view of the map, so its pages
    are shared by all processes that read the file and enter memory when they are used.
    float16 and bfloat16 tensors are widened when they are needed. The files must not be
    changed in place while they are mapped.

    Parameters
    ----------
    folder : Folder
        Where the files are.
    """

    def __init__(self, folder: Folder) -> None:
        self.path = folder.path / (WEIGHTS if folder.has(WEIGHTS) else INDEX)
        self._folder = folder
        self._maps: list[mmap.mmap] = []

    @property
    def names(self) -> Collection[str]:
        """The names of the tensors; there are none where there is no file."""
        there = self._folder.has(WEIGHTS) or self._folder.has(INDEX)
        return self.entries.keys() if there else ()

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The tensors by their names."""
        entries: dict[str, Entry] = {}
        for path, file, header, start in _read_files(self._folder):
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._maps.append(content)
            for name, entry in header.items():
                dtype, shape = entry["dtype"], tuple(entry["shape"])
                offset = start + entry["data_offsets"][0]
                view = partial(_view, content, dtype, shape, offset)
                entries[name] = Entry(path, dtype, shape, view)
        return entries

    def release(self) -> None:
        """Let pages that were read leave memory, until they are read again."""
        for content in self._maps:
            content.madvise(mmap.MADV_DONTNEED)


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
            "reading models needs the package safetensors: pip install 'fastattn[text]'"
        ) from None
    length = int.from_bytes(file.read(8), "little")
    if length > limit:
        raise ModelFormatError(
            f"{path}: the header claims {length} bytes, more than {limit}"
        )
    # The package checks that the header is sound: shapes and types agree with the
    # offsets, and these tile the rest of the file without hole or overlap.
    cure = ": download or copy it again"
    with errors_of_library(path, cure), safe_open(file.name, framework="numpy"):
        header = parse_json(path, file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length

"""The vectors of a corpus, where they lie; and fewer bits of them."""

import os
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy import float32
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from ..arrays import as_choice
from ..models.saving import as_folder
from ..quantize import BITS, SCALAR, Precision, as_precision
from .shards import Folder, damaged, open_folder, read_manifest, write_bytes, write_vectors

# What vectors are made into; the ranges of the integers stand in a file of their own.
NARROW = (*SCALAR, *BITS)
RANGES = "ranges.npy"


class Vectors:
    """Vectors in a folder of shards; :func:`fastattn.open_vectors` opens one.

    Attributes
    ----------
    shards : list of array (rows, dim)
        The files, mapped: nothing is read before it is used. ``fa.top_k`` takes the list.
    ids : sequence
        The id of each vector, read when it is asked for.
    dim : int
        Values of a vector of the model, before bits are packed.
    precision : str
        How they are stored.
    """

    def __init__(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        if manifest["format"] != "npy":
            raise ValueError(
                f"{folder}: holds {manifest['format']} files, which cannot be mapped: give "
                "them to what reads such"
            )
        files = Folder(folder, "npy")
        size = manifest["shard_rows"]
        if "rows" not in manifest:
            raise ValueError(
                f"{folder}: not all shards are there: call encode_corpus again, to go on"
            )
        self.dim, self.precision = manifest["dim"], manifest["precision"]
        none = Precision(self.precision).empty(0, self.dim)
        self._folder, self._rows = folder, manifest["rows"]
        self._size, self.shards = size, list[NDArray[Any]]()
        for number, start in enumerate(range(0, self._rows, size)):
            rows = min(size, self._rows - start)
            self.shards.append(_map(files.file(number, "npy"), rows, none))
        self.ids = Ids(files, size, self._rows)

    def __repr__(self) -> str:
        """Show what is in it."""
        return f"Vectors({str(self._folder)!r}, rows={self._rows}, dim={self.dim})"

    def __len__(self) -> int:
        """Count the vectors."""
        return int(self._rows)

    def __getitem__(self, index: int | slice) -> NDArray[Any]:
        """Read a vector (dim,), or some that follow one another (n, dim)."""
        if not isinstance(index, slice):
            number, row = divmod(_row(index, self._rows), self._size)
            return np.array(self.shards[number][row])
        rows = range(self._rows)[index]
        if not rows or not self.shards:
            return Precision(self.precision).empty(0, self.dim)
        low, high = min(rows[0], rows[-1]), max(rows[0], rows[-1])
        parts = [
            shard[max(0, low - start) : high + 1 - start]
            for start, shard in zip(count(0, self._size), self.shards, strict=False)
            if start <= high and low < start + len(shard)
        ]
        read = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return read[:: rows.step] if rows.step > 0 else read[::-1][:: -rows.step]


class Ids(Sequence[Any]):
    """The ids of vectors, those of a shard read at a time."""

    def __init__(self, files: Folder, size: int, rows: int) -> None:
        self._files, self._size, self._rows = files, size, rows
        self._number, self._read = -1, list[Any]()

    def __len__(self) -> int:
        """Count them."""
        return self._rows

    def __getitem__(self, index: Any) -> Any:
        """Read an id, or a list of them."""
        if isinstance(index, slice):
            return [self[row] for row in range(self._rows)[index]]
        number, row = divmod(_row(index, self._rows), self._size)
        if number != self._number:
            self._number, self._read = number, self._of(number)
        return self._read[row]

    def __iter__(self) -> Iterator[Any]:
        """Read them in order."""
        for number in range(-(-self._rows // self._size)):
            yield from self._of(number)

    def _of(self, number: int) -> list[Any]:
        ids = [place["id"] for place in self._files.places(number)]
        if len(ids) != (count := min(self._size, self._rows - number * self._size)):
            path = self._files.file(number, "ids.jsonl")
            raise damaged(path, f"holds {len(ids)} ids, not {count}")
        return ids


def _row(index: Any, rows: int) -> int:
    """Give the row that an index means, which may be counted from the end."""
    try:
        row: int = range(rows)[index]
    except TypeError:
        raise TypeError(
            f"an index must be an integer or a slice, got {type(index).__name__}: for "
            "several rows, [vectors[row] for row in rows] or [vectors.ids[row] for ...]"
        ) from None
    except IndexError:
        raise IndexError(f"there are {rows} rows, got the index {index}") from None
    return row


def _map(path: Path, rows: int, like: NDArray[Any]) -> NDArray[Any]:
    """Map a file of so many rows of the dtype and the length of others."""
    try:
        found = open_memmap(path, "r")
    except FileNotFoundError:
        message = "No such file: call again what made the folder, and it is made again"
        raise FileNotFoundError(2, message, str(path)) from None
    except OSError:
        raise
    except Exception as error:  # NumPy has many words for what is none of its files
        raise damaged(path, str(error)) from None
    if found.dtype != like.dtype or found.shape != (rows, *like.shape[1:]):
        wanted = f"{like.dtype} {(rows, *like.shape[1:])}"
        raise damaged(path, f"holds {found.dtype} {found.shape}, not {wanted}")
    return found


def open_vectors(out_dir: str | os.PathLike[str]) -> Vectors:
    """Map the vectors of a corpus; nothing is read before it is used.

    Parameters
    ----------
    out_dir : str or path
        What :func:`fastattn.encode_corpus` or :func:`fastattn.quantize_vectors` wrote.

    Returns
    -------
    Vectors
        A sequence of vectors, with their `ids`; its `shards` are arrays.

    Raises
    ------
    FileNotFoundError
        If it is no folder of vectors, or a shard is missing.
    NotADirectoryError
        If it is a file.
    ValueError
        If it is not whole yet, holds Parquet files, or is damaged: with the file to
        delete, which is made again then. What is damaged among the ids is told when they
        are read.

    Examples
    --------
    >>> import tempfile
    >>> import fastattn as fa
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     texts = ({"text": f"text {i}", "key": f"t{i}"} for i in range(25))
    ...     fa.encode_corpus(
    ...         "all-MiniLM-L6-v2", texts, folder, source_id="25 texts", id_field="key"
    ...     )
    ...     vectors = fa.open_vectors(folder)
    ...     vectors[10:20].shape, vectors.ids[3]
    ((10, 384), 't3')
    """
    return Vectors(as_folder(out_dir, "out_dir"))


def quantize_vectors(
    folder: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    precision: str = "int8",
) -> None:
    """Write the vectors of a corpus in fewer bits.

    Parameters
    ----------
    folder : str or path
        What :func:`fastattn.encode_corpus` wrote.
    out_dir : str or path
        Another folder, which gets shards of the same rows.
    precision : {"int8", "uint8", "binary", "ubinary"}
        As for :meth:`TextEncoder.encode`.

    Raises
    ------
    ValueError
        If `folder` holds no float32 or float16, or `out_dir` something else.

    Notes
    -----
    The ranges of integers are those of all vectors; ``ranges.npy`` keeps them, with which
    ``model.encode(query, precision="int8", ranges=np.load(...))`` encodes what is compared
    with the corpus. A row of NaN, which integers cannot say, becomes that of a zero vector;
    ``.errors.jsonl`` names it, as before. Called again after it was killed, it goes on.

    Examples
    --------
    >>> import tempfile
    >>> import fastattn as fa
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     full, small = f"{folder}/full", f"{folder}/small"
    ...     fa.encode_corpus("all-MiniLM-L6-v2", ["a", "b"], full, source_id="two")
    ...     fa.quantize_vectors(full, small, precision="ubinary")
    ...     fa.open_vectors(small).shards[0].shape
    (2, 48)
    """
    as_choice(precision, "precision", NARROW)
    vectors = open_vectors(path := as_folder(folder, "folder"))
    if vectors.precision in NARROW:
        raise ValueError(f"{folder}: holds {vectors.precision} already")
    source, out = Folder(path, "npy"), open_folder(out_dir, "npy")
    described = read_manifest(path) | {"precision": precision}
    rows = described.pop("rows")
    if "rows" in out.standing(described) and out.has_all(len(vectors.shards)):
        return
    out.claim(described)
    ranges = _ranges(vectors) if precision in SCALAR else None
    if ranges is not None:
        write_vectors(out.path / RANGES, ranges)
    stored = as_precision(precision, ranges, vectors.dim)
    for number, shard in enumerate(vectors.shards):
        for kind in ("ids.jsonl", "errors.jsonl"):
            if source.file(number, kind).exists():
                write_bytes(out.file(number, kind), source.file(number, kind).read_bytes())
        write_vectors(
            out.file(number, "npy"), stored.of(np.nan_to_num(shard.astype(float32)))
        )
    out.describe(described | {"rows": rows})


def _ranges(vectors: Vectors) -> NDArray[float32]:
    """Find the lowest and the highest value of each component, over all shards."""
    ranges = np.zeros((2, vectors.dim), float32)
    seen = [
        (np.fmin.reduce(shard), np.fmax.reduce(shard))
        for shard in vectors.shards
        if not np.isnan(shard).all()
    ]
    if seen:
        lows, highs = zip(*seen, strict=True)
        ranges[0], ranges[1] = np.min(lows, axis=0), np.max(highs, axis=0)
    return ranges

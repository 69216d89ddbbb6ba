"""The folder of a corpus: which shards there are, and of which job.

A shard is there when its vectors are. Their file is written last, whole, and what belongs
to it has reached the disk before: its name is the commit.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..files import write_npy, write_whole
from ..models.saving import as_folder
from ..quantize import PRECISIONS
from .sources import Record

Array: TypeAlias = NDArray[Any]

MANIFEST = "manifest.json"

# What says where things are and how many, which differs within a job. What a model computes
# with is in its hash.
NOT_COMPARED = ("path", "rows", "name", "compute", "weights", "revision")


# What a manifest says, and what it may be.
SAID: dict[str, Callable[[Any], bool]] = {
    "model.sha256": lambda value: isinstance(value, str),
    "options.normalize": lambda value: isinstance(value, bool),
    "source.text": lambda value: isinstance(value, str),
    "format": ("npy", "parquet").__contains__,
    "precision": tuple(PRECISIONS).__contains__,
    "shard_rows": lambda value: isinstance(value, int) and value > 0,
    "dim": lambda value: isinstance(value, int) and value > 0,
    "rows": lambda value: isinstance(value, int) and value >= 0,
}


class Turn(NamedTuple):
    """Whose shards are meant: those whose number is `first` modulo `step`."""

    first: int
    step: int

    def has(self, number: int) -> bool:
        """Tell whether a shard is meant."""
        return number % self.step == self.first

    def split(self, count: int) -> "list[Turn]":
        """Share them out among so many processes."""
        return [
            Turn(self.first + self.step * each, self.step * count) for each in range(count)
        ]


class Row(NamedTuple):
    """What is kept of a record: its id, where it stands, and what is wrong with it."""

    id: Any
    record: Record
    problem: str | None


class Folder(NamedTuple):
    """A folder of shards, written in a format."""

    path: Path
    format: str

    def file(self, number: int, kind: str) -> Path:
        """Give the path of a file of a shard."""
        return self.path / f"part-{number:06d}.{kind}"

    def has(self, number: int) -> bool:
        """Tell whether a shard is there."""
        return self.file(number, self.format).exists()

    def has_all(self, count: int) -> bool:
        """Tell whether so many shards are there."""
        return all(map(self.has, range(count)))

    def write(
        self, number: int, name: str, rows: list[Row], vectors: Array, start: int
    ) -> None:
        """Write a shard of a source of this name, and of rows from `start` on."""
        ids = (
            {"id": key, "line": record.line}
            | ({} if record.offset is None else {"offset": record.offset})
            for key, record, _ in rows
        )
        problems = [
            {"row": row, "id": key, "file": name, "line": record.line, "error": problem}
            for row, (key, record, problem) in enumerate(rows, start)
            if problem is not None
        ]
        _write_lines(self.file(number, "ids.jsonl"), ids)
        errors = self.file(number, "errors.jsonl")
        if problems:
            _write_lines(errors, problems)
        else:
            errors.unlink(missing_ok=True)  # of a job that ended before its first shard
        path = self.file(number, self.format)
        if self.format == "npy":
            write_vectors(path, vectors)
        else:
            write_parquet(path, [row.id for row in rows], vectors)

    def places(self, number: int) -> Iterator[dict[str, Any]]:
        """Read the id and the place of each record of a shard."""
        path = self.file(number, "ids.jsonl")
        if not path.exists():
            raise FileNotFoundError(2, f"No such file: {_cure(path)}", str(path))
        with path.open("rb") as lines:
            for line, content in enumerate(lines, 1):
                try:
                    place = json.loads(content)
                except ValueError:
                    place = None
                if not isinstance(place, dict) or not {"id", "line"} <= place.keys():
                    raise damaged(path, f"line {line} is not the place of a record")
                yield place

    def before(self, number: int) -> tuple[int, Record] | None:
        """Find where a source can be read from for a shard: one, and its first record.

        It is the closest before that is there, if it says in which bytes its records begin.
        """
        for each in range(number - 1, -1, -1):
            if self.has(each):
                place = next(self.places(each), {})
                if "offset" not in place:
                    return None
                return each, Record(place["line"], place["offset"], None)
        return None

    def sweep(self, turn: Turn) -> None:
        """Remove what processes left that were killed while they wrote these shards."""
        for path in self.path.glob(".part-*.tmp"):
            number = path.name.removeprefix(".part-").partition(".")[0]
            if number.isdigit() and turn.has(int(number)):
                path.unlink(missing_ok=True)

    def standing(self, job: dict[str, Any]) -> dict[str, Any]:
        """Give what is written down of the shards that are there, which must be of a job.

        It is nothing where there are none.
        """
        if all(path.suffix == ".jsonl" for path in self.path.glob("part-*")):
            return {}
        if not (self.path / MANIFEST).exists():
            raise ValueError(f"{self.path}: holds shards of which no {MANIFEST} tells")
        found = read_manifest(self.path)
        before, now = _flat(found), _flat(job)
        differ = [
            f"{key} ({before.get(key)!r} there, {now.get(key)!r} here)"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key) and key.split(".")[-1] not in NOT_COMPARED
        ]
        if differ:
            raise ValueError(
                f"{self.path}: holds the vectors of something else, which differs in "
                f"{', '.join(differ)}: name another folder"
            )
        return found

    def claim(self, job: dict[str, Any]) -> None:
        """Write down what is made here, before the first shard is."""
        if not self.standing(job):
            self.describe(job)

    def describe(self, job: dict[str, Any]) -> None:
        """Write down what is made here, as others may do in the same moment."""
        path = self.path / MANIFEST
        try:
            write_bytes(path, json.dumps(job, indent=2).encode() + b"\n")
        except FileNotFoundError:
            if not path.exists():
                raise
        # What the dead left, and maybe what another, who writes the same, just began.
        for leftover in self.path.glob(f".{MANIFEST}.*.tmp"):
            leftover.unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a folder of shards is of."""
    path = folder / MANIFEST
    if folder.is_file():
        message = "A file, where a folder is wanted that encode_corpus wrote"
        raise NotADirectoryError(20, message, str(folder))
    if not path.exists():
        raise FileNotFoundError(2, "No such file: this is no folder of vectors", str(path))
    cure = "is damaged, or none of ours: put it back, or encode again into another folder"
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}: it {cure}") from None
    flat = {"rows": 0} | (_flat(found) if isinstance(found, dict) else {})
    for key, is_right in SAID.items():
        if not is_right(flat.get(key)):
            raise ValueError(f"{path}: {key} is {flat.get(key)!r:.40}: it {cure}")
    known: dict[str, Any] = found
    return known


def damaged(path: Path, problem: str) -> ValueError:
    """Make the error about a file of a shard, which can be made again."""
    return ValueError(f"{path}: {problem}: it is damaged, or none of ours: {_cure(path)}")


def _cure(path: Path) -> str:
    shard = path.name.partition(".")[0]
    return f"delete {shard}.* and call again what made the folder"


def folder_line(folder: Path) -> str:
    """Say in a line what is in a folder of shards."""
    manifest = read_manifest(folder)
    if "rows" not in manifest:
        return "shards of others are not there yet"
    line = f"{manifest['rows']} vectors of {manifest['dim']} values"
    bad = 0
    for path in folder.glob("part-*.errors.jsonl"):
        with path.open("rb") as lines:
            bad += sum(1 for _ in lines)
    return f"{line}, {bad} of them NaN" if bad else line


def open_folder(path: str | os.PathLike[str], format: str) -> Folder:
    """Make a folder for shards, or take the one that is there."""
    folder = as_folder(path, "out_dir")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(13, "The folder cannot be written to", str(folder))
    return Folder(folder, format)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole."""
    write_whole(str(path), lambda file: file.write(content))


def write_vectors(path: Path, vectors: Array) -> None:
    """Write vectors in the format of NumPy."""
    write_whole(str(path), lambda file: write_npy(file, vectors))


def write_parquet(path: Path, ids: list[Any], vectors: Array) -> None:
    """Write ids and vectors as the columns of a Parquet file."""
    import pyarrow
    from pyarrow import parquet

    values = pyarrow.array(np.ascontiguousarray(vectors).reshape(-1))
    table = pyarrow.table(
        {
            "id": pyarrow.array([str(key) for key in ids]),
            "vector": pyarrow.FixedSizeListArray.from_arrays(values, vectors.shape[1]),
        }
    )
    # Hardly two numbers are equal: a dictionary of them takes time and no bytes off.
    write_whole(
        str(path),
        lambda file: parquet.write_table(
            table, file, use_dictionary=False, compression="none"
        ),
    )


def _write_lines(path: Path, values: Iterable[Any]) -> None:
    """Write values as JSON Lines."""
    write_bytes(path, "".join(f"{json.dumps(value)}\n" for value in values).encode())


def _flat(job: dict[str, Any]) -> dict[str, Any]:
    """Name values inside of dictionaries by the way to them."""
    flat: dict[str, Any] = {}
    for key, value in job.items():
        inner = _flat(value) if isinstance(value, dict) else {"": value}
        flat |= {f"{key}.{name}".removesuffix("."): each for name, each in inner.items()}
    return flat

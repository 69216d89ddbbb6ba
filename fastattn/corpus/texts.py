"""The texts of vectors that were found, read again where they came from."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from .shards import Folder, read_manifest
from .sources import Fields, Record, Source, open_source


def read_texts(folder: Path, rows: set[int]) -> dict[int, str]:
    """Read the texts of some rows from the file that the vectors were made of.

    Raises
    ------
    OSError
        If the file is not there.
    ValueError
        If there was none, or it has changed since.
    """
    manifest = read_manifest(folder)
    described = dict(manifest["source"])
    fields = Fields(described.pop("text"), described.pop("id", None))
    if "path" not in described:
        raise ValueError(f"{described.get('source_id')!r} is no file")
    source = open_source(described["path"], fields, None)
    if source.identity() != described:
        raise ValueError(f"{source.name} has changed since its texts were encoded")
    files, size = Folder(folder, manifest["format"]), manifest["shard_rows"]
    return {
        row: source.read(record)[1] for row, record in _records(source, files, size, rows)
    }


def _records(
    source: Source, files: Folder, size: int, rows: set[int]
) -> Iterator[tuple[int, Record]]:
    """Give the records of rows; one pass over a source that is not read from a byte on."""
    for number in sorted({row // size for row in rows}):
        for row, place in enumerate(files.places(number), number * size):
            if row not in rows:
                continue
            if "offset" not in place:
                records = enumerate(islice(source.records(), max(rows) + 1))
                yield from ((each, record) for each, record in records if each in rows)
                return
            start = Record(place["line"], place["offset"], None)
            yield row, next(iter(source.records(start)))

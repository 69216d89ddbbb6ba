"""Where the texts of a corpus come from: files of several kinds, read a record at a time.

A source gives records as they stand, with their places, and reads what is in them only when
it is asked to: what has been encoded already is passed without being looked at.
"""

import csv
import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..models.tokenization import check_unicode
from ..text_base import as_iterable
from .compressed import COMPRESSED, plain

# Bytes at the start and at the end of a file by which it is told from another.
SAMPLE = 2**20

# How pyarrow writes the types of columns that may hold texts.
STRINGS = ("string", "large_string", "dictionary<values=string", "null")

# Records of which one must have the fields that are named.
LOOKED_AT = 1000

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """One record of a source.

    Attributes
    ----------
    line : int
        The line it begins in, from 1; without lines, which record it is, from 1.
    offset : int or None
        The byte it begins at, where a file can be read from there.
    content : object
        What stands there, not looked at.
    """

    line: int
    offset: int | None
    content: Any


class Fields(NamedTuple):
    """The names of the fields that hold the text and, if there is one, the id."""

    text: str
    id: str | None

    def check(self, names: list[str], source: str, kind: str = "column") -> None:
        """Refuse what has columns of other names only, or two of a name."""
        for field in self:
            if field is not None and names.count(field) != 1:
                count = f"two {kind}s" if field in names else f"no {kind}"
                found = ", ".join(names) or "none"
                raise ValueError(f"{source}: {count} {field!r}: there are {found:.200}")

    def of(self, record: Any) -> tuple[Any, str]:
        """Read the id and the text of a record with named fields."""
        if not isinstance(record, Mapping):
            raise ValueError(f"expected an object with a string {self.text!r}")
        text = record.get(self.text)
        if not isinstance(text, str):
            found = "it is missing" if self.text not in record else f"got {text!r:.40}"
            raise ValueError(f"expected a string in the field {self.text!r}, {found}")
        check_unicode(text, f"the field {self.text!r}")
        if self.id is None:
            return None, text
        key = record.get(self.id)
        if isinstance(key, Integral) and not isinstance(key, bool):
            key = int(key)  # of NumPy, too, which JSON does not know
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ValueError(
                f"expected a string or an integer in the field {self.id!r}, got {key!r:.40}"
            )
        check_unicode(str(key), f"the field {self.id!r}")
        return key, text


class Source:
    """What gives the records of a corpus.

    Attributes
    ----------
    name : str
        What messages call it.
    fields : Fields
        What is read of a record.
    """

    name: str
    fields: Fields

    def check(self) -> None:
        """Look at the beginning of a file, where its fields may have other names."""
        next(self.records(), None)

    def identity(self) -> dict[str, Any]:
        """Say what is in it, as far as that can be told without reading all of it."""
        raise NotImplementedError

    def records(self, start: Record | None = None) -> Iterator[Record]:
        """Give all records, or those from `start` on, which has an offset."""
        raise NotImplementedError

    def read(self, record: Record) -> tuple[Any, str]:
        """Read the id, None if there is no field of it, and the text of a record.

        ValueError says what is wrong with it.
        """
        raise NotImplementedError

    def texts(self) -> Iterator[str]:
        """Give the text of each record; ValueError names the place of one without."""
        for record in self.records():
            try:
                yield self.read(record)[1]
            except ValueError as problem:
                raise ValueError(f"{self.name}, line {record.line}: {problem}") from None

    def rows(self, record: Record, row: int) -> int | None:
        """Guess how many records there are, from one and which it is, from 0."""
        return None


class File(Source):
    """A file whose records are lines, plain or compressed: here each line is a text."""

    def __init__(self, path: Path, fields: Fields) -> None:
        self.name, self.fields = str(path), fields
        self._path = path.absolute()  # a process elsewhere is in another folder
        self._seekable = path.suffix.lower() not in COMPRESSED

    def identity(self) -> dict[str, Any]:
        """Give the path, the size and a hash of the first and the last bytes."""
        with self._path.open("rb") as file:
            size = self._path.stat().st_size
            sampled = hashlib.sha256(file.read(SAMPLE))
            file.seek(max(0, size - SAMPLE))
            sampled.update(file.read(SAMPLE))
        path = str(self._path.resolve())
        return {"path": path, "bytes": size, "sha256 of both ends": sampled.hexdigest()}

    def records(self, start: Record | None = None) -> Iterator[Record]:
        """Give lines as bytes."""
        with self._open() as file:
            yield from self._lines(file, start)

    def read(self, record: Record) -> tuple[Any, str]:
        """Take the line as the text."""
        return None, _decode(record.content.removesuffix(b"\n").removesuffix(b"\r"))

    def rows(self, record: Record, row: int) -> int | None:
        """Take records for equally long."""
        if not record.offset:
            return None
        return max(row + 1, row * self._path.stat().st_size // record.offset)

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        """Open the file; what is read of it is what was compressed."""
        suffix = self._path.suffix.lower()
        with COMPRESSED.get(suffix, plain)(self._path) as file:
            try:
                yield file
            except (EOFError, OSError, zlib.error) as error:
                if isinstance(error, OSError) and error.filename:
                    raise
                # What reads compressed files names none.
                raise OSError(f"{self.name}: {error}") from None

    def _lines(self, file: BinaryIO, start: Record | None) -> Iterator[Record]:
        """Give lines with their ends, each with its place."""
        first, offset = (1, 0) if start is None else (start.line, start.offset or 0)
        if offset:
            file.seek(offset)
        for number, line in enumerate(file, first):
            content = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            yield Record(number, offset if self._seekable else None, content)
            offset += len(line)


class JsonLines(File):
    """Objects of JSON, one a line; a line may be empty."""

    def check(self) -> None:
        """Refuse fields that none of the first records has."""
        names = set[str]()
        for record in islice(self.records(), LOOKED_AT):
            with suppress(ValueError, RecursionError):
                found = json.loads(record.content)
                names |= found.keys() if isinstance(found, dict) else set()
        if names:
            self.fields.check(sorted(names), self.name, "field")

    def records(self, start: Record | None = None) -> Iterator[Record]:
        """Give the lines that are not empty."""
        return (record for record in super().records(start) if record.content.strip())

    def read(self, record: Record) -> tuple[Any, str]:
        """Read the fields of the object."""
        try:
            found = json.loads(_decode(record.content))
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error.msg} (column {error.colno})") from None
        except RecursionError as error:
            raise ValueError(f"not JSON: {error}") from None
        return self.fields.of(found)


class Table(File):
    """Rows under a row of names; a quoted field may hold ends of lines.

    Where such a field does not end as it should, its row is that line alone, and what
    follows is read as if it had been in order: a quote too many takes no other row along.
    """

    delimiter = ","

    def records(self, start: Record | None = None) -> Iterator[Record]:
        """Give rows as lists of str, or the error that a row is."""
        with self._open() as file:
            rows = self._rows(file, None)
            head = next(rows, Record(1, None, []))
            if isinstance(head.content, ValueError):
                raise ValueError(f"{self.name}, line {head.line}: {head.content}")
            self.fields.check(head.content, self.name)
            self._names = head.content
            yield from rows if start is None else self._rows(file, start)

    def _rows(self, file: BinaryIO, start: Record | None) -> Iterator[Record]:
        unread, again = self._lines(file, start), deque[Record]()
        taken: list[Record] = []

        def lines() -> Iterator[str]:
            while line := again.popleft() if again else next(unread, None):
                taken.append(line)
                yield _lenient(line)
            if taken:
                raise csv.Error("the file ends first")

        rows = csv.reader(lines(), delimiter=self.delimiter)
        while True:
            taken.clear()
            try:
                row: Any = next(rows)
                if len(taken) > 1:  # is it the same without any leniency?
                    strict = map(_lenient, taken)
                    next(csv.reader(strict, delimiter=self.delimiter, strict=True))
            except StopIteration:
                return
            except csv.Error as error:
                row = ValueError(_why_no_row(error, several=len(taken) > 1))
                again.extendleft(reversed(taken[1:]))
                rows = csv.reader(lines(), delimiter=self.delimiter)
            if row != []:
                yield taken[0]._replace(content=row)

    def read(self, record: Record) -> tuple[Any, str]:
        """Read the fields of a row."""
        if isinstance(record.content, ValueError):
            raise record.content
        row, names = record.content, self._names
        if any(row[len(names) :]):
            raise ValueError(f"{len(row)} cells, and there are {len(names)} columns")
        return self.fields.of(dict(zip(names, row, strict=False)))


class TabTable(Table):
    """The same with tabs in place of commas."""

    delimiter = "\t"


class Parquet(Source):
    """Rows of a Parquet file."""

    def __init__(self, path: Path, fields: Fields) -> None:
        self.name, self.fields = str(path), fields
        self._file = File(path, fields)

    def identity(self) -> dict[str, Any]:
        """Give what is given of every file."""
        return self._file.identity()

    def records(self, start: Record | None = None) -> Iterator[Record]:
        """Give rows as dictionaries."""
        try:
            from pyarrow import parquet
        except ImportError:
            raise ImportError(
                f"{self.name}: needs the package pyarrow: pip install 'fastattn[parquet]'"
            ) from None

        names = [name for name in self.fields if name is not None]
        try:
            opened = parquet.ParquetFile(self._file._path)
        except ValueError as error:  # pyarrow names no file
            raise OSError(f"{self.name}: {error}") from None
        with opened as file:
            self.fields.check(file.schema_arrow.names, self.name)
            kind = file.schema_arrow.field(self.fields.text).type
            if not str(kind).startswith(STRINGS):
                raise ValueError(
                    f"{self.name}: the column {self.fields.text!r} holds {kind}, no strings"
                )
            self._count = file.metadata.num_rows
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=names):
                for row in batch.to_pylist():
                    number += 1
                    yield Record(number, None, row)

    def read(self, record: Record) -> tuple[Any, str]:
        """Read the fields of a row."""
        return self.fields.of(record.content)

    def rows(self, record: Record, row: int) -> int | None:
        """Give the number that the file holds."""
        return int(self._count)


class Iterated(Source):
    """What a program gives: texts, or mappings with fields."""

    def __init__(self, inputs: Iterable[Any], fields: Fields, source_id: str) -> None:
        self.name, self.fields = source_id, fields
        self._inputs = inputs

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what reads records; they are where they are."""
        return Iterated, ((), self.fields, self.name)

    def identity(self) -> dict[str, Any]:
        """Give the name that the user gave."""
        return {"source_id": self.name}

    def records(self, start: Record | None = None) -> Iterator[Record]:
        """Give one item after the other."""
        return (Record(i, None, item) for i, item in enumerate(self._inputs, 1))

    def read(self, record: Record) -> tuple[Any, str]:
        """Take a str as the text, and read the fields of anything else."""
        if isinstance(record.content, str) and self.fields.id is None:
            check_unicode(record.content, "the text")
            return None, record.content
        return self.fields.of(record.content)


# What the names of files end in, before an ending of COMPRESSED.
KINDS: dict[str, type[File] | type[Parquet]] = {
    ".txt": File,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".csv": Table,
    ".tsv": TabTable,
    ".parquet": Parquet,
}


def has_records(name: str) -> bool:
    """Tell whether a file's name says that it has records, or that it is compressed."""
    ending = Path(name).suffix.lower()
    return ending in COMPRESSED or KINDS.get(ending, File) is not File


def open_source(inputs: Any, fields: Fields, source_id: str | None) -> Source:
    """Find out what a user gave as inputs."""
    _check_name(fields.text, "field")
    if fields.id is not None:
        _check_name(fields.id, "id_field")
    if not isinstance(inputs, str | os.PathLike):
        texts = as_iterable(inputs, kind="a file, or texts or mappings with fields")
        if source_id is None:
            raise ValueError(
                "inputs that are no file need source_id, a name for what they are: when it "
                "is another one, nothing that was encoded before is taken for theirs"
            )
        _check_name(source_id, "source_id")
        if not source_id:
            raise ValueError("source_id is empty: name what the inputs are")
        return Iterated(texts, fields, source_id)
    if source_id is not None:
        raise ValueError("source_id is for inputs that are no file, which tells itself")
    path = Path(inputs)
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    kind = KINDS.get(name.suffix.lower())
    if kind is None or (kind is Parquet and name != path):
        raise ValueError(
            f"{path}: the name of a file of texts must end in {', '.join(KINDS)}; all but "
            f"Parquet may be compressed, {' or '.join(COMPRESSED)} behind that"
        )
    if kind is File and fields != Fields("text", None):
        raise ValueError(
            f"{path}: lines of text have no fields: leave field and id_field out, or "
            "name a file of records"
        )
    if not path.exists():
        raise FileNotFoundError(2, "No such file", str(path))
    if not path.is_file():
        raise ValueError(f"{path}: is there, but no file: a folder, or a pipe")
    source = kind(path, fields)
    source.check()
    return source


def _why_no_row(error: csv.Error, several: bool) -> str:
    """Say what is wrong with a row of one line, or of several."""
    if "field limit" in str(error):
        most = csv.field_size_limit()
        return f"a field has more than {most} characters, or a quote is missing"
    quoted = "a quoted field does not end as it should: " if several else ""
    return f"not CSV: {quoted}{error}"


def _check_name(value: Any, name: str) -> None:
    """Refuse what is no name."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {value!r:.40}")


def _lenient(line: Record) -> str:
    """Decode UTF-8; what is none becomes a surrogate, by which it is found."""
    text: str = line.content.decode(errors="surrogateescape")
    return text


def _decode(line: bytes) -> str:
    """Decode UTF-8, or say which byte is none of it."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise ValueError(
            f"not UTF-8: byte {error.start + 1} of it is 0x{byte:02x}"
        ) from None

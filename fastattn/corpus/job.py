"""What a corpus is made into vectors by: one job for all processes and machines."""

import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from ..arrays import as_choice, as_index
from ..errors import TruncationWarning
from ..keywords import check_options
from ..streams import Part
from ..text import TextEncoder
from .shards import Folder, Row, Turn, open_folder
from .sources import Fields, Record, Source, open_source

# Vectors of a file: many enough that files are few, few enough that losing the work on one
# does not hurt.
SHARD_ROWS = 10_000

FORMATS = ("npy", "parquet")
PRECISIONS = ("float32", "float16")
ON_ERRORS = ("nan", "raise")

# Options of `TextEncoder.encode` that make no vectors of float32 or float16, one a text.
LEFT_OUT = ("output", "ranges")


class Tally(NamedTuple):
    """Texts that were met, of them those cut, and the rows that the source has in all."""

    texts: int
    cut: int
    rows: int


@dataclass(frozen=True)
class Job:
    """What is to be done, by every process alike."""

    model: Any  # a TextEncoder, but not on the way to another machine
    source: Source
    folder: Folder
    shard_rows: int
    errors: str
    call: Any
    described: dict[str, Any]

    def begin(self, turn: Turn) -> bool:
        """Look at what is there, and tell whether something of it may be missing."""
        rows = self.folder.standing(self.described).get("rows")
        if rows is not None and self._has_all(rows):
            return False
        self.folder.sweep(turn)
        return True

    def run(self, turn: Turn, advance: Callable[[int, int | None], None]) -> Tally:
        """Encode the shards that are meant and not there yet."""
        texts = cut = rows = 0
        for number, size, records in self.shards(turn):
            if records:
                done = self.encode(number, records, advance)
                texts, cut = texts + done.texts, cut + done.cut
            rows = number * self.shard_rows + size
        return Tally(texts, cut, rows)

    def end(self, tallies: list[Tally]) -> None:
        """Mark the folder if it is whole, and warn of texts that were cut."""
        all_texts, all_cut, all_rows = zip(*tallies, strict=True)
        texts, cut, rows = sum(all_texts), sum(all_cut), max(all_rows)
        if self._has_all(rows):
            self.folder.describe(self.described | {"rows": rows})
        else:
            self.folder.claim(self.described)
        if cut and self.call.on_truncation == "warn":
            message = f"{cut} of {texts} texts cut at {self.model.max_length} tokens"
            warnings.warn(message, TruncationWarning, stacklevel=3)

    def _has_all(self, rows: int) -> bool:
        """Tell whether the shards of so many rows are there."""
        return self.folder.has_all(-(-rows // self.shard_rows))

    def shards(self, turn: Turn) -> Iterator[tuple[int, int, list[Record]]]:
        """Pass over the source, from the first shard on that is missing.

        It gives the number of each shard, how many records it has, and these if it is meant
        and missing.
        """
        first = next(n for n in count(turn.first, turn.step) if not self.folder.has(n))
        number, records = self._from(first)
        size = self.shard_rows
        while size == self.shard_rows:
            shard = list[Record]()
            if turn.has(number) and not self.folder.has(number):
                shard = list(islice(records, self.shard_rows))
                size = len(shard)
            else:
                size = _pass(records, self.shard_rows)
            yield number, size, shard
            number += 1

    def _from(self, number: int) -> tuple[int, Any]:
        """Go to a shard in the source, or before it: to which, and its records."""
        found = self.folder.before(number)
        if found is None:
            return 0, self.source.records()
        before, record = found
        return before, self.source.records(record)

    def left(self, number: int, records: list[Record]) -> int | None:
        """Guess how many records there are behind those of a shard."""
        end = number * self.shard_rows + len(records)
        total = self.source.rows(records[-1], end - 1)
        return None if total is None else max(0, total - end)

    def encode(
        self, number: int, records: list[Record], advance: Callable[[int, int | None], None]
    ) -> Tally:
        """Encode one shard and write it."""
        start, left = number * self.shard_rows, self.left(number, records)
        rows, texts = self._read(records, start)
        good = [i for i, row in enumerate(rows) if row.problem is None]
        part = Part(start, texts)
        results, is_cut = self.model._part(part, self.call, lambda n: advance(n, left))
        precision = self.call.wanted.precision
        vectors = precision.empty(len(rows), self.call.wanted.dim)
        vectors[:] = np.nan
        vectors[good] = results
        if self.call.on_truncation == "error":
            for i in np.flatnonzero(is_cut):
                problem = f"more than {self.model.max_length} tokens"
                rows[good[i]] = self._bad(rows[good[i]].record, rows[good[i]].id, problem)
                vectors[good[i]] = np.nan
        advance(len(rows) - len(good), left)
        self.folder.claim(self.described)
        self.folder.write(number, self.source.name, rows, vectors, start)
        return Tally(len(texts), int(is_cut.sum()), 0)

    def _read(self, records: list[Record], start: int) -> tuple[list[Row], list[str]]:
        """Read records: what is kept of each, and the texts of those that are good."""
        rows, texts = [], []
        for index, record in enumerate(records, start):
            try:
                key, text = self.source.read(record)
            except ValueError as problem:
                key = index if self.source.fields.id is None else None
                rows.append(self._bad(record, key, str(problem)))
            else:
                key = index if key is None else key
                if text.strip():
                    rows.append(Row(key, record, None))
                    texts.append(text)
                else:
                    rows.append(self._bad(record, key, "the text is empty"))
        return rows, texts

    def _bad(self, record: Record, key: Any, problem: str) -> Row:
        if self.errors == "raise":
            raise ValueError(f"{self.source.name}, line {record.line}: {problem}")
        return Row(key, record, problem)


def open_job(
    load: Callable[[], TextEncoder],
    inputs: Any,
    out_dir: str | os.PathLike[str],
    *,
    fields: Fields,
    source_id: str | None,
    shard_rows: int,
    format: str,
    errors: str,
    **options: Any,
) -> Job:
    """Check what a user gave, load the model, and open the folder."""
    shard_rows = as_index(shard_rows, "shard_rows", 1, sys.maxsize)
    as_choice(errors, "errors", ON_ERRORS)
    as_choice(format, "format", FORMATS)
    as_choice(options["precision"], "precision", PRECISIONS)
    source = open_source(inputs, fields, source_id)
    model = load()
    call: Any = model._call(**options, show_progress=False)
    folder = open_folder(out_dir, format)
    described = {
        "fastattn": __version__,
        "model": _described(model),
        "options": {
            "prompt": call.prompt,
            "normalize": call.wanted.normalize,
            "refuse_long_texts": call.on_truncation == "error",
        },
        "source": fields._asdict() | source.identity(),
        "shard_rows": shard_rows,
        "format": format,
        "precision": options["precision"],
        "dim": call.wanted.dim,
    }
    return Job(model, source, folder, shard_rows, errors, call, described)


def _described(model: TextEncoder) -> dict[str, Any]:
    """Say which model it is: how to load it, if it was, and its hash."""
    loaded = model._loaded
    how = {} if loaded is None else {"name": loaded.name, **loaded.options}
    how.pop("download", None)
    settings = {"max_length": model.max_length, "prompts": model.prompts}
    return how | settings | {"sha256": model._fingerprint()}


def check_job_options(function: Callable[..., Any], options: dict[str, Any]) -> None:
    """Refuse options that are none of `encode`, or make no vectors of floats."""
    check_options(function, options, TextEncoder.encode)
    for name in LEFT_OUT:
        if name in options:
            raise TypeError(f"encode_corpus() has no {name}: it makes one vector of a text")


def _pass(records: Any, size: int) -> int:
    """Pass over records, and count them."""
    counter = count()
    deque(zip(islice(records, size), counter, strict=False), maxlen=0)
    return next(counter)

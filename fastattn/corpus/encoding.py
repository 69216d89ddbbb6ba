"""A corpus of any size into vectors: shard after shard, and on from where it stopped."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from .._threads import num_threads, thread_count
from ..arrays import as_choice, as_index
from ..errors import TruncationWarning
from ..keywords import check_options
from ..streams import Part
from ..text import TextEncoder
from .processes import run_each
from .progress import Meter
from .shards import Folder, Row, Turn, open_folder
from .sources import Fields, Iterated, Record, Source, open_source

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

    model: TextEncoder
    source: Source
    folder: Folder
    shard_rows: int
    errors: str
    call: Any

    def run(self, turn: Turn, advance: Callable[[int, int | None], None]) -> Tally:
        """Encode the shards that are meant and not there yet."""
        first = next(n for n in count(turn.first, turn.step) if not self.folder.has(n))
        number, records = self._from(first)
        texts = cut = rows = 0
        while True:
            if turn.has(number) and not self.folder.has(number):
                shard = list(islice(records, self.shard_rows))
                size = len(shard)
                if shard:
                    done = self._encode(number, shard, advance)
                    texts, cut = texts + done.texts, cut + done.cut
            else:
                size = _pass(records, self.shard_rows)
            rows = number * self.shard_rows + size
            if size < self.shard_rows:
                return Tally(texts, cut, rows)
            number += 1

    def _from(self, number: int) -> tuple[int, Any]:
        """Go to a shard in the source, or before it: to which, and its records."""
        found = self.folder.before(number)
        if found is None:
            return 0, self.source.records()
        before, record = found
        return before, self.source.records(record)

    def _encode(
        self, number: int, records: list[Record], advance: Callable[[int, int | None], None]
    ) -> Tally:
        """Encode one shard and write it."""
        start = number * self.shard_rows
        total = self.source.rows(records[-1], start + len(records) - 1)
        left = None if total is None else max(0, total - start - len(records))
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
                rows.append(Row(index if key is None else key, record, None))
                texts.append(text)
        return rows, texts

    def _bad(self, record: Record, key: Any, problem: str) -> Row:
        if self.errors == "raise":
            raise ValueError(f"{self.source.name}, line {record.line}: {problem}")
        return Row(key, record, problem)


def encode_corpus(
    model: Any,
    inputs: str | os.PathLike[str] | Iterable[Any],
    out_dir: str | os.PathLike[str],
    *,
    field: str = "text",
    id_field: str | None = None,
    shard_rows: int = SHARD_ROWS,
    shards: tuple[int, int] | None = None,
    processes: int = 1,
    format: str = "npy",
    errors: str = "nan",
    precision: str = "float32",
    source_id: str | None = None,
    **options: Any,
) -> None:
    """Turn a corpus of any size into files of vectors; killed and called again, go on.

    Parameters
    ----------
    model : TextEncoder, or str or path
        What makes the vectors, or what :func:`fastattn.load` finds it by.
    inputs : str or path, or iterable
        A file, read a record at a time: .txt, with a text in each line, .jsonl or .ndjson,
        .csv, .tsv or .parquet, all but the last also with .gz or .zst behind that. Or
        texts, or mappings with fields, as they come.
    out_dir : str or path
        The folder for the shards, which is made.
    field, id_field : str
        The names of the fields with the text, and with what is kept as its id; without
        `id_field` the id of a record is its number, from 0.
    shard_rows : int
        Records of a shard.
    shards : (int, int), optional
        ``(i, n)``: do those whose number is i modulo n. So many machines that see the same
        files share a corpus, and need know nothing of each other.
    processes : int
        Processes that share the shards, each with its part of the threads. One with all
        threads is as fast while the machine has nothing else to do.
    format : {"npy", "parquet"}
        What vectors are written as; "parquet" needs pyarrow.
    errors : {"nan", "raise"}
        What becomes of a record that holds no text: a vector of NaN and a line in
        ``.errors.jsonl`` with file and line, or an error, when what stands before its
        shard is written.
    precision : {"float32", "float16"}
        How vectors are stored; :func:`fastattn.quantize_vectors` makes less of them.
    source_id : str, optional
        For inputs that are no file: a name for what they are.
    **options
        Those of :meth:`TextEncoder.encode`. With ``on_truncation="error"`` a text that is
        too long is a bad record.

    Raises
    ------
    ValueError
        If the folder holds shards of another model, source or options, and about a bad
        record when `errors` says so.
    OSError
        If the disk is full or the folder cannot be written to. What is whole stays.

    Warns
    -----
    TruncationWarning
        At the end, if texts were cut; it says how many.

    Notes
    -----
    Shard 17 is ``part-000017.ids.jsonl``, with the id of each record, its line and, in
    files that are not compressed, its byte; ``part-000017.errors.jsonl``, where there is
    something wrong; and ``part-000017.npy``, which comes last and whole. What is there is
    not made again, and a process that is killed at any moment loses its shard at most. The
    files have the same bytes as without that. Memory is that of a shard.

    Examples
    --------
    >>> import tempfile
    >>> import fastattn as fa
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     texts = (f"text {i}" for i in range(25))
    ...     fa.encode_corpus(
    ...         "all-MiniLM-L6-v2", texts, folder, source_id="25 texts", shard_rows=10
    ...     )
    ...     vectors = fa.open_vectors(folder)
    ...     print(len(vectors), [len(shard) for shard in vectors.shards])
    25 [10, 10, 5]
    """
    _check_options(options)
    shard_rows = as_index(shard_rows, "shard_rows", 1)
    processes = as_index(processes, "processes", 1)
    as_choice(errors, "errors", ON_ERRORS)
    as_choice(format, "format", FORMATS)
    as_choice(precision, "precision", PRECISIONS)
    turn = _as_turn(shards)
    source = open_source(inputs, Fields(field, id_field), source_id)
    if processes > 1 and isinstance(source, Iterated):
        raise ValueError(
            "processes share a file, which each of them reads: give the name of one as "
            "inputs, or leave processes out"
        )
    model = _as_model(model)
    show_progress = options.pop("show_progress", None)
    call = model._call(**options, precision=precision, show_progress=False)
    call = replace(call, num_threads=max(1, thread_count(call.num_threads) // processes))
    folder = open_folder(out_dir, format)
    job = Job(model, source, folder, shard_rows, errors, call)
    described = _describe(job, precision)
    if "rows" in folder.claim(described):
        return
    folder.sweep(turn)
    with Meter(show_progress) as meter:
        tallies = run_each(job.run, turn.split(processes), meter.advance)
    rows = max(tally.rows for tally in tallies)
    if all(folder.has(number) for number in range(-(-rows // shard_rows))):
        folder.describe(described | {"rows": rows})
    texts, cut = sum(tally.texts for tally in tallies), sum(tally.cut for tally in tallies)
    if cut and call.on_truncation == "warn":
        message = f"{cut} of {texts} texts cut at {model.max_length} tokens"
        warnings.warn(message, TruncationWarning, stacklevel=2)


def _check_options(options: dict[str, Any]) -> None:
    """Refuse options that are none of `encode`, or make no vectors of floats."""
    check_options(encode_corpus, options, TextEncoder.encode)
    for name in LEFT_OUT:
        if name in options:
            raise TypeError(f"encode_corpus() has no {name}: it makes one vector of a text")


def _as_model(model: Any) -> TextEncoder:
    """Load what makes vectors, unless it has been."""
    if isinstance(model, str | os.PathLike):
        with num_threads(1):  # no thread that is alive when processes are forked
            return TextEncoder.load(model)
    if not isinstance(model, TextEncoder):
        raise TypeError(f"model must be a TextEncoder, got {type(model).__name__}")
    return model


def _as_turn(shards: Any) -> Turn:
    """Check which shards a user asked for."""
    if shards is None:
        return Turn(0, 1)
    if not isinstance(shards, tuple | list) or len(shards) != 2:
        raise TypeError(f"shards must be two integers, (i, n), got {shards!r}")
    total = as_index(shards[1], "shards[1]", 1)
    return Turn(as_index(shards[0], "shards[0]", 0, total - 1), total)


def _describe(job: Job, precision: str) -> dict[str, Any]:
    """Say what makes the bytes of the shards what they are."""
    call, source = job.call, job.source
    return {
        "fastattn": __version__,
        "model": job.model._fingerprint(),
        "options": {
            "prompt": call.prompt,
            "normalize": call.wanted.normalize,
            "refuse_long_texts": call.on_truncation == "error",
        },
        "source": source.fields._asdict() | source.identity(),
        "shard_rows": job.shard_rows,
        "format": job.folder.format,
        "precision": precision,
        "dim": call.wanted.dim,
    }


def _pass(records: Any, size: int) -> int:
    """Pass over records, and count them."""
    counter = count()
    deque(zip(islice(records, size), counter, strict=False), maxlen=0)
    return next(counter)

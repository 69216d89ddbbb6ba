"""A corpus of any size into vectors: shard after shard, and on from where it stopped."""

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .._threads import num_threads, thread_count
from ..arrays import as_index
from ..text import TextEncoder
from .job import SHARD_ROWS, check_job_options, open_job
from .processes import run_each
from .progress import Meter
from .shards import Turn
from .sources import Fields


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
        If no column of a file has the name of a field, or none of its first 1,000 objects;
        if the folder holds shards of another model, source or options; and about a bad
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
    check_job_options(encode_corpus, options)
    processes = as_index(processes, "processes", 1)
    turn = _as_turn(shards)
    if processes > 1 and not isinstance(inputs, str | os.PathLike):
        raise ValueError(
            "processes share a file, which each of them reads: give the name of one as "
            "inputs, or leave processes out"
        )
    show_progress = options.pop("show_progress", None)
    job = open_job(
        lambda: _as_model(model),
        inputs,
        out_dir,
        fields=Fields(field, id_field),
        source_id=source_id,
        shard_rows=shard_rows,
        format=format,
        errors=errors,
        precision=precision,
        **options,
    )
    threads = max(1, thread_count(job.call.num_threads) // processes)
    job = replace(job, call=replace(job.call, num_threads=threads))
    if job.begin(turn):
        with Meter(show_progress) as meter:
            job.end(run_each(job.run, turn.split(processes), meter.advance))


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

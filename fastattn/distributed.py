"""A corpus of any size on the machines of a Dask cluster: a task for each shard."""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from .arrays import as_index
from .corpus.job import SHARD_ROWS, Job, Tally, check_job_options, open_job
from .corpus.progress import Meter
from .corpus.shards import Turn
from .corpus.sources import Fields, Record
from .models.locate import name_from_anywhere
from .origin import Origin
from .text import TextEncoder

# Tasks that are sent for each thread of the cluster, so that none waits for the next.
AHEAD = 2


# The model of this process, which all of its tasks share.
_loaded: dict[str, TextEncoder] = {}
_loading = threading.Lock()


def encode_corpus(
    client: Any,
    model: str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Iterable[Any],
    out_dir: str | os.PathLike[str],
    *,
    load: Mapping[str, Any] | None = None,
    retries: int = 3,
    field: str = "text",
    id_field: str | None = None,
    shard_rows: int = SHARD_ROWS,
    format: str = "npy",
    errors: str = "nan",
    precision: str = "float32",
    source_id: str | None = None,
    **options: Any,
) -> None:
    """Turn a corpus of any size into files of vectors, on a Dask cluster.

    They are those of :func:`fastattn.encode_corpus`, to the byte, and each of the two goes
    on where the other was stopped.

    Parameters
    ----------
    client : distributed.Client
        The cluster. Workers may come and go.
    model : str or path
        What :func:`fastattn.load` finds the model by, here and on each worker, which loads
        it once in each process.
    inputs, out_dir
        As for :func:`fastattn.encode_corpus`. All machines see `out_dir`. They see the file
        `inputs`, too, if it is read from a byte on, as text, JSON Lines, CSV and TSV are
        when nothing compresses them; records of other inputs are read here and sent.
    load : mapping, optional
        Keywords of :func:`fastattn.load`: ``{"compute": "int8"}``.
    retries : int
        How often a shard is tried again after an error. After the death of a worker the
        scheduler gives its shards to others, as its settings say.
    field, id_field, shard_rows, format, errors, precision, source_id, **options
        As for :func:`fastattn.encode_corpus`. Without `num_threads` each task has as many
        as its process says: one, where a nanny of Dask has started it.

    Raises
    ------
    TypeError, ValueError
        As by :func:`fastattn.encode_corpus`; and if a worker finds another model.
    distributed.KilledWorker
        If a shard was on several workers that died.
    ConnectionError
        If the scheduler is gone or restarted. What is whole stays.

    Warns
    -----
    TruncationWarning
        At the end, if texts were cut; it says how many.

    Notes
    -----
    A task is a shard, which should take seconds: a thousand texts or more. Which worker
    gets it is left to the scheduler. A worker that dies loses the shards that it was at.

    Examples
    --------
    >>> import tempfile
    >>> import fastattn as fa
    >>> from distributed import Client
    >>> from fastattn.distributed import encode_corpus
    >>> texts = (f"text {i}" for i in range(25))
    >>> options = {"source_id": "25 texts", "shard_rows": 10}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Client(processes=False, dashboard_address=":0") as client:
    ...         encode_corpus(client, "all-MiniLM-L6-v2", texts, folder, **options)
    ...     len(fa.open_vectors(folder))
    25
    """
    check_job_options(encode_corpus, options)
    _check_client(client)
    name, settings = _as_name(model), {} if load is None else load
    if not isinstance(settings, Mapping):
        raise TypeError(f"load must be keywords of fastattn.load by name, got {load!r:.40}")
    retries = as_index(retries, "retries", 0)
    show_progress = options.pop("show_progress", None)
    job = open_job(
        lambda: TextEncoder.load(name, **settings),
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
    # The workers are in folders of their own.
    job = replace(job, folder=job.folder._replace(path=job.folder.path.absolute()))
    if job.begin(Turn(0, 1)):
        with Meter(show_progress) as meter:
            job.end(list(_run(client, job, job.model._origin(), retries, meter)))


def _run(
    client: Any, job: Job, origin: Origin, retries: int, meter: Meter
) -> Iterator[Tally]:
    """Send the shards that are missing to the workers, a few ahead of them."""
    from distributed import CancelledError
    from distributed.comm import CommClosedError

    sent, waiting, rows = replace(job, model=None), dict[Any, tuple[int, int | None]](), 0
    try:
        for number, size, records in job.shards(Turn(0, 1)):
            rows = number * job.shard_rows + size
            if not records:
                continue
            while len(waiting) >= AHEAD * max(1, sum(client.nthreads().values())):
                yield from _done(waiting, meter)
            left = job.left(number, records)
            if records[0].offset is not None:
                records = [records[0]._replace(content=None)]
            task = _encode, origin, sent, number, records
            future = client.submit(*task, retries=retries, pure=False)
            waiting[future] = size, left
        while waiting:
            yield from _done(waiting, meter)
    except (CommClosedError, CancelledError):
        raise ConnectionError(
            "the scheduler of the cluster is gone, or has dropped the job: call again, "
            "with the client of another, and what is there is not made again"
        ) from None
    finally:
        client.cancel(list(waiting))
    yield Tally(0, 0, rows)


def _done(waiting: dict[Any, tuple[int, int | None]], meter: Meter) -> Iterator[Tally]:
    """Wait for a shard or more, and give what they tell."""
    from distributed import wait

    for future in wait(list(waiting), return_when="FIRST_COMPLETED").done:
        done = future.result()
        meter.advance(*waiting.pop(future))
        yield done


def _encode(origin: Origin, job: Job, number: int, records: list[Record]) -> Tally:
    """Encode a shard on a worker: of records, or of the file from the first one on."""
    if job.folder.has(number):  # by a worker that died before it could tell
        return Tally(0, 0, 0)
    if records[0].offset is not None:
        records = list(islice(job.source.records(records[0]), job.shard_rows))
    return replace(job, model=_model(origin)).encode(number, records, lambda *_: None)


def _model(origin: Origin) -> TextEncoder:
    """Give the model of this process, and load it first if it is another one."""
    with _loading:
        if origin.fingerprint not in _loaded:
            _loaded.clear()
            _loaded[origin.fingerprint] = origin.load()
        return _loaded[origin.fingerprint]


def _check_client(client: Any) -> None:
    """Refuse what is no client of a cluster."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError(
            "a cluster needs the package distributed: pip install 'fastattn[dask]'"
        ) from None
    if not isinstance(client, Client):
        raise TypeError(f"client must be a distributed.Client, got {type(client).__name__}")
    if client.asynchronous:
        raise ValueError("client must be one that waits: made without asynchronous=True")


def _as_name(model: Any) -> str:
    """Check that a model is named, and name a folder so that it is found anywhere."""
    if not isinstance(model, str | os.PathLike):
        raise TypeError(
            "model must be a name or a folder, which each worker loads, got "
            f"{type(model).__name__}"
        )
    return name_from_anywhere(model)

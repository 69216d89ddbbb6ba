"""Processes that encode: a pool is started once, and serves many calls."""

import math
import multiprocessing
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from ..._threads import set_num_threads, thread_count
from ...arrays import as_index
from ...corpus.processes import end_with_parent, start_method
from ...text_base import TextModel

Pool = dict[str, Any]

# As sentence-transformers does: some chunks for each process, of so many texts at most.
CHUNKS_OF_A_PROCESS, CHUNK_TEXTS = 10, 5000

# In a process of a pool, what it encodes with.
encoder: TextModel


def start_pool(model: TextModel, devices: Sequence[Any]) -> Pool:
    """Start a process for each device, among which the threads are shared out."""
    threads = max(1, thread_count() // len(devices))
    executor = ProcessPoolExecutor(
        len(devices),
        multiprocessing.get_context(start_method()),
        _begin,
        (model, threads),
    )
    # Processes are copies of this one as it is now, and not as it is at the first call.
    executor.submit(int)
    return {"executor": executor, "processes": list(devices)}


def stop_pool(pool: Pool) -> None:
    """End the processes of a pool; it may have been done before."""
    check_pool(pool)
    pool["executor"].shutdown(cancel_futures=True)
    pool["processes"] = []


def check_pool(pool: Any) -> None:
    """Make sure that something is what `start_pool` gave."""
    if not isinstance(pool, dict) or not pool.keys() >= {"executor", "processes"}:
        raise TypeError(f"pool must be what start_multi_process_pool gave, got {pool!r}")


def call_each(
    pool: Pool,
    method: str,
    inputs: list[Any],
    chunk_size: int | None,
    options: dict[str, Any],
) -> list[Any]:
    """Call a method of the encoder on chunks of inputs; at least on one, of none."""
    check_pool(pool)
    if not pool["processes"]:
        raise ValueError("pool is stopped: start another by start_multi_process_pool()")
    if chunk_size is None:
        shares = len(pool["processes"]) * CHUNKS_OF_A_PROCESS
        chunk_size = max(1, min(math.ceil(len(inputs) / shares), CHUNK_TEXTS))
    chunk_size = as_index(chunk_size, "chunk_size", 1)
    starts = range(0, len(inputs), chunk_size) or [0]
    calls = [
        pool["executor"].submit(_call, method, inputs[i : i + chunk_size], options)
        for i in starts
    ]
    try:
        return [call.result() for call in calls]
    finally:
        for call in calls:
            call.cancel()


def _begin(model: TextModel, threads: int) -> None:
    global encoder
    encoder = model
    set_num_threads(threads)
    threading.Thread(target=end_with_parent, daemon=True).start()


def _call(method: str, inputs: list[Any], options: dict[str, Any]) -> Any:
    return getattr(encoder, method)(inputs, **options)

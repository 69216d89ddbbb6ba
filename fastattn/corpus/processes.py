"""Processes that share work: they end with the one that started them, however it ends."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Turn = TypeVar("Turn")
Advance = Callable[[int, int | None], None]


def run_each(
    run: Callable[[Turn, Advance], Any], turns: list[Turn], advance: Advance
) -> list[Any]:
    """Call `run` on each turn, with what it reports progress to: here if there is one."""
    if len(turns) == 1:
        return [run(turns[0], advance)]
    context: Any = multiprocessing.get_context(start_method())
    workers, waiting = [], []
    try:
        for turn in turns:
            ours, theirs = context.Pipe(duplex=False)
            worker = context.Process(target=_work, args=(theirs, run, turn), daemon=True)
            worker.start()
            theirs.close()
            workers.append(worker)
            waiting.append(ours)
        return _collect(waiting, advance)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _collect(waiting: list[Connection], advance: Advance) -> list[Any]:
    """Wait until all have done their work, or one has failed."""
    results = []
    while waiting:
        for connection in wait(waiting):
            assert isinstance(connection, Connection)
            try:
                kind, value = connection.recv()
            except EOFError:
                raise RuntimeError(
                    "a process that encoded was killed, by the system if memory ran out: "
                    "call again, and what is there is not made again"
                ) from None
            if kind == "failed":
                raise value
            if kind == "done":
                results.append(value)
                waiting.remove(connection)
            else:
                advance(*value)
    return results


def _work(connection: Connection, run: Callable[..., Any], turn: Any) -> None:
    """Do the work of one process."""
    # Ctrl-C reaches every process of a terminal; the first one speaks for all.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        done = run(turn, lambda *step: connection.send(("step", step)))
    except Exception as error:
        connection.send(("failed", error))
    else:
        connection.send(("done", done))


def end_with_parent() -> None:
    """End this process when the one that started it is gone, also if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def start_method() -> str:
    """Choose how to start processes: by a copy of this one, unless it has threads.

    A copy shares the memory of the model. Of other threads it has only the locks; those of
    OpenMP and of BLAS, which know of copies, do not count.
    """
    alone = threading.active_count() == 1
    return "fork" if sys.platform == "linux" and alone else "spawn"

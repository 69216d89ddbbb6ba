"""What waits to be computed, and the thread that computes it.

What came in while a batch was computed is the next batch; nobody waits for a batch to
become full. Padding does not exist, so that a full batch is hardly cheaper than its texts.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from ..models.tokenization import Tokens
from .limits import Limits
from .metrics import Metrics
from .problems import Problem

LOG = logging.getLogger("fastattn.serve")

Rows = NDArray[float32]
Compute = Callable[[list[Tokens]], Rows]

# Bounds of what a client is told to wait for, in seconds.
LEAST_RETRY, MOST_RETRY = 1, 60


class Work(NamedTuple):
    """Texts of a request.

    Attributes
    ----------
    tokens : list of Tokens
        Of each text.
    compute : callable
        Gives a row for each of some texts. Texts with the same one share batches.
    """

    tokens: list[Tokens]
    compute: Compute


class Job:
    """Work that waits; its rows are made in order, in one batch or in several.

    Attributes
    ----------
    taken : int
        How many texts the thread that computes has taken.
    """

    def __init__(self, work: Work, future: "asyncio.Future[Rows]") -> None:
        self.work = work
        self.future = future
        self.taken = 0
        self._rows: list[Rows] = []

    def take(self, room: int, least: int) -> list[Tokens]:
        """Take the next texts that have room, but at least so many."""
        start = self.taken
        for tokens in self.work.tokens[start:]:
            if cost(tokens) > room and self.taken - start >= least:
                break
            room -= cost(tokens)
            self.taken += 1
        return self.work.tokens[start : self.taken]

    def settle(self, rows: Rows | Problem) -> None:
        """Take the next rows, and give all of them to who waits for them."""
        if self.future.done():
            return
        if isinstance(rows, Problem):
            self.future.set_exception(rows)
            return
        self._rows.append(rows)
        if sum(map(len, self._rows)) == len(self.work.tokens):
            self.future.set_result(np.concatenate(self._rows))


Batch = list[tuple[Job, list[Tokens]]]


class Batcher:
    """The queue, and the one thread that computes, for the loop that runs.

    All but the computing is the loop's, so that nothing has to be locked.

    Attributes
    ----------
    waiting : int
        Tokens of all that is not computed yet.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.waiting = 0
        self._limits = limits
        self._metrics = metrics
        self._arrived: SimpleQueue[Job | None] = SimpleQueue()
        self._tokens_per_second = float(limits.batch_tokens)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="fastattn", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Compute what waits, and end the thread."""
        self._arrived.put(None)
        self._thread.join()

    def check_room(self) -> None:
        """Refuse a request where too many tokens wait already."""
        if self.waiting >= self._limits.queue_tokens:
            seconds = math.ceil(self.waiting / self._tokens_per_second)
            raise Problem(
                429,
                f"{self.waiting} tokens wait already",
                code="rate_limit_exceeded",
                retry_after=min(max(seconds, LEAST_RETRY), MOST_RETRY),
            )

    def submit(self, work: Work) -> "asyncio.Future[Rows]":
        """Let a row be made of each text; who cancels gives the place back."""
        job = Job(work, self._loop.create_future())
        size = sum(map(cost, work.tokens))
        self._count(size)
        job.future.add_done_callback(lambda _: self._count(-size))
        self._arrived.put(job)
        return job.future

    def _count(self, tokens: int) -> None:
        """Count tokens that begin to wait, or, negative, do so no more."""
        self.waiting += tokens
        self._metrics.queue_tokens.set(self.waiting)

    def _run(self) -> None:
        """Compute batches until nothing waits and nothing more will come."""
        jobs, is_open = deque[Job](), True
        while jobs or is_open:
            while is_open and not (jobs and self._arrived.empty()):
                job = self._arrived.get()
                if job is None:
                    is_open = False
                else:
                    jobs.append(job)
            batch = take_batch(jobs, self._limits.batch_tokens)
            if batch:
                self._compute(batch)

    def _compute(self, batch: Batch) -> None:
        """Compute a batch, and tell those who wait for it."""
        texts = [tokens for _, taken in batch for tokens in taken]
        start = time.perf_counter()
        parts: list[Rows | Problem] = []
        try:
            rows = batch[0][0].work.compute(texts)
            for _, taken in batch:
                parts.append(checked(rows[: len(taken)]))
                rows = rows[len(taken) :]
        except Exception:
            LOG.exception("a batch could not be computed")
            parts = [Problem(500, "the server failed")] * len(batch)
        seconds, size = time.perf_counter() - start, sum(map(cost, texts))
        self._tokens_per_second = size / seconds
        self._metrics.batch_tokens.observe(size)
        self._metrics.batch_seconds.observe(seconds)
        self._loop.call_soon_threadsafe(settle, batch, parts)


def settle(batch: Batch, parts: list[Rows | Problem]) -> None:
    """Give jobs their parts of a batch."""
    for (job, _), part in zip(batch, parts, strict=True):
        job.settle(part)


def take_batch(jobs: deque[Job], room: int) -> Batch:
    """Take the next batch; a job of which there is more goes behind the others."""
    batch: Batch = []
    passed, begun = deque[Job](), deque[Job]()
    while jobs and room > 0:
        job = jobs.popleft()
        if job.future.done():  # who waited for it went away, or it failed
            continue
        taken = []
        if not batch or job.work.compute is batch[0][0].work.compute:
            taken = job.take(room, not batch)
        if taken:
            room -= sum(map(cost, taken))
            batch.append((job, taken))
        if job.taken < len(job.work.tokens):
            (begun if taken else passed).append(job)
    jobs.extendleft(reversed(passed))
    jobs.extend(begun)
    return batch


def checked(rows: Rows) -> Rows | Problem:
    """Refuse to answer with numbers that JSON does not have."""
    if np.isfinite(rows).all():
        return rows
    return Problem(500, "the model gave a number that is not finite")


def cost(tokens: Tokens) -> int:
    """Count the tokens of a text, of which one may have none."""
    return max(len(tokens.ids), 1)

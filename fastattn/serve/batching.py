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
    """Work that waits; its rows are made in order, in one batch or in several."""

    def __init__(self, work: Work, future: "asyncio.Future[Rows]") -> None:
        self.work = work
        self.future = future
        self.taken = 0
        self.waiting = sum(map(cost, work.tokens))
        self._rows: list[Rows] = []

    def take(self, room: int, least: int) -> list[Tokens]:
        """Take the next texts that have room, but at least so many."""
        start = self.taken
        for tokens in self.work.tokens[start:]:
            if cost(tokens) > room and self.taken - start >= least:
                break
            room -= cost(tokens)
            self.waiting -= cost(tokens)
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


class Batcher:
    """The queue, and the one thread that computes, for the loop that runs.

    Attributes
    ----------
    waiting : int
        Tokens in the queue.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.waiting = 0
        self._limits = limits
        self._metrics = metrics
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._tokens_per_second = float(limits.batch_tokens)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="fastattn", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Compute what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
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

    async def compute(self, work: Work) -> Rows:
        """Let a row be made of each text; who is cancelled gives the place back."""
        self.check_room()
        job = Job(work, self._loop.create_future())
        with self._changed:
            self._jobs.append(job)
            self._add(job.waiting)
            self._changed.notify()
        try:
            return await job.future
        finally:
            # Of what was cancelled, or failed, nothing more is computed.
            with self._changed:
                if job in self._jobs:
                    self._jobs.remove(job)
                    self._add(-job.waiting)

    def _add(self, tokens: int) -> None:
        self.waiting += tokens
        self._metrics.queue_tokens.set(self.waiting)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if self._closed:
                        return
                    self._changed.wait()
                batch = self._take()
            self._compute(batch)

    def _take(self) -> list[tuple[Job, list[Tokens]]]:
        """Take the next batch; a job of which there is more goes behind the others."""
        batch = list[tuple[Job, list[Tokens]]]()
        passed, begun = deque[Job](), deque[Job]()
        room = self._limits.batch_tokens
        compute = self._jobs[0].work.compute
        while self._jobs and room > 0:
            job = self._jobs.popleft()
            taken = job.take(room, not batch) if job.work.compute is compute else []
            if taken:
                size = sum(map(cost, taken))
                room -= size
                self._add(-size)
                batch.append((job, taken))
            if job.waiting:
                (begun if taken else passed).append(job)
        self._jobs = passed + self._jobs + begun
        return batch

    def _compute(self, batch: list[tuple[Job, list[Tokens]]]) -> None:
        """Compute a batch, and tell those who wait for it."""
        texts = [tokens for _, taken in batch for tokens in taken]
        start = time.perf_counter()
        parts: list[Rows | Problem]
        try:
            rows = batch[0][0].work.compute(texts)
            ends = np.cumsum([len(taken) for _, taken in batch])
            parts = [checked(part) for part in np.split(rows, ends[:-1])]
        except Exception:
            LOG.exception("a batch could not be computed")
            parts = [Problem(500, "the server failed")] * len(batch)
        seconds, size = time.perf_counter() - start, sum(map(cost, texts))
        self._tokens_per_second = size / seconds
        self._metrics.batch_tokens.observe(size)
        self._metrics.batch_seconds.observe(seconds)
        self._loop.call_soon_threadsafe(
            settle, [(job, part) for (job, _), part in zip(batch, parts, strict=True)]
        )


def settle(parts: list[tuple[Job, Rows | Problem]]) -> None:
    """Give jobs their parts of a batch."""
    for job, part in parts:
        job.settle(part)


def checked(rows: Rows) -> Rows | Problem:
    """Refuse to answer with numbers that JSON does not have."""
    if np.isfinite(rows).all():
        return rows
    return Problem(500, "the model gave a number that is not finite")


def cost(tokens: Tokens) -> int:
    """Count the tokens of a text, of which one may have none."""
    return max(len(tokens.ids), 1)

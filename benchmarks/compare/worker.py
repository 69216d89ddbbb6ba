"""The process of one implementation: told over its standard input what to prepare and time.

Requests and answers are pickled tuples. Standard output carries the answers alone; what
a library prints there goes to standard error.
"""

import importlib
import os
import pickle
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from .peers import IMPLEMENTATIONS, Unsupported

# Samples shorter than this are made of several calls: the clock takes part of one.
SAMPLE_SECONDS = 200e-6


def best_time(call, seconds, clock):
    """Call again and again for so many seconds; return the shortest time of a call."""
    best, number = np.inf, 1
    end = clock() + seconds
    while True:
        start = clock()
        for _ in range(number):
            call()
        now = clock()
        sample = (now - start) / number
        best = min(best, sample)
        number = max(1, int(SAMPLE_SECONDS / sample))
        if now >= end:
            return best


def peak_memory():
    """Return the most memory that was resident in this process, in bytes.

    Not that of getrusage: a new process inherits it from the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


class Worker:
    """One implementation and the case that it is at."""

    def __init__(self, peer, settings):
        chosen = IMPLEMENTATIONS[peer]
        module = importlib.import_module(f"{__package__}.peers.{chosen.module}")
        self.implementation = getattr(module, chosen.implementation)(settings)
        self.clock = time.process_time if settings.cpu_time else time.perf_counter
        self.call = None

    def prepare(self, case):
        """Prepare a case; return the result of its first call."""
        self.call = None  # frees the inputs of the case before
        operation = getattr(self.implementation, case.operation, None)
        if operation is None:
            raise Unsupported("not offered")
        self.call = operation(case)
        to_numpy = getattr(self.implementation, "to_numpy", np.asarray)
        return to_numpy(self.call())

    def time(self, seconds):
        return best_time(self.call, seconds, self.clock)

    def runs_in(self):
        """Say in what products are really computed, once something was."""
        return self.implementation.runs_in

    def memory(self):
        return peak_memory()


def main():
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = Worker(*pickle.load(requests))
    while True:
        try:
            name, *arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = "done", getattr(worker, name)(*arguments)
        except Unsupported as reason:
            answer = "unsupported", str(reason)
        except Exception:
            answer = "failed", traceback.format_exc()
        pickle.dump(answer, answers, protocol=5)
        answers.flush()


if __name__ == "__main__":
    main()

"""Run cases on implementations in turns, each in a process of its own."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from .peers import Unsupported

ROOT = Path(__file__).parents[2]
# OpenBLAS chooses its kernels by itself, as it does for users.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
# Nothing here may wait for a network.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

# A case takes no further round after so long, 1,000 texts above all.
CASE_SECONDS = 40.0
STARTS = 3

# The largest difference between two implementations, as a part of the largest value:
# thousands of roundings of float32; four of the 16-bit formats, where a library may round
# the weights of attention too.
AGREEMENT = {"float16": 4 * 2.0**-11, "bfloat16": 4 * 2.0**-8}
FLOAT32_AGREEMENT = 1e-4
# The least mean cosine to float32 of what is computed in a lower precision.
COMPUTE_AGREEMENT = 0.9


class Disagreement(Exception):
    """Two implementations give different results for the same inputs."""


class Process:
    """An implementation at the other end of two pipes, stopped while others are measured.

    A stopped process holds its memory, but its threads cannot spin for work.
    """

    def __init__(self, peer, settings):
        self.peer = peer
        inherited = {key: value for key, value in os.environ.items() if key not in UNSET}
        threads = dict.fromkeys(THREADS, str(settings.threads))
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            cwd=ROOT,
            env={**inherited, **threads, **OFFLINE},
        )
        self._send((peer, settings))

    def _send(self, message):
        pickle.dump(message, self.process.stdin, protocol=5)
        self.process.stdin.flush()

    def ask(self, name, *arguments):
        """Let the process run until it has answered."""
        self.process.send_signal(signal.SIGCONT)
        try:
            self._send((name, *arguments))
            kind, answer = pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError):
            self.errors.seek(0)
            kind, answer = "failed", self.errors.read().decode(errors="replace")
        if kind == "failed":
            raise RuntimeError(f"{self.peer} failed:\n{answer}")
        self.process.send_signal(signal.SIGSTOP)
        if kind == "unsupported":
            raise Unsupported(answer)
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def check_agreement(case, results):
    """Compare the results of all peers with those of the first; raise Disagreement."""
    (first, expected), *others = results.items()
    most = np.abs(expected.astype(np.float64)).max()
    allowed = AGREEMENT.get(case.option, FLOAT32_AGREEMENT) * most
    for peer, result in others:
        if result.shape != expected.shape:
            raise Disagreement(
                f"{case.group} {case}: {peer} gives shape {result.shape}, "
                f"{first} {expected.shape}"
            )
        difference = np.abs(result.astype(np.float64) - expected).max()
        if not difference <= allowed:
            raise Disagreement(
                f"{case.group} {case}: {peer} differs from {first} by {difference:.2g}, "
                f"of values up to {most:.2g}"
            )


def check_directions(case, results):
    """Compare directions with those of the first; return the worst cosine of each peer."""
    (_, expected), *others = results.items()
    worst = {}
    for peer, result in others:
        between = cosines(result, expected)
        if not between.mean() >= COMPUTE_AGREEMENT:
            raise Disagreement(
                f"{case.group} {case}: {peer} has a mean cosine of {between.mean():.3f}"
            )
        worst[peer] = float(between.min())
    return worst


def cosines(a, b):
    """Return the cosines between vectors that stand in the same place."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.sum(a * b, axis=-1) / norms


class Runner:
    """Runs cases and gives their times to `results`.

    A turn lasts `seconds`, or one call that takes longer. ``say(text)`` hears of each case.
    """

    def __init__(self, results, settings, rounds, seconds, say):
        self.results, self.settings, self.say = results, settings, say
        self.rounds, self.seconds = rounds, seconds

    def run(self, cases, threads):
        """Measure pairs of a case and the names of those that take part in it."""
        settings = self.settings._replace(threads=threads)
        peers = dict.fromkeys(peer for _, chosen in cases for peer in chosen)
        with ExitStack() as stack:
            processes = {
                peer: stack.enter_context(Process(peer, settings)) for peer in peers
            }
            for case, chosen in cases:
                self.run_case(case, [processes[peer] for peer in chosen], threads)

    def run_case(self, case, processes, threads):
        """Check that all give the same result, then time them in turns."""
        prepared = {}
        for process in processes:
            try:
                if case.group == "weights":
                    expected = process.ask("prepare", case._replace(option=""))
                prepared[process] = process.ask("prepare", case)
            except Unsupported as reason:
                self.results.unsupported[case, process.peer] = str(reason)
                continue
            if case.group == "weights":
                self.results.cosines[case] = cosines(prepared[process], expected).min()
        if not prepared:
            return
        given = {process.peer: y for process, y in prepared.items()}
        if case.group == "compute":
            for peer, cosine in check_directions(case, given).items():
                self.results.cosines[case, peer] = cosine
            for process in prepared:
                self.results.runs_in[process.peer] = process.ask("runs_in")
        else:
            check_agreement(case, given)
        began = time.perf_counter()
        for number in range(self.rounds):
            if number > 1 and time.perf_counter() - began > CASE_SECONDS:
                break
            for process in prepared:
                self.results.add(
                    case, process.peer, threads, process.ask("time", self.seconds)
                )
        times = (
            f"{process.peer} {1e3 * self.results.time(case, process.peer, threads):.4g} ms"
            for process in prepared
        )
        self.say(f"{case.group} {case}, {threads} threads: {', '.join(times)}")

    def start(self, case, peers, threads):
        """Measure from the start of a process to the vector of its first text."""
        settings = self.settings._replace(threads=threads)
        for _ in range(min(STARTS, self.rounds)):
            for peer in peers:
                began = time.perf_counter()
                with Process(peer, settings) as process:
                    try:
                        process.ask("prepare", case)
                    except Unsupported:
                        continue
                    seconds = time.perf_counter() - began
                    self.results.add(case, peer, threads, seconds)
                    self.results.memory[peer] = process.ask("memory")
                self.say(f"first vector: {peer} {seconds:.2f} s")

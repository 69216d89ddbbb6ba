"""Many short texts to vectors, through kills, and searched: how fast, in how much memory.

    python -m benchmarks.corpus FOLDER [--texts 1000000] [--kills 2] [--compute int8]

writes what Debian says of its packages in a line into FOLDER/texts.txt, over and over, with
numbers. `fastattn encode` makes FOLDER/vectors/ of them; it is killed at random moments and
started again until all is there. Some vectors are compared with what `encode` gives, to the
bit, and all are searched. It needs Linux, and apt for the texts.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import fastattn as fa

from .texts import package_summaries

QUERIES = ("a game of chess", "read scanned pages", "mail server", "maps of the sky")
COMPARED = 1000
POLL_SECONDS = 0.2
TICKS = os.sysconf("SC_CLK_TCK")


def text(summaries, number):
    """Make one of the texts: what is said of a package, and for which time, from 0."""
    again, which = divmod(number, len(summaries))
    return f"{summaries[which]} {again}"


class Watched:
    """Processes of one command after the other: their CPU time, and most memory of one."""

    def __init__(self):
        self.cpu, self.memory = {}, 0

    def look(self, process):
        """Read what the system knows of a process and of those that it started."""
        try:
            task = Path(f"/proc/{process}/task/{process}")
            children = (task / "children").read_text().split()
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:  # it has ended
            return
        times = fields[11:13]  # in and for it, without its children
        self.cpu[process] = sum(map(int, times)) / TICKS
        if "VmHWM:" in status:
            kilobytes = int(status.split("VmHWM:")[1].split()[0])
            self.memory = max(self.memory, kilobytes * 1024)
        for child in children:
            self.look(int(child))


def encode(command, out, kills, watched):
    """Run a command until it has come to its end; kill it when there are so many shards."""
    while True:
        process = subprocess.Popen(command)
        while process.poll() is None:
            watched.look(process.pid)
            if kills and len(list(out.glob("*.npy"))) >= kills[0]:
                time.sleep(random.uniform(0, 3))
                process.kill()
                process.wait()
                kills.pop(0)
            time.sleep(POLL_SECONDS)
        if process.returncode == 0:
            return
        if process.returncode != -9:
            sys.exit(f"fastattn encode ended with {process.returncode}")


def compare(model, vectors, summaries):
    """Compare vectors of random rows with those of a call."""
    rows = random.sample(range(len(vectors)), min(COMPARED, len(vectors)))
    expected = model.encode([text(summaries, row) for row in rows])
    same = sum(np.array_equal(vectors[i], e) for i, e in zip(rows, expected, strict=True))
    print(f"{same} of {len(rows)} vectors have the bits that encode gives")


def best_time(call):
    """Take the shortest of a few times."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def search(command, model, vectors):
    """Search, by the command and from Python."""
    start = time.perf_counter()
    subprocess.run(command, check=True)
    print(f"fastattn search, from its start: {time.perf_counter() - start:.2f} s")
    queries = model.encode([f"{query} {i}" for i in range(8) for query in QUERIES])
    for some in queries[:1], queries:
        seconds = best_time(lambda some=some: fa.top_k(some, vectors))
        print(f"fa.top_k, {len(some)} queries: {1e3 * seconds:.0f} ms")


def parse():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus")
    add = parser.add_argument
    add("folder", type=Path)
    add("--texts", type=int, default=1_000_000, help="(%(default)s)")
    add("--kills", type=int, default=2, help="(%(default)s)")
    add("--model", default="all-MiniLM-L6-v2", help="(%(default)s)")
    add("--compute", default="float32", help="(%(default)s)")
    add("--processes", type=int, default=1, help="(%(default)s)")
    add("--shard-rows", type=int, default=10_000, help="(%(default)s)")
    return parser.parse_args()


def main():
    options = parse()
    source, out = options.folder / "texts.txt", options.folder / "vectors"
    options.folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    summaries = package_summaries()
    with source.open("w") as file:
        file.writelines(f"{text(summaries, i)}\n" for i in range(options.texts))
    program = [sys.executable, "-m", "fastattn"]
    model = ["--model", options.model, "--compute", options.compute]
    split = ["--processes", f"{options.processes}", "--shard-rows", f"{options.shard_rows}"]
    shards = range(1, options.texts // options.shard_rows)
    kills, watched = sorted(random.sample(shards, options.kills)), Watched()
    start = time.monotonic()
    inputs = ["--input", str(source), "--output", f"{out}/"]
    encode([*program, "encode", *model, *split, *inputs], out, kills, watched)
    seconds, cpu = time.monotonic() - start, sum(watched.cpu.values())
    print(
        f"{options.texts:,} texts, {options.kills} kills: {seconds:,.0f} s on the clock, "
        f"{cpu:,.0f} s of CPU, {options.texts / seconds:,.0f} texts a second, "
        f"at most {watched.memory / 1e6:.0f} MB in a process"
    )
    loaded = fa.load(options.model, compute=options.compute)
    vectors = fa.open_vectors(out)
    compare(loaded, vectors, summaries)
    command = [*program, "search", *model, "--vectors", str(out), "--top", "2", *QUERIES]
    search(command, loaded, vectors)


if __name__ == "__main__":
    main()

"""How much faster two workers of a Dask cluster make a corpus than one.

    python -m benchmarks.workers [--texts 8000] [--shard-rows 1000] [--rounds 3]

Workers are processes of one thread, which have loaded the model before. They get the same
texts and take turns; the shortest time counts. It needs apt for the texts, and the package
distributed.
"""

import argparse
import os
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from distributed import Client

from fastattn.distributed import encode_corpus

from .corpus import text
from .texts import package_summaries

MODEL = "all-MiniLM-L6-v2"


def seconds_of(client, source, shard_rows):
    """Encode a file on a cluster, and say how long it takes."""
    out = source.with_name("vectors")
    start = time.monotonic()
    encode_corpus(client, MODEL, source, out, shard_rows=shard_rows)
    seconds = time.monotonic() - start
    shutil.rmtree(out)
    return seconds


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers")
    add = parser.add_argument
    add("--texts", type=int, default=8000, help="(%(default)s)")
    add("--shard-rows", type=int, default=1000, help="(%(default)s)")
    add("--rounds", type=int, default=3, help="(%(default)s)")
    options = parser.parse_args()
    folder, summaries = Path(tempfile.mkdtemp()), package_summaries()
    few, source = folder / "few.txt", folder / "texts.txt"
    few.write_text("a\n" * 8)
    lines = [f"{text(summaries, i)}\n" for i in range(options.texts)]
    source.write_text("".join(lines))
    times = {1: [], 2: []}
    with ExitStack() as stack:
        clients = {
            count: stack.enter_context(
                Client(n_workers=count, threads_per_worker=1, dashboard_address=":0")
            )
            for count in times
        }
        for client in clients.values():
            seconds_of(client, few, 1)
        for _ in range(options.rounds):
            for count, client in clients.items():
                times[count].append(seconds_of(client, source, options.shard_rows))
                load = os.getloadavg()[0]
                print(f"{count} workers: {times[count][-1]:.1f} s; load {load:.1f}")
    print(f"two workers are {min(times[1]) / min(times[2]):.2f} x as fast as one")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()

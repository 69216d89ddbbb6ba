"""Kill `encode_corpus` at random moments, and compare what it leaves in the end.

    python tests/kill_corpus.py 200 [SEED]

A child is killed again and again, until the folder is whole. It must hold the same bytes as
one that nobody disturbed, and nothing else. One run in two has two processes.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import fastattn as fa

TINY = Path(__file__).parent / "data" / "tiny_bert"
SHARDS, SHARD_ROWS = 12, 8


def write_source(path):
    """Write records, some of which are bad."""
    texts = [f"the dog {i} " + "cat " * (i % 7) for i in range(SHARDS * SHARD_ROWS - 3)]
    lines = [json.dumps({"text": text}) for text in texts]
    lines[13], lines[40], lines[41] = "{", '{"text": null}', '{"text": "\\ud800"}'
    path.write_text("".join(f"{line}\n" for line in lines))


def start(model, source, folder, processes):
    """Encode in a child, whose memory is a copy of ours."""
    child = os.fork()
    if child:
        return child
    try:
        fa.encode_corpus(
            model,
            source,
            folder,
            shard_rows=SHARD_ROWS,
            processes=processes,
            num_threads=processes,
        )
    finally:
        os._exit(len(contents(folder)) != len(contents(folder.parent / "whole")))


def contents(folder):
    """Read all files of a folder."""
    if not folder.exists():
        return {}
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def kill_until_whole(model, source, folder, processes, kills, seconds):
    """Kill children until one has come to its end, or so often; give how often."""
    for killed in range(kills + 1):
        child = start(model, source, folder, processes)
        if killed < kills:
            time.sleep(random.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "a run that was not killed failed"
            return killed
    raise AssertionError("not whole")


def main(kills=10, seed=0):
    """Kill so often in all."""
    random.seed(seed)
    parent = Path(tempfile.mkdtemp())
    source = parent / "source.jsonl"
    write_source(source)
    with fa.num_threads(1):
        model = fa.load(TINY)
    begin = time.monotonic()
    whole = parent / "whole"
    # A child, so that this process stays without threads.
    child = os.fork()
    if not child:
        fa.encode_corpus(model, source, whole, shard_rows=SHARD_ROWS, num_threads=1)
        os._exit(0)
    os.waitpid(child, 0)
    seconds = time.monotonic() - begin
    expected, done, runs = contents(whole), 0, 0
    assert len(expected) == 2 * SHARDS + 1 + 2, sorted(expected)
    while done < kills:
        folder = parent / "killed"
        processes, most = 1 + runs % 2, min(6, kills - done)
        done += kill_until_whole(model, source, folder, processes, most, seconds)
        found = contents(folder)
        differ = {n for n in {*found, *expected} if found.get(n) != expected.get(n)}
        assert not differ, f"{processes} processes: {sorted(differ)}"
        shutil.rmtree(folder)
        runs += 1
    shutil.rmtree(parent)
    print(f"{done} kills in {runs} runs: the same bytes")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

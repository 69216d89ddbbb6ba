"""fastattn.distributed.encode_corpus on clusters of processes, and what kills them."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from support.folders import TINY
from support.processes import environment

import fastattn as fa
from fastattn.corpus.job import Job
from fastattn.distributed import _model, encode_corpus

distributed = pytest.importorskip("distributed")

# What it warns of, a slow disk for one, is no failure.
pytestmark = pytest.mark.filterwarnings("default:::distributed")

SHARDS, SHARD_ROWS = 16, 4
LINES = [json.dumps({"text": f"the dog {i} " + "cat " * (i % 7)}) for i in range(62)]
LINES[13], LINES[40] = "{", '{"text": null}'


class Recorder(distributed.WorkerPlugin):
    """Has a process write down when it loads a model and which shards it begins.

    Each shard takes a while.
    """

    def __init__(self, path):
        self.path = str(path)

    def setup(self, worker):
        self.record_calls(Job, "encode", lambda job, number, *_: number)
        self.record_calls(fa.TextEncoder, "load", lambda name: "load")

    def record_calls(self, owner, name, of):
        path, call = self.path, getattr(owner, name)

        def recorded(*arguments, **options):
            with open(path, "a") as file:
                file.write(f"{os.getpid()} {of(*arguments)}\n")
            time.sleep(0.1)
            return call(*arguments, **options)

        setattr(owner, name, recorded)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


@pytest.fixture
def expected(tmp_path, source):
    fa.encode_corpus(TINY, source, tmp_path / "alone", shard_rows=SHARD_ROWS)
    return contents(tmp_path / "alone")


def local_cluster(**options):
    return distributed.LocalCluster(
        threads_per_worker=1, dashboard_address=":0", **{"n_workers": 2} | options
    )


@pytest.fixture(scope="module")
def client():
    with local_cluster() as cluster, distributed.Client(cluster) as client:
        yield client


def when_there_are(out, shards, do):
    """Do something in a thread as soon as so many shards are there."""

    def watch():
        while len(list(out.glob("*.npy"))) < shards:
            time.sleep(0.005)
        do()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def read_record(path):
    """Give the shards that were begun, each with how often, and the processes."""
    lines = [line.split() for line in path.read_text().splitlines()]
    loads = Counter(process for process, what in lines if what == "load")
    assert set(loads.values()) == {1}, "each process loads once"
    return Counter(int(what) for _, what in lines if what != "load"), loads.keys()


def test_a_worker_is_killed_and_another_one_comes(tmp_path, source, expected):
    out, record = tmp_path / "out", tmp_path / "record"
    with local_cluster() as cluster, distributed.Client(cluster) as client:
        client.register_plugin(Recorder(record))
        first, _ = client.run(os.getpid).values()
        watching = [
            when_there_are(out, 3, lambda: os.kill(first, signal.SIGKILL)),
            when_there_are(out, 6, lambda: cluster.scale(3)),
        ]
        encode_corpus(client, TINY, source, out, shard_rows=SHARD_ROWS)
        for thread in watching:
            thread.join()
    assert contents(out) == expected
    begun, processes = read_record(record)
    assert begun.keys() == set(range(SHARDS))
    assert begun.total() <= SHARDS + 1
    assert str(first) in processes


def start(program, file, *arguments):
    command = [sys.executable, "-m", f"distributed.cli.{program}", "--no-dashboard"]
    command += ["--scheduler-file", str(file), *arguments]
    paths = os.pathsep.join(sys.path)
    return subprocess.Popen(
        command, env=environment(PYTHONPATH=paths), stderr=subprocess.DEVNULL
    )


def test_the_scheduler_is_killed(tmp_path, source, expected, client):
    out, record, file = tmp_path / "out", tmp_path / "record", tmp_path / "scheduler.json"
    scheduler = start("dask_scheduler", file, "--port", "0")
    workers = start("dask_worker", file, "--nworkers", "2", "--nthreads", "1")
    try:
        with distributed.Client(scheduler_file=str(file)) as other:
            other.wait_for_workers(2)
            other.register_plugin(Recorder(record))
            thread = when_there_are(out, 5, scheduler.kill)
            with pytest.raises(ConnectionError, match="call again"):
                encode_corpus(other, TINY, source, out, shard_rows=SHARD_ROWS)
            thread.join()
    finally:
        for process in scheduler, workers:
            process.terminate()
            process.wait()
    begun, _ = read_record(record)
    lost = [n for n in begun if not (out / f"part-{n:06d}.npy").exists()]
    assert begun.total() == len(begun)
    assert len(lost) <= 2
    encode_corpus(client, TINY, source, out, shard_rows=SHARD_ROWS)
    assert contents(out) == expected


def write_gzip(path):
    path.write_bytes(gzip.compress(b"the cat\n\n" * 9))


def write_csv(path):
    path.write_text("text\n" + 'the cat\n"a\ndog"\n' * 9)


def write_parquet(path):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"text": ["the cat", None, "a dog"] * 6})
    pytest.importorskip("pyarrow.parquet").write_table(table, path)


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.txt.gz", write_gzip), ("a.csv", write_csv), ("a.parquet", write_parquet)],
)
def test_files(client, tmp_path, monkeypatch, name, write):
    monkeypatch.chdir(tmp_path)  # the workers are elsewhere
    write(Path(name))
    fa.encode_corpus(TINY, name, "alone", shard_rows=SHARD_ROWS)
    encode_corpus(client, TINY, name, "out", shard_rows=SHARD_ROWS)
    assert len(fa.open_vectors("out")) == 18
    assert contents("out") == contents("alone")


def test_texts_of_a_program(client, tmp_path):
    texts = ["the cat", None, "run " * 100, "a dog"] * 3
    alone, out = tmp_path / "alone", tmp_path / "out"
    options = {"source_id": "texts", "shard_rows": SHARD_ROWS, "prompt": "one "}
    with pytest.warns(fa.TruncationWarning, match="3 of 9 texts cut at 48 tokens"):
        fa.encode_corpus(TINY, iter(texts), alone, **options)
    with pytest.warns(fa.TruncationWarning, match="3 of 9 texts cut at 48 tokens") as seen:
        encode_corpus(client, TINY, iter(texts), out, **options)
    assert [Path(warning.filename).name for warning in seen] == [Path(__file__).name]
    assert contents(out) == contents(alone)
    encode_corpus(client, TINY, iter(texts), out, **options)  # there is nothing to do


def test_settings_of_the_model(client, tmp_path, source):
    load = {"compute": "int8", "max_length": 9}
    options = {"shard_rows": SHARD_ROWS, "on_truncation": "ignore"}
    encode_corpus(client, TINY, source, tmp_path / "out", load=load, **options)
    fa.encode_corpus(fa.load(TINY, **load), source, tmp_path / "alone", **options)
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_an_error_ends_the_job(client, source, tmp_path):
    out = tmp_path / "out"
    # The first of two shards that some worker comes to.
    first = r"texts\.jsonl, line (14: not JSON|41: expected a string)"
    with pytest.raises(ValueError, match=first):
        encode_corpus(client, TINY, source, out, shard_rows=SHARD_ROWS, errors="raise")


def test_each_process_loads_once():
    origin = fa.load(TINY)._origin()
    assert _model(origin) is _model(origin)
    with pytest.raises(ValueError, match="it is another model than the one"):
        _model(origin._replace(fingerprint="of another"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client": None}, "client must be a distributed.Client, got NoneType"),
        (
            {"model": 3},
            "model must be a name or a folder, which each worker loads, got int",
        ),
        ({"retries": -1}, "retries must be at least 0"),
        ({"processes": 2}, "unexpected keyword argument 'processes'"),
        ({"output": "tokens"}, "has no output"),
        ({"load": "int8"}, "load must be keywords of fastattn.load by name, got 'int8'"),
        ({"load": {"compute": "int9"}}, "compute must be one of"),
    ],
)
def test_wrong_calls(client, source, tmp_path, change, error):
    given = {"client": client, "model": TINY, "inputs": source, "out_dir": tmp_path / "out"}
    with pytest.raises((TypeError, ValueError), match=error):
        encode_corpus(**given | change)
    assert not (tmp_path / "out").exists()

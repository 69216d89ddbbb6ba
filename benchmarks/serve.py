"""What `fastattn serve` costs beside calling the model, and what it withstands.

    python -m benchmarks.serve [--seconds 10] [--rounds 3] [--soak 600]
    python -m benchmarks.serve --quick

prints tables in Markdown: the rate and the latency of 1, 8 and 64 clients that each send
one short text, beside `model.encode` and beside the least server that there can be, in
turns, the best of all rounds; the CPU time that HTTP, JSON and the tokenizer take of a
request; the memory that 1,000 clients take; and what became of good and hostile requests
that came mixed for so long. The server computes in one thread, and the clients, of Python's
own http.client, have the last CPU. A status of 500, a wrong vector, or LEAK bytes more in
the second half of the time than in the first is an error. It needs Linux.
"""

import argparse
import datetime
import http.client
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

import fastattn as fa

from .compare.report import table, versions
from .hostile_requests import send_hostile
from .texts import read_texts

PACKAGES = "starlette", "uvicorn", "h11", "msgspec", "orjson", "tokenizers"
CLIENTS = 1, 8, 64
MANY = 1000
SHORT = range(60, 121)  # characters
LEAK = 50e6
TICKS = os.sysconf("SC_CLK_TCK")

# The model, with one vector in the place of all that it would compute.
NOTHING = """
import sys
import fastattn as fa
from fastattn.serve import create_app, serve

model = fa.load(sys.argv[1])
vector = model.encode("a text")

def fill(tokens, call, rows, indices):
    rows[:] = vector

model._compute = fill
serve(create_app({"model": model}), port=0)
"""

DIRECT = """
import json, sys, time
import fastattn as fa

model, texts, calls = fa.load(sys.argv[1]), json.loads(sys.stdin.readline()), []
for text in texts:
    model.encode(text, num_threads=1)
cpu, start = time.process_time(), time.perf_counter()
while time.perf_counter() - start < float(sys.argv[2]):
    begin = time.perf_counter()
    model.encode(texts[len(calls) % len(texts)], num_threads=1)
    calls.append(time.perf_counter() - begin)
cpu, wall = time.process_time() - cpu, time.perf_counter() - start
print(json.dumps([len(calls) / wall, cpu / len(calls), calls]))
"""


class Run(NamedTuple):
    """Texts a second, CPU seconds of the server for each, and seconds of each request."""

    rate: float
    cpu: float
    seconds: list[float]

    def row(self, name, best):
        p50, p99 = np.percentile(self.seconds, [50, 99]) * 1e3
        times = f"{self.rate / best:.2f}"
        cpu = f"{self.cpu * 1e3:.2f}"
        return [name, f"{self.rate:.0f}", times, f"{p50:.1f}", f"{p99:.1f}", cpu]


@contextmanager
def server(*command):
    """Run a server at a port that is free: its process, and the port."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True
    )
    try:
        found = re.search(r":(\d+)$", process.stdout.readline().strip())
        yield process, int(found[1])
    finally:
        process.terminate()
        process.wait()


def serving(model):
    return server("-m", "fastattn", *f"serve --threads 1 --port 0 --model {model}".split())


def cpu_seconds(process):
    """Tell the CPU time of a process."""
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(process):
    """Tell the bytes of memory that a process has."""
    with open(f"/proc/{process.pid}/status") as lines:
        return next(int(x.split()[1]) for x in lines if x.startswith("VmRSS")) * 1024


def client_threads(count):
    """Make threads that have the last CPU."""
    last = max(os.sched_getaffinity(0))
    return ThreadPoolExecutor(count, initializer=os.sched_setaffinity, initargs=(0, {last}))


def post(connection, text):
    """Ask for the vector of a text: seconds, the status and what came."""
    start = time.perf_counter()
    body = json.dumps({"input": text}).encode()
    connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    return time.perf_counter() - start, response.status, content


def ask(process, port, clients, seconds, texts):
    """Let so many clients send one text after the other."""
    taken, begun = [[] for _ in range(clients)], []

    def begin():
        begun[:] = time.perf_counter(), cpu_seconds(process)

    ready = threading.Barrier(clients, begin)

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        post(connection, texts[0])
        ready.wait()
        while time.perf_counter() < begun[0] + seconds:
            text = texts[(number + len(taken[number])) % len(texts)]
            duration, status, _ = post(connection, text)
            assert status == 200, status
            taken[number].append(duration)
        connection.close()

    with client_threads(clients) as pool:
        for job in [pool.submit(client, number) for number in range(clients)]:
            job.result()
    start, cpu = begun
    wall = time.perf_counter() - start
    all_taken = [duration for each in taken for duration in each]
    count = len(all_taken)
    return Run(count / wall, (cpu_seconds(process) - cpu) / count, all_taken)


def ask_directly(model, seconds, texts):
    command = [sys.executable, "-c", DIRECT, model, str(seconds)]
    done = subprocess.run(
        command, input=json.dumps(texts), check=True, stdout=subprocess.PIPE, text=True
    )
    return Run(*json.loads(done.stdout))


def rates(model, texts, options):
    """Measure all numbers of clients beside the model itself."""
    runs = {name: [] for name in ("direct", "least", *CLIENTS)}
    with serving(model) as ours, server("-m", "benchmarks.least_server", model) as least:
        for _ in range(options.rounds):
            runs["direct"].append(ask_directly(model, options.seconds, texts))
            runs["least"].append(ask(*least, 1, options.seconds, texts))
            for clients in CLIENTS:
                runs[clients].append(ask(*ours, clients, options.seconds, texts))
    best = {name: max(each, key=lambda run: run.rate) for name, each in runs.items()}
    names = {"direct": "`model.encode`", "least": "1 client, least server", 1: "1 client"}
    header = ["", "texts/s", "of direct", "p50, ms", "p99, ms", "server CPU, ms a text"]
    return table(
        header,
        [
            run.row(names.get(name, f"{name} clients"), best["direct"].rate)
            for name, run in best.items()
        ],
    )


def overhead(model, texts, options):
    """Measure what a request takes without what the model computes."""
    loaded = fa.load(model)
    start = time.process_time()
    for text in texts * 3:
        loaded._tokens([text], "")
    tokenizing = (time.process_time() - start) / len(texts) / 3
    with server("-c", NOTHING, model) as (process, port):
        run = max(
            (ask(process, port, 8, options.seconds, texts) for _ in range(options.rounds)),
            key=lambda run: -run.cpu,
        )
    return (
        f"Of a request that computes nothing, the server takes {run.cpu * 1e3:.2f} ms of "
        f"CPU, {tokenizing * 1e3:.2f} of them the tokenizer's."
    )


def many_clients(model, texts, options):
    """Measure the memory that many clients take who all send at once."""
    with serving(model) as (process, port):
        ask(process, port, 8, options.seconds / 2, texts)
        before, most = memory(process), 0
        connections = [
            http.client.HTTPConnection("127.0.0.1", port, timeout=120) for _ in range(MANY)
        ]
        for number, connection in enumerate(connections):
            text = texts[number % len(texts)]
            body = json.dumps({"input": text}).encode()
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/embeddings", body, headers)
        statuses = Counter()
        for number, connection in enumerate(connections):
            statuses[connection.getresponse().status] += 1
            if number % 50 == 0:
                most = max(most, memory(process))
        for connection in connections:
            connection.close()
    assert statuses == {200: MANY}, statuses
    return (
        f"{MANY} clients that send at once all get their vectors; the server grows from "
        f"{before / 1e6:.0f} MB by {(most - before) / 1e6:.0f} MB."
    )


def soak(model, texts, options):
    """Send good and hostile requests mixed, and look at all good answers."""
    vectors = fa.load(model).encode(texts)
    statuses, sizes = Counter(), []
    end = time.monotonic() + options.soak

    def good(port):
        connection, number = http.client.HTTPConnection("127.0.0.1", port, timeout=120), 0
        while time.monotonic() < end:
            number = (number + 7) % len(texts)
            _, status, content = post(connection, texts[number])
            statuses["good", status] += 1
            if status == 200:
                vector = json.loads(content)["data"][0]["embedding"]
                assert np.array_equal(np.float32(vector), vectors[number])
        connection.close()

    def hostile(port, seed):
        rng = np.random.default_rng(seed)
        while time.monotonic() < end:
            statuses["hostile", send_hostile(port, rng)] += 1

    with serving(model) as (process, port), client_threads(8) as pool:
        jobs = [pool.submit(good, port) for _ in range(4)]
        jobs += [pool.submit(hostile, port, seed) for seed in range(4)]
        while time.monotonic() < end:
            time.sleep(options.soak / 40)
            sizes.append(memory(process))
        for job in jobs:
            job.result()
        assert process.poll() is None
    half = len(sizes) // 2
    early, late = max(sizes[:half]), max(sizes[half:])
    assert not any(status == 500 for _, status in statuses), statuses
    assert statuses["good", 200], statuses
    assert options.quick or late - early < LEAK, sizes
    rows = sorted([*key, count] for key, count in statuses.items())
    header = ["requests", "status; 0: the server closed, -1: the client did", "count"]
    return (
        f"{options.soak:.0f} s of good and hostile requests; memory at most "
        f"{early / 1e6:.0f} MB in the first half, {late / 1e6:.0f} MB in the second.\n\n"
        + table(header, rows)
    )


def main(arguments=None):
    program = "python -m benchmarks.serve"
    parser = argparse.ArgumentParser(prog=program, description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=float, default=600)
    parser.add_argument("--quick", action="store_true", help="a second or two of each")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds, options.rounds, options.soak = 1, 1, 4
    texts = [text for text in read_texts() if len(text) in SHORT]
    command = shlex.join([*program.split(), *sys.argv[1:]])
    print(f"`{command}` on {datetime.date.today()}:\n")
    print(*versions({}), sep="\n")
    print(*(f"- {name}: {version(name)}" for name in PACKAGES), sep="\n")
    for part in rates, overhead, many_clients, soak:
        print(f"\n{part(options.model, texts, options)}", flush=True)
    print(f"\nLoad of the machine at the end: {os.getloadavg()[2]:.1f} in 15 minutes.")


if __name__ == "__main__":
    main()

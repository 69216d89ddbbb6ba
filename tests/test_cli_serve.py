"""``fastattn serve``: a process, or several that share a port."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from support.command_line import assert_one_line
from support.folders import DATA, TINY
from support.processes import environment
from support.serving import PATIENCE, Client, reply, wait_until

from fastattn.cli import main
from fastattn.serve.processes import listen

CROSS = DATA / "cross" / "electra"


@contextmanager
def command(*arguments, **variables):
    """Run the command at a port that is free: the process, its first line, a client."""
    given = ["serve", "--port", 0, "--threads", 1, *arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastattn", *map(str, given)],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        found = re.search(r":(\d+)$", line.strip())
        assert found, process.stderr.read()
        yield process, line, Client(int(found[1]))
    finally:
        process.kill()
        process.communicate()


def end(process, number=signal.SIGTERM):
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert errors == ""
    return process.returncode


def test_serves_models_by_name():
    with command("--model", TINY, "--model", f"org/scorer={CROSS}") as (
        process,
        line,
        client,
    ):
        assert line.startswith("tiny_bert, org/scorer: http://127.0.0.1:")
        names = [item["id"] for item in client.get("/v1/models").body["data"]]
        assert names == ["tiny_bert", "org/scorer"]
        assert client.post("/v1/embeddings", {"input": "a"}).status == 200
        assert end(process) == -signal.SIGTERM


def test_ctrl_c_ends_it():
    with command("--model", TINY) as (process, _, client):
        assert client.get("/health").status == 200
        assert end(process, signal.SIGINT) == 128 + signal.SIGINT


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_lets_what_runs_be_finished(workers):
    arguments = "--model", TINY, "--workers", workers
    with command(*arguments) as (process, _, client):
        body = {"input": ["the cat and the sun " * 20] * 500, "encoding_format": "base64"}
        sent = [client.begin("/v1/embeddings", body) for _ in range(3)]

        def waiting():
            found = re.search(
                r"^fastattn_queue_tokens (\S+)$",
                client.get("/metrics").body.decode(),
                re.M,
            )
            return found and float(found[1]) > 0

        wait_until(waiting)
        process.send_signal(signal.SIGTERM)
        answers = [reply(each) for each in sent]
        assert [answer.status for answer in answers] == [200] * 3
        assert [len(answer.body["data"]) for answer in answers] == [500] * 3
        process.communicate(timeout=PATIENCE)
        assert process.returncode == -signal.SIGTERM
        with pytest.raises(ConnectionRefusedError):
            client.get("/health")


def workers_of(process):
    """Wait for both copies of a process."""

    def found():
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]

    wait_until(lambda: len(found()) == 2)
    return found()


def is_there(pid):
    """Whether a process runs: one that has ended may wait to be asked how."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_count_together():
    with command("--model", TINY, "--workers", 2) as (process, _, client):
        workers_of(process)
        for _ in range(20):
            assert client.post("/embed", {"inputs": "a"}).status == 200
        counted = b'fastattn_texts_total{model="tiny_bert"} 20.0'
        wait_until(lambda: counted in client.get("/metrics").body)
        assert end(process) == -signal.SIGTERM


def test_workers_end_with_the_process_they_are_copies_of():
    with command("--model", TINY, "--workers", 2) as (process, _, client):
        assert client.get("/health").status == 200
        workers = workers_of(process)
        process.kill()
        wait_until(lambda: not any(map(is_there, workers)))


def test_a_worker_that_is_killed_ends_all():
    with command("--model", TINY, "--workers", 2) as (process, _, client):
        assert client.get("/health").status == 200
        workers = workers_of(process)
        os.kill(workers[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE)
        said = "a process that answered requests ended without being told to"
        assert errors == f"fastattn: error: {said}\n"
        assert process.returncode == 2
        assert not any(map(is_there, workers))


def test_answers_go_out_at_once_and_wait_for_no_reader_for_ever():
    with (
        listen("127.0.0.1", 0, 2.5) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        # Otherwise a body waits 40 ms, until the client has said that its head is there.
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2500


def test_the_key_may_come_from_the_environment():
    with command("--model", TINY, FASTATTN_API_KEY="secret") as (process, _, client):
        assert client.get("/v1/models").status == 401
        right = {"Authorization": "Bearer secret"}
        assert client.get("/v1/models", **right).status == 200
        assert end(process) == -signal.SIGTERM


def test_limits_are_options():
    limits = "--max-texts", 1, "--max-characters", 3, "--max-body", 99
    with command("--model", TINY, *limits) as (process, _, client):
        for inputs in ["a", "b"], "abcd", "a" * 99:
            assert client.post("/embed", {"inputs": inputs}).status == 413
        assert client.post("/embed", {"inputs": "abc"}).status == 200
        assert end(process) == -signal.SIGTERM


@pytest.mark.parametrize(
    "arguments, problem",
    [
        (("--port", 70_000), "--port must be from 0 to 65535, got 70000"),
        (("--workers", 0), "--workers must be at least 1, got 0"),
        (("--threads", 0), "the number of threads must be"),
        (("--max-texts", 0), "--max-texts must be at least 1, got 0"),
        (("--api-key", ""), "api_key must have characters"),
        (("--model", "no/where"), "no/where"),
        (("--model", "a=no/where"), "no/where"),
        (("--model", TINY), "two models are called 'tiny_bert': NAME="),
        (("--model", DATA / "sparse" / "bert"), "holds a SparseEncoder"),
    ],
)
def test_what_is_wrong_is_one_line(capsys, arguments, problem):
    assert main(["serve", "--model", str(TINY), *map(str, arguments)]) == 2
    assert_one_line(capsys, problem)


def test_a_port_that_is_taken_is_one_line(capsys):
    with command("--model", TINY) as (process, _, client):
        assert main(["serve", "--model", str(TINY), "--port", str(client.port)]) == 2
        assert_one_line(capsys, f"error: 127.0.0.1:{client.port}: Address already in use\n")
        assert end(process) == -signal.SIGTERM


def test_says_what_to_install(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fastattn.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "--model", str(TINY)]) == 2
    assert_one_line(capsys, "uvicorn", "pip install 'fastattn[serve]'")

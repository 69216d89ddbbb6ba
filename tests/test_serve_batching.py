"""What waits, and what becomes of it when somebody goes away or the server ends."""

import asyncio
import socket
import struct
import threading

import numpy as np
import pytest
from support.serving import PATIENCE, Gate, reply, serving, wait_until

from fastattn.models.tokenization import Tokens
from fastattn.serve import Limits, endpoints
from fastattn.serve.batching import Batcher, Work
from fastattn.serve.metrics import Metrics


def text(length):
    ids = np.arange(length)
    return Tokens(ids, np.zeros_like(ids), False)


class Recorder:
    """Computes the lengths of texts; the first batch waits until it is told to go on."""

    def __init__(self):
        self.go, self.batches = threading.Event(), []

    def __call__(self, tokens):
        self.batches.append([len(text.ids) for text in tokens])
        assert self.go.wait(PATIENCE)
        return np.array([[len(text.ids)] for text in tokens], np.float32)


def batches_of(jobs, **limits):
    """Submit jobs, lists of lengths, while one is computed: the batches they are in."""
    record = Recorder()

    async def compute():
        batcher = Batcher(Limits(**limits), Metrics())
        begun = batcher.submit(Work([text(1)], record))
        await asyncio.to_thread(wait_until, lambda: record.batches)
        waiting = [batcher.submit(Work([*map(text, job)], record)) for job in jobs]
        assert batcher.waiting == 1 + sum(max(n, 1) for job in jobs for n in job)
        record.go.set()
        results = await asyncio.gather(begun, *waiting)
        await asyncio.to_thread(batcher.close)
        assert batcher.waiting == 0
        return [result[:, 0].tolist() for result in results[1:]]

    assert asyncio.run(compute()) == [list(job) for job in jobs]
    return record.batches[1:]


def test_what_came_in_while_a_batch_ran_is_the_next_batch():
    assert batches_of([[2], [3, 4], [5]]) == [[2, 3, 4, 5]]


def test_a_batch_has_so_many_tokens_or_one_text():
    assert batches_of([[6], [6], [20], [3]], batch_tokens=10) == [[6, 3], [6], [20]]
    assert batches_of([[0, 0, 0, 0]], batch_tokens=3) == [[0, 0, 0], [0]]


def test_a_long_request_lets_others_pass():
    batches = batches_of([[5] * 6, [1], [2]], batch_tokens=10)
    assert batches == [[5, 5], [1, 2, 5], [5, 5], [5]]


def test_texts_of_other_options_have_batches_of_their_own():
    record, other = Recorder(), Recorder()
    other.go.set()

    async def compute():
        batcher = Batcher(Limits(), Metrics())
        begun = batcher.submit(Work([text(1)], record))
        await asyncio.to_thread(wait_until, lambda: record.batches)
        ways = other, record, other, record
        waiting = [batcher.submit(Work([text(n)], way)) for n, way in enumerate(ways, 2)]
        record.go.set()
        await asyncio.gather(begun, *waiting)
        await asyncio.to_thread(batcher.close)

    asyncio.run(compute())
    assert (record.batches, other.batches) == ([[1], [3, 5]], [[2, 4]])


# [CLS] the cat [SEP]
TEXT, TOKENS = "the cat", 4


@pytest.fixture
def gated(model, monkeypatch):
    """Serve the tiny model; its first batch waits until the gate is opened."""
    with serving({"tiny": model}, queue_tokens=2 * TOKENS + 1) as server:
        gate = Gate(monkeypatch, model)
        yield server, gate
        gate.open()


def begin(server):
    return server.client.begin("/v1/embeddings", {"input": TEXT})


def fill(server, gate):
    """Let a request be computed, and another wait."""
    running = begin(server)
    wait_until(lambda: gate.batches)
    waiting = begin(server)
    wait_until(lambda: server.service.batcher.waiting == 2 * TOKENS)
    return running, waiting


def test_a_full_queue_is_a_429(gated):
    server, gate = gated
    running, waiting = fill(server, gate)
    more = begin(server)
    wait_until(lambda: server.service.batcher.waiting == 3 * TOKENS)
    refused = server.client.post("/v1/embeddings", {"input": TEXT})
    assert refused.status == 429
    assert refused.body["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    gate.open()
    assert [reply(each).status for each in (running, waiting, more)] == [200] * 3
    assert gate.batches == [1, 2]
    assert server.client.post("/v1/embeddings", {"input": TEXT}).status == 200


def test_a_request_is_taken_as_a_whole(model):
    # Its query fills the queue before its documents come to it.
    with serving({"tiny": model}, queue_tokens=TOKENS) as server:
        answer = server.client.post("/rerank", {"query": TEXT, "documents": [TEXT]})
        assert answer.status == 200


def test_who_goes_away_gives_the_place_back(gated):
    server, gate = gated
    running, waiting = fill(server, gate)
    waiting.close()
    wait_until(lambda: server.service.batcher.waiting == TOKENS)
    wait_until(lambda: len(server.uvicorn.server_state.tasks) == 1)
    gate.open()
    assert reply(running).status == 200
    assert gate.batches == [1]
    gone = 'fastattn_requests_total{path="/v1/embeddings",status="499"} 1.0'
    assert gone in server.client.get("/metrics").body.decode()


def test_who_goes_away_while_it_is_computed_harms_nobody(gated):
    server, gate = gated
    running, waiting = fill(server, gate)
    running.close()
    wait_until(lambda: len(server.uvicorn.server_state.tasks) == 1)
    gate.open()
    assert reply(waiting).status == 200
    wait_until(lambda: server.service.held == 0)


def test_who_goes_away_before_a_long_answer_is_no_matter_for_the_log(
    model, monkeypatch, caplog
):
    gate, respond = Gate(monkeypatch, model), endpoints.respond
    with serving({"tiny": model}) as server:
        connection = server.client.begin("/v1/embeddings", {"input": ["a"] * 2000})

        async def leave(*arguments):
            # The loop has no turn to see it in before the answer is written.
            now = struct.pack("ii", 1, 0)
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            connection.close()
            await respond(*arguments)

        monkeypatch.setattr(endpoints, "respond", leave)
        gate.open()
        wait_until(lambda: connection.sock is None)
        wait_until(lambda: server.service.held == 0)
    assert caplog.text == ""


def test_what_runs_is_finished_when_the_server_ends(gated):
    server, gate = gated
    running, waiting = fill(server, gate)
    server.uvicorn.should_exit = True
    wait_until(lambda: not server.uvicorn.servers[0].is_serving())
    with pytest.raises(ConnectionRefusedError):
        server.client.get("/health")
    gate.open()
    answers = [reply(running), reply(waiting)]
    assert [answer.status for answer in answers] == [200, 200]


def test_nothing_new_is_taken_while_the_server_ends(gated):
    server, _ = gated
    server.service.closing = lambda: True
    answer = server.client.post("/v1/embeddings", {"input": "a"})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert server.client.get("/health").status == 503


def test_an_answer_that_nobody_reads_counts_as_memory(model):
    with serving({"tiny": model}, texts=20_000) as server:
        connection = server.client.begin("/v1/embeddings", {"input": [[1]] * 20_000})
        wait_until(lambda: server.service.held > 10 * 20_000 * model.dim // 2)
        wait_until(lambda: server.service.batcher.waiting == 0)
        assert server.client.post("/embed", {"inputs": "a"}).status == 200
        assert server.service.held > 10 * 20_000 * model.dim // 2
        connection.close()
        wait_until(lambda: server.service.held == 0)

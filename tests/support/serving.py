"""A server in a thread of the test's process, and a client of the standard library."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from fastattn.serve import Limits, create_app
from fastattn.serve.processes import listen, make_server

JSON = {"Content-Type": "application/json"}

# What nothing takes as long as, unless it hangs.
PATIENCE = 30


class Reply(NamedTuple):
    status: int
    body: Any
    headers: http.client.HTTPMessage


class Client:
    """Asks a server; each request has a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, method, path, body=None, headers=None, **options):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request(method, path, body, headers or {}, **options)
        return connection

    def get(self, path, **headers) -> Reply:
        return reply(self.send("GET", path, headers=headers))

    def post(self, path, body, **headers) -> Reply:
        return reply(self.begin(path, body, **headers))

    def begin(self, path, body, **headers) -> http.client.HTTPConnection:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", path, content, JSON | headers)


def reply(connection: http.client.HTTPConnection) -> Reply:
    """Read the answer to a request that was sent."""
    response = connection.getresponse()
    content = response.read()
    connection.close()
    is_json = response.headers["content-type"] == "application/json"
    return Reply(
        response.status, json.loads(content) if is_json else content, response.headers
    )


class Server(NamedTuple):
    client: Client
    service: Any
    uvicorn: Any


@contextmanager
def serving(models, **options) -> Iterator[Server]:
    """Serve models; keywords are those of `create_app`, or limits."""
    limits = {k: options.pop(k) for k in list(options) if k in Limits.__annotations__}
    app = create_app(models, limits=Limits(**limits), num_threads=1, **options)
    server, listener = make_server(app), listen("127.0.0.1", 0, PATIENCE)
    port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield Server(Client(port), app.state.service, server)
    finally:
        server.should_exit = True
        thread.join()


def wait_until(true) -> None:
    """Wait for something that must become true."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


class Gate:
    """Stands before a model's computation, and lets nothing through until it is opened."""

    def __init__(self, monkeypatch, model) -> None:
        self.batches: list[int] = []
        self._open = threading.Event()
        compute = model._compute

        def wait(tokens, *rest):
            self.batches.append(len(tokens))
            assert self._open.wait(PATIENCE)
            return compute(tokens, *rest)

        monkeypatch.setattr(model, "_compute", wait)

    def open(self) -> None:
        self._open.set()

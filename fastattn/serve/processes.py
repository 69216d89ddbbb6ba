"""From an application to processes that share a port."""

import gc
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

import uvicorn
from starlette.applications import Starlette

from .metrics import SHARED_FOLDER

# What tells a server to end.
ENDING = signal.SIGINT, signal.SIGTERM

# How long requests that run may take when the server is told to end.
CLOSING_SECONDS = 120

# How long a connection is kept that nothing comes over: longer than clients keep theirs, or
# some would send a request over one that has just been closed.
KEEP_ALIVE_SECONDS = 75

# Connections that wait until they are accepted.
BACKLOG = 2048


def serve(
    app: Starlette,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    unread_seconds: float = 30.0,
    ready: Callable[[str], Any] = print,
) -> None:
    """Serve an application until SIGTERM or Ctrl-C; what runs then is finished.

    Parameters
    ----------
    app : Starlette
        What :func:`create_app` gives.
    host : str, default "127.0.0.1"
        The address to listen at.
    port : int, default 8000
        The port; 0 for one that is free.
    workers : int, default 1
        Processes that answer; more than one are copies of this one, which share the memory
        of the models, on Linux.
    unread_seconds : float, default 30
        How long a client may leave an answer unread.
    ready : callable, default print
        Is told the URL when connections are taken.

    Raises
    ------
    OSError
        If the address or the port cannot be had.
    RuntimeError
        If a process ends that was not told to.
    ValueError
        If there are to be copies of this process, and it has threads, or is not on Linux.

    Examples
    --------
    >>> from fastattn.serve import serve
    >>> serve(create_app(models), port=8080)  # doctest: +SKIP
    """
    if workers > 1 and (sys.platform != "linux" or threading.active_count() > 1):
        raise ValueError(
            f"workers is {workers}: more than one are copies of a process, on Linux, that "
            "has no threads yet"
        )
    listener = listen(host, port, unread_seconds)
    allow_connections()
    shown = f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{listener.getsockname()[1]}")
    if workers == 1:
        make_server(app).run(sockets=[listener])
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ[SHARED_FOLDER] = folder
        told = run_copies(app, listener, workers)
    if told is None:
        raise RuntimeError("a process that answered requests ended without being told to")
    signal.raise_signal(told)


def listen(host: str, port: int, unread_seconds: float) -> socket.socket:
    """Bind a port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        # create_server puts the address, a tuple, into the reason.
        reason = str(error.strerror).partition(" (while attempting")[0]
        raise OSError(error.errno, reason, f"{host}:{port}") from None
    # What is accepted inherits these. Without the first, the body of an answer waits until
    # its head has arrived.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        milliseconds = int(1000 * unread_seconds)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return listener


def allow_connections() -> None:
    """Let this process have as many connections as the system lets it have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def make_server(app: Starlette) -> uvicorn.Server:
    """Make what answers for an application that `create_app` made."""
    # Uvicorn with httptools reads a head of any length, and loses the body of a request
    # that offers HTTP/2, as those of Java's own client do.
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    server = uvicorn.Server(config)
    app.state.service.closing = lambda: server.should_exit
    return server


def run_copies(app: Starlette, listener: socket.socket, workers: int) -> int | None:
    """Answer in copies of this process until one ends, or a signal says to: which."""
    gc.collect()
    gc.freeze()  # what is there is looked at no more, so that its memory stays shared
    context: Any = multiprocessing.get_context("fork")
    copies = [
        context.Process(target=run_copy, args=(app, listener)) for _ in range(workers)
    ]
    for copy in copies:
        copy.start()
    listener.close()
    told: list[int] = []

    def end(number: int, frame: Any) -> None:
        told.append(number)
        for copy in copies:
            copy.terminate()

    before = {number: signal.signal(number, end) for number in ENDING}
    wait([copy.sentinel for copy in copies])
    for copy in copies:
        copy.terminate()
        copy.join()
    for number, handler in before.items():
        signal.signal(number, handler)
    return told[0] if told else None


def run_copy(app: Starlette, listener: socket.socket) -> None:
    """Answer in a copy, as long as the process is there that it is a copy of."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt):
        make_server(app).run(sockets=[listener])


def end_with_parent() -> None:
    """Let this process end when the one that it is a copy of is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)

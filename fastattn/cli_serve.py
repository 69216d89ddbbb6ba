"""The command line's server."""

import argparse
import os
from typing import Any

from . import num_threads
from ._threads import thread_count
from .arrays import as_index
from .cli_shared import DEFAULT_MODEL, add_computing, computing, load_for

MOST_PORT = 2**16 - 1

KEY_VARIABLE = "FASTATTN_API_KEY"

# Options that are limits, what they are called there, and what they say.
LIMITS = {
    "--batch-tokens": ("batch_tokens", "tokens computed at a time"),
    "--queue-tokens": ("queue_tokens", "tokens that may wait"),
    "--max-texts": ("texts", "texts of a request"),
    "--max-characters": ("characters", "characters of a text"),
    "--max-body": ("body_bytes", "bytes of a request"),
}


def add_serve_options(serve: argparse.ArgumentParser) -> None:
    """Add the options of a server."""
    add = serve.add_argument
    add(
        "--model",
        action="append",
        metavar="[NAME=]MODEL",
        help=f"a folder or a name, and how requests call it; several if repeated "
        f"[{DEFAULT_MODEL}]",
    )
    add_computing(serve, "float32")
    add("--host", default="127.0.0.1", help="the address to listen at [%(default)s]")
    add("--port", type=int, default=8000, help="0 is one that is free [%(default)s]")
    add(
        "--api-key",
        metavar="KEY",
        default=os.environ.get(KEY_VARIABLE),
        help=f"what requests must have; better in the environment, as {KEY_VARIABLE}",
    )
    add("--workers", type=int, default=1, metavar="N", help="processes [%(default)s]")
    add("--threads", type=int, metavar="N", help="threads to compute with")
    for option, (field, what) in LIMITS.items():
        add(option, dest=field, type=int, metavar="N", help=what)


def run_serve(options: argparse.Namespace) -> None:
    """Serve models until told to end."""
    try:
        from .serve import Limits, create_app, serve
    except ImportError as error:
        message = f"a server needs the package {error.name}: pip install 'fastattn[serve]'"
        raise ImportError(message) from error
    as_index(options.port, "--port", 0, MOST_PORT)
    as_index(options.workers, "--workers", 1)
    thread_count(options.threads)
    given = {
        field: as_index(getattr(options, field), option, 1)
        for option, (field, _) in LIMITS.items()
        if getattr(options, field) is not None
    }
    limits = Limits(**given)
    with num_threads(1):  # workers are copies of a process that has no other thread
        models = read_models(options.model or [DEFAULT_MODEL], computing(options))
    app = create_app(
        models, limits=limits, api_key=options.api_key, num_threads=options.threads
    )
    serve(
        app,
        host=options.host,
        port=options.port,
        workers=options.workers,
        unread_seconds=limits.body_seconds,
        ready=lambda url: print(f"{', '.join(models)}: {url}", flush=True),
    )


def read_models(given: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Load models; each is given as what `load` takes, or as NAME=that."""
    models: dict[str, Any] = {}
    for each in given:
        name, has_name, place = each.partition("=")
        if not has_name or os.path.exists(each):
            place, name = each, os.path.basename(each.rstrip("/"))
            name = name if os.path.isdir(each) else each
        if name in models:
            raise ValueError(f"--model: two models are called {name!r}: NAME={place}")
        models[name] = load_for("serve", place, **settings)
    return models

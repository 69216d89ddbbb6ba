"""The paths of the server."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..cross_encoder import CrossEncoder
from ..text import TextEncoder
from . import bodies, inference, openai, reranking
from .endpoints import Endpoint, Get, Health, Metrics, Post, refuse_path
from .limits import Limits
from .problems import as_inference, as_openai
from .service import Service

# What stands before the path where a request names all of a URL, as one to a proxy does.
BEFORE_PATH = re.compile("https?://[^/]*", re.IGNORECASE)


def create_app(
    models: Mapping[str, TextEncoder | CrossEncoder],
    *,
    limits: Limits | None = None,
    api_key: str | None = None,
    num_threads: int | None = None,
) -> Starlette:
    """Make the application that ``fastattn serve`` runs, for any ASGI server.

    Parameters
    ----------
    models : mapping of str to TextEncoder or CrossEncoder
        What is served, by the names that requests call them by.
    limits : Limits, optional
        How much is taken before a request is refused.
    api_key : str, optional
        What requests must have as ``Authorization: Bearer``; all are answered unless given.
    num_threads : int, optional
        Threads to compute with; unless given, :func:`fastattn.get_num_threads`.

    Returns
    -------
    starlette.applications.Starlette
        It has a thread that computes, which lives as long as the application runs.

    Raises
    ------
    TypeError
        If a model is something else.
    ValueError
        If there is no model, or the key is empty or not of ASCII.

    Examples
    --------
    >>> import fastattn as fa
    >>> from fastattn.serve import create_app
    >>> app = create_app({"minilm": fa.load("all-MiniLM-L6-v2")})
    >>> app.routes[0].path
    '/v1/embeddings'
    """
    service = Service(models, limits or Limits(), api_key, num_threads)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.batcher.close)

    app = Starlette(
        routes=[Route(each.path, each, methods=[each.method]) for each in paths(service)],
        middleware=[Middleware(PathAlone)],
        lifespan=lifespan,
        exception_handlers={404: refuse_path, 405: refuse_path},
    )
    app.state.service = service
    return app


class PathAlone:
    """Lets a request that names all of a URL be one for its path, as HTTP/1.1 has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        if scope["type"] == "http" and (before := BEFORE_PATH.match(scope["path"])):
            scope["path"] = scope["path"][before.end() :] or "/"
        await self._app(scope, receive, send)


def paths(service: Service) -> Iterator[Endpoint]:
    """Make all paths."""
    path = "/v1/embeddings"
    yield Post(path, service, openai.embeddings, bodies.Embeddings, as_openai)
    yield Get("/v1/models", service, openai.models, as_openai)
    yield Get("/v1/models/{name:path}", service, openai.model, as_openai)
    for path in "/rerank", "/v1/rerank", "/v2/rerank":
        yield Post(path, service, reranking.rerank, bodies.Rerank, as_inference)
    yield Post("/embed", service, inference.embed, bodies.Embed, as_inference)
    yield Post("/predict", service, inference.predict, bodies.Predict, as_inference)
    yield Get("/info", service, inference.info, as_inference)
    yield Metrics("/metrics", service, Service.measured, as_inference)
    yield Health("/health", service, as_inference)

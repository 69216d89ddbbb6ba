"""What happens to every request: the key, the limits, the answer in its form."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .bodies import Body
from .problems import Form, Problem, as_inference, as_openai
from .service import SHORT_BODY, Answer, Held, Plan, Service, as_json, aside

LOG = logging.getLogger("fastattn.serve")

JSON = "application/json"

# An answer is handed over in parts, each when the client has taken most of those before.
PART_BYTES = 2**16

# What is counted for a client that went away.
GONE = 499

Sent = TypeVar("Sent", bound=Body)


class Endpoint:
    """A path, as an ASGI application."""

    method = "GET"
    media_type = JSON

    def __init__(self, path: str, service: Service, form: Form) -> None:
        self.path = path
        self.service = service
        self.form = form

    async def answer(self, request: Request, held: Held) -> Answer:
        """Do what is asked for, or raise a Problem."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        start = time.perf_counter()
        with self.service.holding() as held:
            status = 200
            try:
                answer = await self.answer(Request(scope, receive), held)
                held.add(len(answer.content))
                await respond(send, status, self.media_type, answer)
            except ClientDisconnect:
                status = GONE
            except Problem as problem:
                status = problem.status
                await refuse(send, problem, self.form)
            except Exception:
                LOG.exception("%s failed", self.path)
                status = 500
                await refuse(send, Problem(status, "the server failed"), self.form)
        seconds = time.perf_counter() - start
        self.service.metrics.requests.labels(self.path, status).inc()
        self.service.metrics.seconds.labels(self.path).observe(seconds)


class Get(Endpoint):
    """A path that tells something, to those who know the key."""

    def __init__(
        self, path: str, service: Service, tell: Callable[..., bytes], form: Form
    ) -> None:
        super().__init__(path, service, form)
        self._tell = tell

    async def answer(self, request: Request, held: Held) -> Answer:
        """Tell it."""
        self.service.check_key(request.headers.get("authorization", ""))
        return Answer(self._tell(self.service, **request.path_params), {})


class Metrics(Get):
    """What Prometheus reads."""

    media_type = "text/plain; version=0.0.4; charset=utf-8"


class Health(Endpoint):
    """Whether requests are taken, for everybody."""

    async def answer(self, request: Request, held: Held) -> Answer:
        """Say so."""
        self.service.check_open()
        return Answer(b"{}", {})


class Post(Endpoint):
    """A path that computes something of a body of JSON."""

    method = "POST"

    def __init__(
        self,
        path: str,
        service: Service,
        plan: Callable[[Service, Sent], Plan],
        kind: type[Sent],
        form: Form,
    ) -> None:
        super().__init__(path, service, form)
        self._plan = plan
        self._decoder = msgspec.json.Decoder(kind)

    async def answer(self, request: Request, held: Held) -> Answer:
        """Check, read, and compute; what can be refused early is."""
        self.service.check_key(request.headers.get("authorization", ""))
        self.service.check_open()
        self.service.check_room()
        body = await self._read(request, held)
        plan = await aside(len(body) <= SHORT_BODY, lambda: self._plan_of(body))
        return await self.service.carry_out(plan, request.receive)

    def _plan_of(self, body: bytearray) -> Plan:
        """Find out what is asked for, and tokenize it."""
        try:
            given = self._decoder.decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            message = f"the body is not what is expected: {error}"
            raise Problem(400, message) from error
        return self._plan(self.service, given)

    async def _read(self, request: Request, held: Held) -> bytearray:
        """Read the body, no more of it than is allowed."""
        # What a page in a browser may send unasked to any server is of other types.
        headers = request.headers
        kind = headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != JSON:
            got = repr(kind) if kind else "none"
            message = f"send JSON with the header Content-Type: {JSON}, got {got}"
            raise Problem(415, message)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem(415, "the body must not be compressed: send no Content-Encoding")
        limits, body = self.service.limits, bytearray()
        size = headers.get("content-length", "0")
        try:
            async with asyncio.timeout(limits.body_seconds):
                chunks = request.stream()
                while len(body) <= limits.body_bytes >= int(size):
                    chunk = await anext(chunks, None)
                    if chunk is None:
                        return body
                    held.take(len(chunk))
                    body += chunk
        except TimeoutError:
            message = f"the body did not arrive in {limits.body_seconds:g} s"
            raise Problem(408, message) from None
        raise Problem(413, f"the body has more than {limits.body_bytes} bytes")


async def refuse(send: Send, problem: Problem, form: Form) -> None:
    """Answer with an error."""
    headers = {}
    if problem.retry_after is not None:
        headers["retry-after"] = str(problem.retry_after)
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    await respond(send, problem.status, JSON, Answer(as_json(form(problem)), headers))


async def respond(send: Send, status: int, media_type: str, answer: Answer) -> None:
    """Send an answer, no faster than the client takes it."""
    content = answer.content
    headers = {"content-type": media_type, "content-length": str(len(content))}
    written = [(k.encode(), v.encode()) for k, v in (headers | answer.headers).items()]
    await send({"type": "http.response.start", "status": status, "headers": written})
    for start in range(0, max(len(content), 1), PART_BYTES):
        end = start + PART_BYTES
        part, more = content[start:end], end < len(content)
        await send({"type": "http.response.body", "body": part, "more_body": more})
        if more:  # let the loop see whether the client has gone away
            await asyncio.sleep(0)


async def refuse_path(request: Request, error: Exception) -> Response:
    """Answer for a path or a method that there is not."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    form = as_openai if request.url.path.startswith("/v1/") else as_inference
    content = as_json(form(Problem(error.status_code, message)))
    return Response(content, error.status_code, error.headers, JSON)

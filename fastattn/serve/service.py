"""What all paths share: models by name, limits, the queue, the key, what is counted."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias, TypeVar

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ..cross_encoder import CrossEncoder
from ..models.tokenization import check_unicode
from ..text import TextEncoder
from .batching import Batcher, Work
from .limits import Limits
from .metrics import Metrics
from .problems import Problem
from .served import Embedder, Scorer

Served: TypeAlias = Embedder | Scorer
Result = TypeVar("Result")

# Bytes of a body that is read, and of rows that are written, in about the time in which
# a thread would begin to.
SHORT_BODY, SHORT_ROWS = 2**11, 2**14


class Answer(NamedTuple):
    """What is sent back.

    Attributes
    ----------
    content : bytes
        JSON.
    headers : dict of str
        What stands beside it.
    """

    content: bytes
    headers: dict[str, str]


class Held:
    """Bytes of bodies and answers that one request keeps in memory."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self.size = 0

    def add(self, size: int) -> None:
        """Keep so many more."""
        self.size += size
        self._service.held += size

    def take(self, size: int) -> None:
        """Keep so many more, if there is room for them."""
        self.add(size)
        self._service.check_held()


class Service:
    """A server without its paths.

    Attributes
    ----------
    metrics, batcher : Metrics, Batcher
        What counts and what computes, from `start` on.
    held : int
        Bytes of bodies and answers in memory.
    closing : callable
        Tells whether the server is about to end.
    """

    metrics: Metrics
    batcher: Batcher

    def __init__(
        self,
        models: Mapping[str, TextEncoder | CrossEncoder],
        limits: Limits,
        api_key: str | None,
        num_threads: int | None,
    ) -> None:
        self.models = {
            name: as_served(name, model, num_threads) for name, model in models.items()
        }
        if not self.models:
            raise ValueError("models: there must be one at least")
        if api_key is not None and not (api_key and api_key.isascii()):
            raise ValueError("api_key must have characters, all of them of ASCII")
        self.limits = limits
        self.held = 0
        self.closing: Callable[[], bool] = lambda: False
        self._expected = None if api_key is None else digest(f"Bearer {api_key}")

    def start(self) -> None:
        """Begin to compute, for the loop that runs."""
        self.metrics = Metrics()
        self.batcher = Batcher(self.limits, self.metrics)

    def check_key(self, authorization: str) -> None:
        """Refuse who does not know the key, in a time that says nothing about it."""
        expected = self._expected
        if expected and not hmac.compare_digest(digest(authorization), expected):
            raise Problem(401, "the API key is missing or wrong", code="invalid_api_key")

    def check_open(self) -> None:
        """Refuse new work while the server ends."""
        if self.closing():
            raise Problem(503, "the server is about to end", retry_after=1)

    def check_room(self) -> None:
        """Refuse new work where there is no room for it."""
        self.batcher.check_room()
        self.check_held()

    def check_held(self) -> None:
        """Refuse what takes memory where too much of it is taken."""
        if self.held >= self.limits.held_bytes:
            message = f"{self.held} bytes of requests and answers are in memory"
            raise Problem(429, message, code="rate_limit_exceeded", retry_after=1)

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """Count the bytes that a request keeps, until it is answered."""
        held = Held(self)
        try:
            yield held
        finally:
            held.add(-held.size)

    def named(self, name: str) -> Served:
        """Find a model by its name."""
        if name not in self.models:
            message = f"there is no model {name!r}: {', '.join(self.models)}"
            raise Problem(404, message, param="model", code="model_not_found")
        return self.models[name]

    def find(self, name: str | None, *kinds: type[Served]) -> Any:
        """Find a model by its name, or the only one of the first kind that there is."""
        found = list(self.models.values()) if name is None else [self.named(name)]
        for kind in kinds:
            fit = [model for model in found if isinstance(model, kind)]
            if len(fit) == 1:
                return fit[0]
            if fit:
                names = ", ".join(model.name for model in fit)
                raise Problem(400, f"model must be one of {names}", param="model")
        what = " or ".join(kind.kind for kind in kinds)
        names = ", ".join(model.name for model in found)
        raise Problem(400, f"{names}: makes no {what}", param="model")

    def check_texts(self, texts: list[Any], name: str) -> None:
        """Refuse none, too many, and texts that are too long or no Unicode."""
        if not texts:
            raise Problem(400, f"{name} must not be empty", param=name)
        if len(texts) > self.limits.texts:
            message = (
                f"{name} has {len(texts)} texts: at most {self.limits.texts} are taken"
            )
            raise Problem(413, message, param=name)
        for index, text in enumerate(texts):
            if isinstance(text, str):
                self.check_text(text, f"{name}[{index}]")

    def check_text(self, text: str, name: str) -> None:
        """Refuse a text that is too long or no Unicode."""
        most = self.limits.characters
        if len(text) > most:
            message = f"{name} has {len(text)} characters: at most {most} are taken"
            raise Problem(413, message, param=name)
        with refusing():
            check_unicode(text, name)

    def measured(self) -> bytes:
        """Give what was counted."""
        return self.metrics.text()

    async def carry_out(self, plan: "Plan", receive: Receive) -> Answer:
        """Let everything be computed that a request asks for, and answer it."""
        self.batcher.check_room()
        waiting = [self.batcher.submit(work) for work in plan.works]
        # When the body has been read, what there is to receive is that the client has gone.
        gone = asyncio.ensure_future(receive())
        gone.add_done_callback(lambda _: [each.cancel() for each in waiting])
        try:
            rows = [await each for each in waiting]
        except asyncio.CancelledError:
            if gone.done():
                raise ClientDisconnect from None
            raise
        finally:
            gone.cancel()
        usage, name = Usage.of(plan.works), plan.model.name
        self.metrics.texts.labels(name).inc(sum(len(work.tokens) for work in plan.works))
        self.metrics.tokens.labels(name).inc(usage.tokens)
        self.metrics.truncated.labels(name).inc(usage.truncated)
        is_short = sum(part.nbytes for part in rows) <= SHORT_ROWS
        content = await aside(is_short, lambda: as_json(plan.write(usage, *rows)))
        return Answer(content, usage.headers())


class Plan(NamedTuple):
    """What a request asks for.

    Attributes
    ----------
    model : Embedder or Scorer
        What computes it.
    works : tuple of Work
        What is computed.
    write : callable
        Makes what is sent of the usage and of the rows of each work.
    """

    model: Served
    works: tuple[Work, ...]
    write: Callable[..., Any]


class Usage(NamedTuple):
    """How many tokens were computed, and how many texts were cut."""

    tokens: int
    truncated: int

    @classmethod
    def of(cls, works: Iterable[Work]) -> "Usage":
        """Count those of several."""
        texts = [tokens for work in works for tokens in work.tokens]
        return cls(sum(len(t.ids) for t in texts), sum(t.cut for t in texts))

    def fields(self) -> dict[str, int]:
        """Give the fields of an answer in OpenAI's form."""
        return {
            "prompt_tokens": self.tokens,
            "total_tokens": self.tokens,
            "truncated_texts": self.truncated,
        }

    def headers(self) -> dict[str, str]:
        """Give the headers of an answer."""
        return {
            "x-compute-tokens": str(self.tokens),
            "x-truncated-texts": str(self.truncated),
        }


def digest(authorization: str) -> bytes:
    """Hash what requests have, whose length tells nothing then."""
    return hashlib.sha256(authorization.encode("latin-1")).digest()


def as_served(name: str, model: Any, num_threads: int | None) -> Served:
    """Say what a model can do."""
    if isinstance(model, TextEncoder):
        return Embedder(name, model, num_threads)
    if isinstance(model, CrossEncoder):
        return Scorer(name, model, num_threads)
    raise TypeError(
        f"models[{name!r}] must be a TextEncoder or a CrossEncoder, got "
        f"{type(model).__name__}"
    )


@contextmanager
def refusing() -> Iterator[None]:
    """Make refusals of what the models refuse."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise Problem(400, str(error)) from error


async def aside(is_short: bool, do: Callable[[], Result]) -> Result:
    """Do something, beside the loop unless it is short."""
    return do() if is_short else await asyncio.to_thread(do)


def as_json(value: Any) -> bytes:
    """Write JSON; rows of arrays become lists of numbers that have the same bits."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)

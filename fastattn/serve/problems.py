"""What a server refuses, and in which form it says so."""

from collections.abc import Callable
from typing import Any

# What a message has of one that repeats much of what was sent.
START, END = 300, 200

# Statuses -> what OpenAI and text-embeddings-inference call such errors.
INVALID = "invalid_request_error", "Validation"
KINDS = {
    429: ("rate_limit_error", "Overloaded"),
    500: ("server_error", "Backend"),
    503: ("server_error", "Unhealthy"),
}


class Problem(Exception):
    """An answer that is an error.

    Attributes
    ----------
    status : int
        The status of HTTP.
    message : str
        What is wrong, in the words of who asked; the middle of a long one is left out.
    param : str or None
        The field that it is about.
    code : str or None
        What OpenAI calls this very error.
    retry_after : int or None
        Seconds after which it may be gone.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        if len(message) > START + END:
            message = f"{message[:START]} ... {message[-END:]}"
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after


Form = Callable[[Problem], dict[str, Any]]


def as_openai(problem: Problem) -> dict[str, Any]:
    """Say it as OpenAI does."""
    kind, _ = KINDS.get(problem.status, INVALID)
    error = {"message": problem.message, "type": kind}
    return {"error": error | {"param": problem.param, "code": problem.code}}


def as_inference(problem: Problem) -> dict[str, Any]:
    """Say it as text-embeddings-inference does, and, in `message`, as Cohere does."""
    _, kind = KINDS.get(problem.status, INVALID)
    message = problem.message
    return {"error": message, "error_type": kind, "message": message}

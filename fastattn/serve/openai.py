"""OpenAI's paths: ``/v1/embeddings`` and ``/v1/models``."""

import base64
from typing import Any

from numpy import float32
from numpy.typing import NDArray

from .batching import Rows, Work
from .bodies import Embeddings, Inputs
from .problems import Problem
from .served import Embedder
from .service import Plan, Service, Usage, as_json, refusing


def embeddings(service: Service, body: Embeddings) -> Plan:
    """Give the vectors of texts."""
    model = service.find(body.model, Embedder)
    work = embedding_work(
        service,
        model,
        body.input,
        "input",
        prompt_name=body.prompt_name,
        dimensions=body.dimensions,
    )
    written = as_base64 if body.encoding_format == "base64" else as_given

    def write(usage: Usage, rows: Rows) -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": index, "embedding": written(row)}
            for index, row in enumerate(rows)
        ]
        answer = {"object": "list", "data": data, "model": model.name}
        return answer | {"usage": usage.fields()}

    return Plan(model, (work,), write)


def embedding_work(
    service: Service,
    model: Embedder,
    given: Inputs,
    name: str,
    *,
    prompt_name: str | None,
    **options: Any,
) -> Work:
    """Make work of a text, texts, the token ids of a text, or those of several."""
    texts: list[Any] = [given] if isinstance(given, str) else given
    if texts and all(isinstance(item, int) for item in texts):
        texts = [texts]
    service.check_texts(texts, name)
    kinds = set(map(type, texts))
    if kinds == {str}:
        with refusing():
            return model.texts(texts, prompt_name=prompt_name, **options)
    if kinds != {list}:
        message = f"{name} must be texts, or lists of token ids, not some of each"
        raise Problem(400, message, param=name)
    if prompt_name is not None:
        message = "prompt_name is about texts, and token ids stand as they are"
        raise Problem(400, message, param="prompt_name")
    with refusing():
        return model.ids(texts, **options)


def as_given(row: NDArray[float32]) -> NDArray[float32]:
    """Leave a vector to who writes JSON."""
    return row


def as_base64(row: NDArray[float32]) -> str:
    """Write the bytes of a vector, the lowest of each number first."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def models(service: Service) -> bytes:
    """List the models."""
    data = [about(name) for name in service.models]
    return as_json({"object": "list", "data": data})


def model(service: Service, name: str) -> bytes:
    """Describe a model."""
    return as_json(about(service.named(name).name))


def about(name: str) -> dict[str, Any]:
    """Give the fields of a model."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "fastattn"}

"""text-embeddings-inference's paths: ``/embed``, ``/predict`` and ``/info``."""

from typing import Any

from .. import __version__
from .batching import Rows, Work
from .bodies import Embed, Predict, Truncation
from .openai import embedding_work
from .problems import Problem
from .served import Embedder, Pair, Scorer
from .service import Plan, Served, Service, Usage, as_json, refusing


def embed(service: Service, body: Embed) -> Plan:
    """Give the vectors of texts, of unit length unless told otherwise."""
    model = service.find(body.model, Embedder)
    check_direction(model, body)
    work = embedding_work(
        service,
        model,
        body.inputs,
        "inputs",
        prompt_name=body.prompt_name,
        normalize=body.normalize is not False,
        dimensions=body.dimensions,
    )
    check_cut(model, body, work)
    return Plan(model, (work,), lambda usage, rows: rows)


def predict(service: Service, body: Predict) -> Plan:
    """Give the labels of texts, or of pairs, with their scores, the best first."""
    model = service.find(body.model, Scorer)
    check_direction(model, body)
    single, items = as_sequences(body.inputs)
    service.check_texts(items, "inputs")
    for index, item in enumerate(items):
        for text in item:
            service.check_text(text, f"inputs[{index}]")
    labels = model.model.labels
    activation = "sigmoid" if len(labels) == 1 else "softmax"
    if body.raw_scores:
        activation = "identity"
    with refusing():
        if len(items[0]) == 2:
            pairs: list[Pair] = [(first, second) for first, second in items]
            names = "inputs[{}][0]", "inputs[{}][1]"
            work = model.pairs(pairs, names, activation)
        else:
            work = model.texts([text for (text,) in items], activation)
    check_cut(model, body, work)

    def write(usage: Usage, rows: Rows) -> list[Any]:
        found = [
            [{"score": row[i], "label": labels[i]} for i in (-row).argsort(kind="stable")]
            for row in rows
        ]
        return found[0] if single else found

    return Plan(model, (work,), write)


def as_sequences(given: str | list[str | list[str]]) -> tuple[bool, list[list[str]]]:
    """Make a list of texts and pairs: whether it is a single one, and all of them."""
    if isinstance(given, str):
        return True, [[given]]
    flat = [item for item in given if isinstance(item, str)]
    single = bool(flat)
    items = [flat] if single else [item for item in given if not isinstance(item, str)]
    lengths = set(map(len, items))
    if (single and len(flat) < len(given)) or not lengths <= {1, 2} or len(lengths) > 1:
        raise Problem(
            400,
            "inputs must be a text, a list of one text or of the two of a pair, or a list "
            "of such lists that are alike: [[text], [text]], [[text, text], [text, text]]",
            param="inputs",
        )
    return single, items


def check_direction(model: Served, body: Truncation) -> None:
    """Refuse to cut at the other end."""
    truncation: Any = model.model.tokenizer.truncation
    wanted, does = body.truncation_direction, truncation["direction"]
    if wanted is not None and wanted.lower() != does:
        message = f"truncation_direction: {model.name} cuts on the {does}"
        raise Problem(400, message, param="truncation_direction")


def check_cut(model: Served, body: Truncation, work: Work) -> None:
    """Refuse texts that were cut, where they were not to be."""
    cut = [index for index, tokens in enumerate(work.tokens) if tokens.cut]
    if body.truncate is False and cut:
        message = f"text {cut[0]} has more than {model.model.max_length} tokens"
        raise Problem(413, message, param="truncate")


def info(service: Service) -> bytes:
    """Describe the server, and the first of its models."""
    name, model = next(iter(service.models.items()))
    limits = service.limits
    return as_json(
        {
            "model_id": name,
            "model_sha": None,
            "model_dtype": "float32",
            "model_type": model.about(),
            "max_input_length": model.model.max_length,
            "max_batch_tokens": limits.batch_tokens,
            "max_client_batch_size": limits.texts,
            "auto_truncate": True,
            "version": __version__,
            "models": {each.name: each.about() for each in service.models.values()},
        }
    )

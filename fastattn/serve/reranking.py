"""``/rerank`` in the bodies of Cohere, Jina and text-embeddings-inference."""

from collections.abc import Callable
from typing import Any

from .batching import Rows, Work
from .bodies import Rerank
from .inference import check_cut, check_direction
from .problems import Problem
from .served import Embedder, Scorer
from .service import Plan, Service, Usage, refusing


def rerank(service: Service, body: Rerank) -> Plan:
    """Order texts by how they answer a query."""
    name, texts = as_documents(body)
    service.check_text(body.query, "query")
    service.check_texts(texts, name)
    model = service.find(body.model, Scorer, Embedder)
    check_direction(model, body)
    limit = body.max_tokens_per_doc
    if limit is not None and limit < model.model.max_length:
        message = f"max_tokens_per_doc: {model.name} reads {model.model.max_length} tokens"
        raise Problem(400, message, param="max_tokens_per_doc")
    score = by_pairs if isinstance(model, Scorer) else by_vectors
    works, scores_of = score(model, body, name, texts)
    for work in works:
        check_cut(model, body, work)

    def write(usage: Usage, *rows: Rows) -> Any:
        scores = scores_of(*rows)
        order = (-scores).argsort(kind="stable")[: body.top_n].tolist()
        if body.texts is not None:
            shown = body.return_text or body.return_documents
            return [
                {"index": i, "score": scores[i]} | ({"text": texts[i]} if shown else {})
                for i in order
            ]
        results = [
            {"index": i, "relevance_score": scores[i]}
            | ({"document": {"text": texts[i]}} if body.return_documents else {})
            for i in order
        ]
        return {"model": model.name, "results": results, "usage": usage.fields()}

    return Plan(model, works, write)


def as_documents(body: Rerank) -> tuple[str, list[str]]:
    """Find the texts, and the name of their field."""
    if (body.documents is None) == (body.texts is None):
        raise Problem(400, "give documents, or texts", param="documents")
    if body.texts is not None:
        return "texts", body.texts
    documents = body.documents or []
    return "documents", [each if isinstance(each, str) else each.text for each in documents]


# What is computed, and what makes scores of the rows of each.
Scoring = tuple[tuple[Work, ...], Callable[..., Rows]]


def by_pairs(model: Scorer, body: Rerank, name: str, texts: list[str]) -> Scoring:
    """Score each text with the query."""
    if len(model.model.labels) > 1:
        message = f"{model.name} has {len(model.model.labels)} labels: /predict gives them"
        raise Problem(400, message, param="model")
    names = "query", f"{name}[{{}}]"
    pairs = [(body.query, text) for text in texts]
    activation = "identity" if body.raw_scores else "sigmoid"
    with refusing():
        work = model.pairs(pairs, names, activation)
    return (work,), lambda rows: rows[:, 0]


def by_vectors(model: Embedder, body: Rerank, name: str, texts: list[str]) -> Scoring:
    """Compare the vector of each text with that of the query, as the model compares."""
    with refusing():
        works = model.query(body.query), model.documents(texts)
    return works, lambda query, rows: model.model.similarity(query, rows)[0]

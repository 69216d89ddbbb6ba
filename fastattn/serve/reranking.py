"""``/rerank`` in the bodies of Cohere, Jina and text-embeddings-inference."""

import asyncio
from typing import Any

from .bodies import Rerank
from .inference import check_cut, check_direction
from .problems import Problem
from .served import Embedder, Scorer
from .service import Answer, Service, Usage, as_json


async def rerank(service: Service, body: Rerank) -> Answer:
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
    scores, usage = await score(service, model, body, name, texts)
    order = (-scores).argsort(kind="stable")[: body.top_n]
    if body.texts is not None:
        shown = body.return_text or body.return_documents
        results = [
            {"index": i, "score": scores[i]} | ({"text": texts[i]} if shown else {})
            for i in order.tolist()
        ]
        return Answer(as_json(results), usage.headers())
    results = [
        {"index": i, "relevance_score": scores[i]}
        | ({"document": {"text": texts[i]}} if body.return_documents else {})
        for i in order.tolist()
    ]
    answer = {"model": model.name, "results": results, "usage": usage.fields()}
    return Answer(as_json(answer), usage.headers())


def as_documents(body: Rerank) -> tuple[str, list[str]]:
    """Find the texts, and the name of their field."""
    if (body.documents is None) == (body.texts is None):
        raise Problem(400, "give documents, or texts", param="documents")
    if body.texts is not None:
        return "texts", body.texts
    documents = body.documents or []
    return "documents", [each if isinstance(each, str) else each.text for each in documents]


async def by_pairs(
    service: Service, model: Scorer, body: Rerank, name: str, texts: list[str]
) -> tuple[Any, Usage]:
    """Score each text with the query."""
    if len(model.model.labels) > 1:
        message = f"{model.name} has {len(model.model.labels)} labels: /predict gives them"
        raise Problem(400, message, param="model")
    names = "query", f"{name}[{{}}]"
    pairs = [(body.query, text) for text in texts]
    activation = "identity" if body.raw_scores else "sigmoid"
    work = await service.prepare(model.pairs, pairs, names, activation)
    check_cut(model, body, work)
    rows, usage = await service.compute(model, work)
    return rows[:, 0], usage


async def by_vectors(
    service: Service, model: Embedder, body: Rerank, name: str, texts: list[str]
) -> tuple[Any, Usage]:
    """Compare the vector of each text with that of the query, as the model compares."""
    query = await service.prepare(model.query, body.query)
    documents = await service.prepare(model.documents, texts)
    for work in query, documents:
        check_cut(model, body, work)
    (first, used), (rows, others) = await asyncio.gather(
        service.compute(model, query), service.compute(model, documents)
    )
    total = Usage(used.tokens + others.tokens, used.truncated + others.truncated)
    return model.model.similarity(first, rows)[0], total

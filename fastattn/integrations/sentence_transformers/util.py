"""The functions of sentence_transformers.util that search and compare vectors.

They take arrays, lists and tensors, and give tensors of tensors and arrays of arrays.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Never

import numpy as np
from numpy import float32, int64
from numpy.typing import NDArray

from ... import similarity
from ...arrays import as_array, as_choice, as_flag, as_index, as_number, as_real
from ...quantize import SCALAR, as_precision
from ...search import top_k as top_k_of
from ...sparse_vectors import SparseVectors
from .left_out import refuse_attribute
from .tensors import apply, like

Rows = NDArray[float32]
Compare = Callable[[Any, Any], Any]

# Scores that a function which is not known here gives at a time, at least for one query.
BLOCK = 2**22


def __getattr__(name: str) -> Never:
    """Say why a function of sentence-transformers is not there."""
    raise refuse_attribute("util", name)


def as_vectors(given: Any, name: str) -> Rows:
    """Return vectors, or a list of them, as float32, a single one as a row."""
    if isinstance(given, SparseVectors):
        given = given.toarray()
    elif hasattr(given, "to_dense"):
        given = given.to_dense()  # of a tensor
    if isinstance(given, list | tuple) and given and hasattr(given[0], "__array__"):
        given = np.stack([as_array(each, name) for each in given])
    return np.atleast_2d(as_real(given, name))


def _every(function: str) -> Compare:
    def compare(a: Any, b: Any) -> Any:
        result = similarity.every(function, as_vectors(a, "a"), as_vectors(b, "b"))
        return like(result, a, b)

    return compare


def _pairwise(function: str) -> Compare:
    def compare(a: Any, b: Any) -> Any:
        result = similarity.pairwise(function, as_vectors(a, "a"), as_vectors(b, "b"))
        return like(result if np.ndim(a) > 1 else result[0], a, b)

    return compare


cos_sim = pytorch_cos_sim = _every("cosine")
dot_score = _every("dot")
euclidean_sim = _every("euclidean")
manhattan_sim = _every("manhattan")
pairwise_cos_sim = _pairwise("cosine")
pairwise_dot_score = _pairwise("dot")
pairwise_euclidean_sim = _pairwise("euclidean")
pairwise_manhattan_sim = _pairwise("manhattan")

# What fastattn.top_k searches by.
METRICS = {cos_sim: "cosine", dot_score: "dot"}


class SimilarityFunction(Enum):
    """The functions that a model may compare vectors with, by their names."""

    COSINE = "cosine"
    DOT_PRODUCT = "dot"
    DOT = "dot"  # noqa: PIE796
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return as_choice(value, "similarity_fn_name", cls.possible_values())

    @staticmethod
    def to_similarity_fn(similarity_function: "str | SimilarityFunction") -> Compare:
        """Give what compares each vector with each of others."""
        return EVERY[SimilarityFunction(similarity_function).value]

    @staticmethod
    def to_similarity_pairwise_fn(
        similarity_function: "str | SimilarityFunction",
    ) -> Compare:
        """Give what compares vectors in the same place."""
        return PAIRWISE[SimilarityFunction(similarity_function).value]

    @staticmethod
    def possible_values() -> list[str]:
        """List the names."""
        return [each.value for each in SimilarityFunction]


EVERY: dict[str, Compare] = {
    "cosine": cos_sim,
    "dot": dot_score,
    "euclidean": euclidean_sim,
    "manhattan": manhattan_sim,
}
PAIRWISE: dict[str, Compare] = {
    "cosine": pairwise_cos_sim,
    "dot": pairwise_dot_score,
    "euclidean": pairwise_euclidean_sim,
    "manhattan": pairwise_manhattan_sim,
}


def normalize_embeddings(embeddings: Any) -> Any:
    """Scale vectors to unit length; one of zeros stays what it is."""
    rows = similarity.unit_rows(as_vectors(embeddings, "embeddings"))
    return like(rows.reshape(np.shape(embeddings)), embeddings)


def truncate_embeddings(embeddings: Any, truncate_dim: int | None) -> Any:
    """Keep so many leading values of vectors."""
    return embeddings[..., :truncate_dim]


def quantize_embeddings(
    embeddings: Any,
    precision: str,
    ranges: Any = None,
    calibration_embeddings: Any = None,
) -> Any:
    """Store vectors in fewer bits.

    Parameters
    ----------
    embeddings : array_like (n, dim) float32
        The vectors.
    precision : {"float32", "int8", "uint8", "binary", "ubinary"}
        As `precision` of :meth:`fastattn.TextEncoder.encode`.
    ranges : array_like (2, dim), optional
        For integers: the lowest and the highest value of each component.
    calibration_embeddings : array_like (m, dim), optional
        What the ranges are found from unless given; else from the vectors themselves.

    Returns
    -------
    array (n, dim) or (n, (dim + 7) // 8)
        Of float32, int8 or uint8.

    Raises
    ------
    ValueError
        If ranges are to be found from a single vector.
    """
    vectors = as_vectors(embeddings, "embeddings")
    if precision not in SCALAR:
        ranges = None
    elif ranges is None:
        known = vectors
        if calibration_embeddings is not None:
            known = as_vectors(calibration_embeddings, "calibration_embeddings")
        elif len(vectors) == 1:
            raise ValueError(
                f"precision {precision!r} needs ranges of values, which one vector does "
                "not tell: give ranges or calibration_embeddings"
            )
        ranges = np.stack([known.min(0), known.max(0)])
    stored = as_precision(precision, ranges, vectors.shape[1]).of(vectors)
    return stored if np.ndim(embeddings) != 1 else stored[0]


def semantic_search(
    query_embeddings: Any,
    corpus_embeddings: Any,
    query_chunk_size: int = 100,
    corpus_chunk_size: int = 500000,
    top_k: int = 10,
    score_function: Compare = cos_sim,
) -> list[list[dict[str, Any]]]:
    """Find what in a corpus is most like each query, by :func:`fastattn.top_k`.

    Parameters
    ----------
    query_embeddings, corpus_embeddings : array_like (n, dim) and (m, dim)
        Vectors; a single query may be (dim,).
    query_chunk_size, corpus_chunk_size : int
        They have no effect.
    top_k : int
        How many to find for each query.
    score_function : callable
        `cos_sim`, `dot_score`, or any that gives scores (n, m) of vectors.

    Returns
    -------
    list of lists of dict
        For each query "corpus_id" and "score", best first.

    Examples
    --------
    >>> from fastattn.integrations.sentence_transformers import util
    >>> util.semantic_search([[1.0, 0.0]], [[0.0, 2.0], [3.0, 0.0]], top_k=1)
    [[{'corpus_id': 1, 'score': 1.0}]]
    """
    as_index(query_chunk_size, "query_chunk_size", 1)
    as_index(corpus_chunk_size, "corpus_chunk_size", 1)
    found = _best(query_embeddings, corpus_embeddings, top_k, score_function)
    return [
        [
            {"corpus_id": index, "score": score}
            for score, index in zip(scores, indices, strict=True)
            if index >= 0
        ]
        for scores, indices in zip(*(each.tolist() for each in found), strict=True)
    ]


information_retrieval = semantic_search


def paraphrase_mining(
    model: Any,
    sentences: Sequence[str],
    show_progress_bar: bool = False,
    batch_size: int = 32,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100000,
    max_pairs: int = 500000,
    top_k: int = 100,
    score_function: Compare = cos_sim,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
) -> list[list[Any]]:
    """Find the pairs of texts that are most alike: `paraphrase_mining_embeddings`."""
    embeddings = model.encode(
        sentences,
        show_progress_bar=show_progress_bar,
        batch_size=batch_size,
        truncate_dim=truncate_dim,
        prompt_name=prompt_name,
        prompt=prompt,
    )
    return paraphrase_mining_embeddings(
        embeddings, query_chunk_size, corpus_chunk_size, max_pairs, top_k, score_function
    )


def paraphrase_mining_embeddings(
    embeddings: Any,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100000,
    max_pairs: int = 500000,
    top_k: int = 100,
    score_function: Compare = cos_sim,
) -> list[list[Any]]:
    """Find the pairs of vectors that are most alike.

    Parameters
    ----------
    embeddings : array_like (n, dim)
        The vectors.
    query_chunk_size, corpus_chunk_size : int
        They have no effect.
    max_pairs : int
        How many pairs to give, at most.
    top_k : int
        Of how many neighbours of each vector pairs are made.
    score_function : callable
        As for :func:`semantic_search`.

    Returns
    -------
    list of [score, i, j]
        Best first, i less than j, no pair twice.
    """
    as_index(query_chunk_size, "query_chunk_size", 1)
    as_index(corpus_chunk_size, "corpus_chunk_size", 1)
    as_index(max_pairs, "max_pairs", 1)
    as_index(top_k, "top_k", 1)
    if not len(embeddings):
        return []
    scores, others = _best(embeddings, embeddings, top_k + 1, score_function)
    rows = np.broadcast_to(np.arange(len(others))[:, None], others.shape)
    is_other = (others != rows) & (others >= 0)
    # Whom so many equal vectors leave out of its own list has one more neighbour.
    is_other &= np.cumsum(is_other, axis=1) <= top_k
    pairs = np.stack([rows[is_other], others[is_other]], axis=1)
    pairs.sort(axis=1)
    values = scores[is_other]
    _, first = np.unique(pairs, axis=0, return_index=True)
    first = first[np.argsort(-values[first], kind="stable")][:max_pairs]
    return [
        [score, *pair]
        for score, pair in zip(values[first].tolist(), pairs[first].tolist(), strict=True)
    ]


def community_detection(
    embeddings: Any,
    threshold: float = 0.75,
    min_community_size: int = 10,
    batch_size: int = 1024,
    show_progress_bar: bool = False,
) -> list[list[int]]:
    """Find groups of vectors that are alike, none of them in two groups.

    Parameters
    ----------
    embeddings : array_like (n, dim)
        The vectors.
    threshold : float
        The cosine with the one in the middle that all of a group have at least.
    min_community_size : int
        How many there must be in a group.
    batch_size : int
        Rows of cosines that are in memory together.
    show_progress_bar : bool
        It has no effect.

    Returns
    -------
    list of lists of int
        Groups, the largest first, and in each the middle first, then the closest.
    """
    least = as_index(min_community_size, "min_community_size", 1)
    step = as_index(batch_size, "batch_size", 1)
    limit = float32(as_number(threshold, "threshold"))
    as_flag(show_progress_bar, "show_progress_bar")
    if not len(embeddings):
        return []
    vectors = as_vectors(embeddings, "embeddings")
    found = []
    for start in range(0, len(vectors), step):
        cosines = similarity.every("cosine", vectors[start : start + step], vectors)
        counts = (cosines >= limit).sum(axis=1)
        for row in np.flatnonzero(counts >= least):
            closest = np.argsort(-cosines[row], kind="stable")[: counts[row]]
            found.append((start + int(row), closest))
    used = np.zeros(len(vectors), bool)
    groups = []
    for middle, closest in sorted(found, key=lambda each: len(each[1]), reverse=True):
        free = closest[~used[closest]]
        if not used[middle] and len(free) >= least:
            group = [middle, *free[free != middle].tolist()]
            groups.append(group)
            used[group] = True
    return sorted(groups, key=len, reverse=True)


def _best(queries: Any, corpus: Any, k: int, score: Compare) -> tuple[Rows, NDArray[int64]]:
    """Give the best scores of each query, and the rows of the corpus that have them."""
    rows, columns = as_vectors(queries, "queries"), as_vectors(corpus, "corpus")
    if score in METRICS:
        return top_k_of(rows, columns, k, metric=METRICS[score])
    k = min(as_index(k, "top_k", 1), len(columns))
    scores, indices = np.empty((len(rows), k), float32), np.empty((len(rows), k), int64)
    step = max(1, BLOCK // max(1, len(columns)))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        every = apply(lambda x: score(x, like(columns, x)), some)
        best = np.argsort(-every, axis=1, kind="stable")[:, :k]
        indices[start : start + step] = best
        scores[start : start + step] = np.take_along_axis(every, best, axis=1)
    return scores, indices

"""The best rows of a corpus, against all scores in float64."""

import numpy as np
import pytest
from ml_dtypes import bfloat16
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas
from support.criterion import assert_accurate
from support.folders import TINY
from support.strategies import LAYOUTS, normal

import fastattn as fa

METRICS = ["dot", "cosine"]
DTYPES = [np.float32, np.float16, bfloat16]
QUERIES = [1, 7, 8, 33]  # around where the corpus is read in another way


def scores_of(queries, corpus, metric, dtype):
    """Return all scores (n, rows), as they are defined."""
    q, x = queries.astype(dtype), corpus.astype(dtype)
    if metric == "cosine":
        q, x = (
            a / np.where((s := np.sqrt((a * a).sum(1))) == 0, 1, s)[:, None] for a in (q, x)
        )
    return q @ x.T


def assert_ranked(found, queries, corpus, metric):
    """Hold the scores of all rows to those in float64, of these rows and as sorted."""
    scores, indices = found
    assert scores.shape == indices.shape == (len(queries), len(corpus))
    assert indices.dtype == np.int64
    assert (np.sort(indices) == np.arange(len(corpus))).all()
    assert (np.diff(scores) <= 0).all()
    assert (np.diff(indices)[np.diff(scores) == 0] > 0).all()

    def of_found(dtype):
        return np.take_along_axis(scores_of(queries, corpus, metric, dtype), indices, 1)

    def of_best(dtype):
        return np.sort(scores_of(queries, corpus, metric, dtype))[:, ::-1]

    assert_accurate(scores, of_found)
    assert_accurate(scores, of_best)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", QUERIES)
@pytest.mark.parametrize(("rows", "dim", "k"), [(1, 3, 1), (17, 16, 3), (1300, 391, 10)])
def test_finds_what_float64_finds(isa, n, rows, dim, k, dtype, metric):
    queries, corpus = normal(n, dim), normal(rows, dim, seed=1).astype(dtype)
    scores, indices = fa.top_k(queries, corpus, 2 * rows, metric=metric)
    assert_ranked((scores, indices), queries, corpus, metric)
    found = fa.top_k(queries, corpus, k, metric=metric)
    assert_same(found, (scores[:, :k], indices[:, :k]))


def assert_same(found, expected):
    assert_same_bits(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_alone_in_parts_and_on_any_threads(isa, dtype, metric):
    queries, corpus = normal(33, 400), normal(5000, 400, seed=1).astype(dtype)
    corpus[700:1400] = corpus[:700]  # equal scores
    whole = fa.top_k(queries, corpus, 30, metric=metric)
    for threads in THREADS:
        found = fa.top_k(queries, corpus, 30, metric=metric, num_threads=threads)
        assert_same(found, whole)
    parts = np.split(corpus, [1, 1, 55, 3000])
    assert_same(fa.top_k(queries, parts, 30, metric=metric), whole)
    for n in (1, 5, 9):
        some = fa.top_k(queries[:n], tuple(parts), 30, metric=metric)
        assert_same(some, (whole[0][:n], whole[1][:n]))
    alone = fa.top_k(queries[4], corpus, 30, metric=metric)
    assert_same(alone, (whole[0][4], whole[1][4]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [3, 20])
def test_same_bits_on_every_instruction_set(n, metric):
    queries, corpus = normal(n, 400), normal(300, 400, seed=1)
    assert_same_on_fma_isas(lambda: fa.top_k(queries, corpus, metric=metric)[0])


def test_scores_are_the_elements_of_a_product():
    queries, corpus = normal(3, 400), normal(50, 400, seed=1)
    scores, indices = fa.top_k(queries, corpus, 50)
    every = fa.matmul(queries, corpus.T)
    assert_same_bits(scores, np.take_along_axis(every, indices, 1))


@pytest.mark.parametrize("n", QUERIES)
def test_of_equal_scores_the_lower_index_comes_first(n):
    corpus = np.zeros((9000, 4), np.float32)
    corpus[[8000, 70, 3]] = 1
    scores, indices = fa.top_k(np.ones((n, 4), np.float32), corpus, 5)
    assert scores.tolist() == [[4, 4, 4, 0, 0]] * n
    assert indices.tolist() == [[3, 70, 8000, 0, 1]] * n


@pytest.mark.parametrize("n", QUERIES)
@pytest.mark.parametrize("metric", METRICS)
def test_rows_of_nan_are_never_found(n, metric):
    corpus = normal(40, 5)
    corpus[1:39] = np.nan
    scores, indices = fa.top_k(normal(n, 5), corpus, 4, metric=metric)
    assert (np.sort(indices[:, :2]) == [0, 39]).all()
    assert np.isfinite(scores[:, :2]).all()
    assert (indices[:, 2:] == -1).all()
    assert (scores[:, 2:] == -np.inf).all()


@pytest.mark.parametrize("n", QUERIES)
def test_scores_beyond_float32_are_infinite(n):
    corpus = np.array([[-2e38, -2e38], [1, 1], [np.nan, 0], [2e38, 2e38]], np.float32)
    scores, indices = fa.top_k(np.ones((n, 2), np.float32), corpus)
    assert scores.tolist() == [[np.inf, 2, -np.inf, -np.inf]] * n
    assert indices.tolist() == [[3, 1, 0, -1]] * n


@pytest.mark.parametrize("n", QUERIES)
@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-20, 1e19, 3e37])
def test_cosine_of_any_lengths(n, scale):
    # Whole numbers keep their ratios where they are subnormal.
    rows = np.random.default_rng(0).integers(-8, 9, (20, 6))
    corpus = (rows * np.float64(scale)).astype(np.float32)
    corpus[3] = 0
    queries = normal(n, 6)
    found = fa.top_k(queries, corpus, 20, metric="cosine")
    assert_ranked(found, queries, corpus.astype(np.float64), "cosine")


def test_what_has_no_length_scores_0():
    corpus = np.array([[0, 0], [1, 2]], np.float32)
    scores, _ = fa.top_k([[0, 0], [2, 1]], corpus, metric="cosine")
    np.testing.assert_allclose(scores, [[0, 0], [0.8, 0]])
    for metric in METRICS:
        scores, indices = fa.top_k(
            np.ones((2, 0), np.float32), np.ones((3, 0), np.float32), 2, metric=metric
        )
        assert scores.tolist() == [[0, 0]] * 2
        assert indices.tolist() == [[0, 1]] * 2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [2, 20])
def test_reads_any_layout(n, layout):
    queries, corpus = normal(n, 20), normal(60, 20, seed=1)
    found = fa.top_k(LAYOUTS[layout](queries), LAYOUTS[layout](corpus))
    assert_same(found, fa.top_k(queries, corpus))


def test_reads_memory_maps_in_place(tmp_path):
    corpus = normal(3000, 40)
    np.save(tmp_path / "a.npy", corpus[:2000])
    np.save(tmp_path / "b.npy", corpus[2000:].astype(np.float16))
    parts = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "ab"]
    whole = np.concatenate([parts[0], parts[1].astype(np.float32)])
    assert_same(fa.top_k(corpus[:9], parts), fa.top_k(corpus[:9], whole))


def test_searches_the_shards_of_a_folder(tmp_path):
    texts = [f"{i} words" for i in range(7)]
    folder = tmp_path / "vectors"
    fa.encode_corpus(TINY, texts, folder, source_id="words", shard_rows=3)
    vectors = fa.open_vectors(folder)
    queries = np.asarray(vectors[2:4])
    assert_same(fa.top_k(queries, vectors, 3), fa.top_k(queries, np.asarray(vectors[:]), 3))


def test_more_queries_than_go_together():
    queries, corpus = normal(1100, 3), normal(50, 3, seed=1)
    scores, indices = fa.top_k(queries, corpus, 2)
    some = slice(500, 530)
    assert_same((scores[some], indices[some]), fa.top_k(queries[some], corpus, 2))


@pytest.mark.parametrize("queries", [np.ones((0, 4), np.float32), np.ones(4, np.float32)])
def test_nothing_to_find(queries):
    shape = queries.shape[:-1]
    for corpus, k in (
        (np.ones((0, 4), np.float32), 0),
        ([], 0),
        (np.ones((3, 4), np.float32), 3),
    ):
        scores, indices = fa.top_k(queries, corpus)
        assert scores.shape == indices.shape == (*shape, k)


X = np.ones((3, 4), np.float32)
REFUSED = [
    (
        lambda: fa.top_k(X, X[:, :3]),
        ValueError,
        "queries and corpus must hold vectors of one",
    ),
    (lambda: fa.top_k(X, [X, X[:, :3]]), ValueError, r"queries and corpus\[1\] must hold"),
    (
        lambda: fa.top_k(X, [X, X[0]]),
        ValueError,
        r"corpus\[1\] must have 2 dimensions, got 1",
    ),
    (lambda: fa.top_k(X, X[None]), ValueError, "corpus must have 2 dimensions, got 3"),
    (
        lambda: fa.top_k(X[None], X),
        ValueError,
        "queries must have 1 or 2 dimensions, got 3",
    ),
    (
        lambda: fa.top_k(X, X.astype(float)),
        TypeError,
        "corpus must be float32, float16 or bfloat16, got float64",
    ),
    (lambda: fa.top_k(X.astype(np.float16), X), TypeError, "queries must be float32"),
    (
        lambda: fa.top_k(X, [X, X.astype(np.int8)]),
        TypeError,
        r"corpus\[1\] must .* got int8",
    ),
    (lambda: fa.top_k(X, X.astype(np.uint16)), TypeError, "corpus must .* got uint16"),
    (lambda: fa.top_k(X, X, 0), ValueError, "k must be at least 1, got 0"),
    (lambda: fa.top_k(X, X, 2.0), TypeError, "k must be an integer, got 2.0"),
    (
        lambda: fa.top_k(X, X, metric="l2"),
        ValueError,
        "metric must be one of 'dot', 'cosine'",
    ),
    (lambda: fa.top_k(X, X, num_threads=0), ValueError, "num_threads must be at least 1"),
    (lambda: fa.top_k(X, X, top=3), TypeError, "top_k.* 'top'"),
]


@pytest.mark.parametrize(("call", "error", "words"), REFUSED)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()

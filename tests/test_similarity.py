"""The four ways to compare vectors that a folder may name."""

import tracemalloc

import numpy as np
import pytest
from support.criterion import assert_accurate
from support.folders import TINY, change_json, copy_tiny

import fastattn as fa
from fastattn import similarity


def cosine(a, b):
    lengths = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return (a * b).sum(-1) / np.where(lengths == 0, 1, lengths)


# What sentence-transformers means by each name, for rows that broadcast.
MEANINGS = {
    "cosine": cosine,
    "dot": lambda a, b: (a * b).sum(-1),
    "euclidean": lambda a, b: -np.sqrt(((a - b) ** 2).sum(-1)),
    "manhattan": lambda a, b: -np.abs(a - b).sum(-1),
}


@pytest.fixture(params=similarity.FUNCTIONS)
def name(request):
    return request.param


def test_the_names():
    assert similarity.FUNCTIONS.keys() == MEANINGS.keys()


@pytest.mark.parametrize(("n", "m", "dim"), [(3, 8, 7), (8, 3, 16), (1, 1, 1), (40, 9, 65)])
def test_each_with_each(name, n, m, dim):
    rng = np.random.default_rng(n * m * dim)
    a = rng.standard_normal((n, dim)).astype(np.float32)
    b = rng.standard_normal((m, dim)).astype(np.float32)
    b[0] = a[0]

    def formula(dtype):
        return MEANINGS[name](a.astype(dtype)[:, None], b.astype(dtype)[None])

    assert_accurate(similarity.every(name, a, b), formula)


def test_each_with_its_own(name):
    a, b = np.random.default_rng(0).standard_normal((2, 9, 20)).astype(np.float32)
    b[3] = a[3]
    a[4] = b[5] = 0

    def formula(dtype):
        return MEANINGS[name](a.astype(dtype), b.astype(dtype))

    assert_accurate(similarity.pairwise(name, a, b), formula)
    one = similarity.pairwise(name, a[0], b[0])
    assert one.shape == ()
    assert one == similarity.pairwise(name, a, b)[0]


@pytest.mark.parametrize("size", [1e-30, 1e30, 3e38])
@pytest.mark.parametrize("distance", ["euclidean", "manhattan"])
def test_distances_of_all_sizes(distance, size):
    a, b = np.array([[size, 0]], np.float32), np.array([[0, -size]], np.float32)
    with np.errstate(over="ignore"):
        exact = MEANINGS[distance](a.astype(float), b.astype(float)).astype(np.float32)
    np.testing.assert_allclose(similarity.pairwise(distance, a, b), exact, rtol=1e-7)
    np.testing.assert_allclose(similarity.every(distance, a, b), exact[None], rtol=1e-7)


def test_a_distance_of_nothing_is_no_negative_zero(name):
    a = np.ones((1, 4), np.float32)
    if name in ("euclidean", "manhattan"):
        assert not np.signbit(similarity.every(name, a, a)).any()
        assert not np.signbit(similarity.pairwise(name, a, a)).any()


def test_no_vectors(name):
    none, two = np.zeros((0, 3), np.float32), np.ones((2, 3), np.float32)
    assert similarity.every(name, none, two).shape == (0, 2)
    assert similarity.every(name, two, none).shape == (2, 0)
    assert similarity.pairwise(name, none, none).shape == (0,)


@pytest.mark.parametrize("size", [1e-44, 1e-38, 1e-31, 1e-20, 1e20, 1e31, 3e38])
def test_cosines_of_all_sizes(size):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (9, 20)), rng.uniform(-1, 1, (7, 20))
    for first, second in [(a * size, b), (a, b * size), (a * size, b * size)]:
        rows, columns = first.astype(np.float32), second.astype(np.float32)
        rows[3] = columns[5] = 0
        wide = rows.astype(float), columns.astype(float)
        # Any size is one that float32 can compute with, once rows are of unit length.
        scaled = [x / np.abs(x).max() for x in wide]

        def formula(dtype, scaled=scaled):
            a, b = (x.astype(dtype) for x in scaled)
            return cosine(a[:, None], b[None])

        result = similarity.every("cosine", rows, columns)
        assert_accurate(result, formula)
        np.testing.assert_array_equal(similarity.every("cosine", columns, rows), result.T)
        assert not result[3].any()
        assert not result[:, 5].any()


@pytest.mark.parametrize("swapped", [False, True])
def test_a_corpus_is_not_copied(name, swapped):
    a = np.ones((3, 384), np.float32)
    b = np.ones((20_000, 384), np.float32)
    tracemalloc.start()
    similarity.every(name, *((b, a) if swapped else (a, b)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < b.nbytes / 3


def test_bad_values(name):
    with pytest.raises(ValueError, match="vectors of one length, got 2 and 3"):
        similarity.every(name, [[1, 2]], [[1, 2, 3]])
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(1, 2\)"):
        similarity.pairwise(name, [1, 2], [[1, 2]])
    with pytest.raises(ValueError, match="a must have 1 or 2 dimensions, got 3"):
        similarity.pairwise(name, [[[1]]], [[[1]]])
    with pytest.raises(TypeError, match="b must be float32"):
        similarity.pairwise(name, [[1, 2]], np.ones((1, 2)))


class TestFolder:
    """config_sentence_transformers.json names the function."""

    @pytest.fixture
    def folder(self, tmp_path):
        return copy_tiny(tmp_path)

    @staticmethod
    def set_field(folder, **fields):
        change_json(folder / "config_sentence_transformers.json", **fields)

    def test_it_holds(self, folder, name):
        self.set_field(folder, similarity_fn_name=name)
        model = fa.load(folder)
        assert model.similarity_fn_name == name
        vectors = model.encode(["the cat", "a dog", "the sun"], normalize=False)
        expected = similarity.every(name, vectors, vectors)
        np.testing.assert_array_equal(model.similarity(vectors, vectors), expected)
        pairs = model.similarity_pairwise(vectors, vectors[::-1])
        expected = similarity.pairwise(name, vectors, vectors[::-1])
        np.testing.assert_array_equal(pairs, expected)

    def test_cosine_where_it_says_nothing(self, folder):
        assert fa.load(TINY).similarity_fn_name == "cosine"
        self.set_field(folder, similarity_fn_name=None)
        assert fa.load(folder).similarity_fn_name == "cosine"

    def test_can_be_set_to_what_there_is(self):
        model = fa.load(TINY)
        model.similarity_fn_name = "dot"
        vectors = np.array([[1, 2]], np.float32)
        assert model.similarity(vectors, vectors) == [[5]]
        for name in ("Dot", None, 3):
            with pytest.raises(ValueError, match="similarity_fn_name must be one of"):
                model.similarity_fn_name = name

    def test_unknown(self, folder):
        self.set_field(folder, similarity_fn_name="maxsim")
        message = "similarity_fn_name must be cosine or dot or .*, got 'maxsim'"
        with pytest.raises(fa.ModelFormatError, match=message):
            fa.load(folder)

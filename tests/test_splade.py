"""A real SPLADE model against sentence-transformers in float64, where its package is."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from support.bits import THREADS, assert_same_bits
from support.criterion import assert_accurate
from support.folders import DATA
from support.promises import BOUNDS

import fastattn as fa

SPEC = find_spec("cognition")

pytestmark = [
    pytest.mark.skipif(SPEC is None, reason="see requirements-splade.txt"),
    pytest.mark.filterwarnings("ignore::fastattn.TruncationWarning"),
]


@pytest.fixture(scope="module")
def model():
    return fa.SparseEncoder.load(Path(SPEC.submodule_search_locations[0]) / "model")


@pytest.fixture(scope="module")
def expected():
    with np.load(DATA / "splade.npz") as arrays:
        return dict(arrays)


def test_vectors(model, expected, isa):
    texts = expected["texts"].tolist()

    def dense(dtype):
        name = np.dtype(dtype).name
        full = np.zeros((len(texts), 30522), dtype)
        full.ravel()[expected[f"{name}_places"]] = expected[name]
        return full

    found = model.encode(texts)
    assert_accurate(found.toarray(), dense)
    assert max(np.diff(found.indptr)) < 100


def test_bits(model, expected):
    texts = expected["texts"].tolist()
    every = model.encode(texts)
    for threads in THREADS:
        found = model.encode(texts, num_threads=threads, batch_tokens=threads)
        assert_same_bits(found.values, every.values)
        np.testing.assert_array_equal(found.indices, every.indices)


def test_words(model):
    paris = "The capital of France is Paris."
    words = [word for word, _ in model.decode(model.encode(paris), top_k=3)]
    assert words == ["capital", "paris", "france"]
    query = model.encode("french capital")
    near, far = model.similarity(query, model.encode([paris, "quantum physics"]))[0]
    assert near > 1
    assert far == 0


@pytest.mark.parametrize("compute", ["int8", "int16", "bfloat16"])
def test_lower_precision_keeps_the_words_of_most_weight(model, expected, compute):
    texts = expected["texts"].tolist()
    folder = Path(SPEC.submodule_search_locations[0]) / "model"
    narrow = fa.SparseEncoder.load(folder, compute=compute)
    both = (each.decode(each.encode(texts), top_k=20) for each in (model, narrow))
    pairs = [
        [{word for word, _ in words} for words in pair] for pair in zip(*both, strict=True)
    ]
    shared = sum(len(exact & found) for exact, found in pairs)
    kept = shared / sum(len(exact) for exact, _ in pairs)
    assert kept >= float(BOUNDS[f"words kept, {compute}"])

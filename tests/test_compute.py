"""Models and texts in lower precision: how close, with which bits, and what it takes."""

import pickle

import numpy as np
import pytest
from support.bits import assert_same_bits, assert_same_on_fma_isas
from support.folders import DATA, TINY
from support.promises import BOUNDS
from support.strategies import normal
from support.texts import real_texts

import fastattn as fa
from fastattn import nn
from fastattn._packed import PRECISIONS
from fastattn.cli import main
from fastattn.comparison import closeness
from fastattn.nn.smoothing import smoothing_factors

NARROW = [precision for precision in PRECISIONS if precision != "float32"]
TEXTS = ["the cat sleeps", "a dog", "the quick brown fox jumps over the lazy dog"]


class TestSmoothing:
    def test_factors_balance_what_a_product_reads_and_its_weight(self):
        layer, x = nn.Linear(40, 30, rng=0), normal(5, 40)
        x[:, 3], x[:, 7] = 1000, 0
        factors = smoothing_factors(layer, x)["weight"]
        expected = np.sqrt(np.abs(x).max(axis=0) / np.abs(layer.weight).max(axis=0))
        expected[7] = 1
        assert_same_bits(factors, expected)

    def test_all_but_what_reads_an_activation_has_factors(self):
        encoder = nn.Encoder(48, 3, 80, 2, gated=True, rng=0)
        before = encoder.state_dict()
        factors = smoothing_factors(encoder, normal(2, 5, 48))
        encoder.compute_in("int8", factors)
        small = {key for key in before if "weight" in key and "norm" not in key}
        assert factors.keys() == {key for key in small if "down_proj" not in key}


@pytest.fixture(params=NARROW)
def precision(request):
    return request.param


@pytest.fixture
def tiny(precision):
    return fa.load(TINY, compute=precision)


class TestLoaded:
    def test_bits_are_those_of_every_batch_thread_and_instruction_set(self, tiny):
        vectors = tiny.encode(TEXTS)
        assert (vectors != fa.load(TINY).encode(TEXTS)).any(axis=1).all()
        for text, vector in zip(TEXTS, vectors, strict=True):
            assert_same_bits(tiny.encode(text, num_threads=3), vector)
        assert_same_on_fma_isas(lambda: tiny.encode(TEXTS))

    def test_pickles_and_loads_again_with_the_same_bits(self, tiny, precision):
        vectors = tiny.encode(TEXTS)
        for other in pickle.loads(pickle.dumps(tiny)), fa.load(TINY, compute=precision):
            assert_same_bits(other.encode(TEXTS), vectors)
            assert other.nbytes == tiny.nbytes < fa.load(TINY).nbytes

    def test_a_trace_has_the_numbers_that_it_computes(self, tiny):
        trace = fa.trace(tiny, TEXTS[0])
        tokens = tiny.encode(TEXTS[0], output="tokens")
        assert_same_bits(trace.layers[-1]["output"], tokens)

    def test_says_what_it_computes_in(self, tiny, precision):
        assert f"compute='{precision}'" in repr(tiny)
        assert "compute" not in repr(fa.load(TINY))
        assert tiny.model.compute == precision

    def test_saves_the_float32_numbers_that_weights_stand_for(self, tiny, tmp_path):
        tiny.save(tmp_path / "saved")
        saved = fa.load(tmp_path / "saved")
        state = tiny.model.state_dict()
        for key, weight in saved.model.state_dict().items():
            assert_same_bits(weight, state[key])
        assert closeness(saved.encode(TEXTS), tiny.encode(TEXTS)).worst > 0.999


def test_a_reranker_computes_its_encoder_in_it():
    folder, pairs = DATA / "cross" / "bert", [("a cat", text) for text in TEXTS[:2]]
    model = fa.load(folder, compute="int8")
    assert (model.model.compute, model.head.compute) == ("int8", "float32")
    scores = model.predict(pairs)
    for pair, score in zip(pairs, scores, strict=True):
        assert_same_bits(model.predict([pair])[0], score)
    assert (scores != fa.load(folder).predict(pairs)).any()
    with pytest.raises(TypeError, match=r"bert gives scores and no vectors: compare"):
        fa.compare_compute(folder, TEXTS)


def test_a_sparse_encoder_weighs_words_in_16_bits():
    folder = DATA / "sparse" / "bert"
    model = fa.load(folder, compute="int8")
    assert model.words.nbytes < fa.load(folder).words.nbytes
    found, expected = model.encode(TEXTS).toarray(), fa.load(folder).encode(TEXTS).toarray()
    assert (found != expected).any()
    assert_same_bits(model.encode(TEXTS[:1]).toarray()[0], found[0])
    rows = {row.compute: row for row in fa.compare_compute(folder, TEXTS)}
    assert rows["int8"].nbytes == model.nbytes
    assert rows["int8"].closeness == closeness(found, expected)


def test_weights_in_two_ways_are_refused():
    for load in fa.load, fa.TextEncoder.load:
        with pytest.raises(ValueError, match="weights='int8' is about what computes in"):
            load(TINY, compute="int16", weights="int8")
        with pytest.raises(ValueError, match="compute must be one of 'float32', 'int8'"):
            load(TINY, compute="int4")


@pytest.fixture(scope="module")
def exact():
    texts = real_texts()[::20]
    return texts, fa.load("all-MiniLM-L6-v2").encode(texts)


def test_vectors_of_minilm_are_as_close_as_promised(precision, exact):
    texts, expected = exact
    model = fa.load("all-MiniLM-L6-v2", compute=precision)
    close = closeness(model.encode(texts), expected)
    assert close.worst >= float(BOUNDS[f"compute {precision}"])
    if precision == "int8":
        assert close.mean >= float(BOUNDS["compute int8, mean"])
        assert model.model.encoder.nbytes < 15e6


class TestCommands:
    def test_compute_reaches_load(self, tmp_path):
        output = tmp_path / "vectors.npy"
        arguments = ["the cat", "--model", str(TINY), "--output", str(output)]
        assert main(["encode", *arguments, "--compute", "int8"]) == 0
        expected = fa.load(TINY, compute="int8").encode(["the cat"])
        assert_same_bits(np.load(output), expected)

    def test_compare_shows_each_way_to_compute(self, capsys):
        assert main(["compare", "--model", str(TINY), *TEXTS]) == 0
        header, *lines = capsys.readouterr().out.splitlines()
        assert header.split()[:3] == ["compute", "texts/s", "times"]
        assert [line.split()[0] for line in lines] == list(PRECISIONS)
        assert lines[0].split()[2:6] == ["1.00", "1.000000", "1.000000", "1.000000"]

    def test_what_cannot_be_compared_is_an_error(self, capsys):
        assert main(["compare", "--model", str(TINY), "a text"]) == 2
        assert "texts must be at least two, got 1" in capsys.readouterr().err

"""What models of texts share: which inputs are texts, and how much is read."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import TINY

import fastattn as fa

LONG = "run " * 100


@pytest.fixture
def model():
    return fa.load(TINY)


class Series:
    """A column of pandas: it has keys, which are not what it iterates over."""

    ndim = 1

    def __init__(self, texts):
        self.texts = texts

    def keys(self):
        return range(len(self.texts))

    def __iter__(self):
        return iter(self.texts)


class ArrowColumn:
    """A column of Arrow: it iterates over scalars of its own."""

    def __init__(self, texts):
        self.texts = texts

    def __iter__(self):
        return iter([object() for _ in self.texts])

    def to_pylist(self):
        return list(self.texts)


class DataFrame:
    """A table of pandas or polars: it iterates over the names of its columns."""

    def __init__(self, texts):
        self.columns = ["the text", "its number"]

    def __iter__(self):
        return iter(self.columns)


class TestInputs:
    @pytest.mark.parametrize(
        "make",
        [
            list,
            tuple,
            iter,
            np.array,
            Series,
            ArrowColumn,
            lambda all: dict.fromkeys(all).keys(),
        ],
    )
    def test_several_texts(self, model, make):
        texts = ["one", "two", "the cat"]
        assert_same_bits(model.encode(make(texts)), model.encode(texts))

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (dict.fromkeys, r"got dict: pass its values, list\(inputs.values\(\)\)"),
            (set, "got set, which has no order: pass a list"),
            (frozenset, "got frozenset, which has no order: pass a list"),
            (
                DataFrame,
                r"got DataFrame: pass one of its columns, such as inputs\['text'\]",
            ),
            (lambda _: b"text", r"got bytes: decode it first, bytes\(inputs\).decode\(\)"),
            (lambda _: bytearray(3), "got bytearray: decode it first"),
            (lambda _: memoryview(b"a"), "got memoryview: decode it first"),
            (lambda texts: np.array([texts]), "got ndarray of 2 dimensions: pass one with"),
            (lambda _: np.array("text"), "got ndarray of 0 dimensions: pass one with"),
            (lambda _: None, "got NoneType"),
            (lambda _: 1.5, "got float"),
        ],
    )
    def test_what_is_no_row_of_texts(self, model, make, message):
        with pytest.raises(TypeError, match=f"must be a str or several of them, {message}"):
            model.encode(make(["one", "two"]))

    def test_bytes_among_texts(self, model):
        with pytest.raises(TypeError, match=r"\[1\] must be a str, got bytes_?: decode it"):
            model.encode(["one", np.bytes_(b"two")])


class TestMaxLength:
    @staticmethod
    def count(model):
        with pytest.warns(fa.TruncationWarning, match=f"cut at {model.max_length} tokens"):
            return len(model.encode(LONG, output="tokens"))

    @pytest.mark.parametrize("length", [3, 16, 64, np.int64(7)])
    def test_it_can_be_set(self, model, length):
        model.max_length = length
        assert model.max_length == length
        assert self.count(model) == length
        assert len(model.tokenizer.encode(LONG).ids) == length
        cut = model.encode("the cat", output="tokens", on_truncation="ignore")
        assert cut.shape == (min(4, length), 32)

    def test_the_side_stays(self, model):
        model.tokenizer.enable_truncation(9, direction="left")
        model.max_length = 4
        assert model.tokenizer.encode("the cat is red").tokens[1:3] == ["is", "red"]

    def test_pickles_keep_it(self, model):
        model.max_length = 16
        copy = pickle.loads(pickle.dumps(model))
        assert copy.max_length == self.count(copy) == 16

    def test_others_go_on_with_the_tokenizer_that_they_have(self, model):
        before = model.tokenizer
        model.max_length = 16
        assert len(before.encode(LONG).ids) == 48
        assert len(fa.load(TINY).tokenizer.encode(LONG).ids) == 48

    def test_the_next_call_of_every_thread(self, model):
        with ThreadPoolExecutor(4) as pool:
            for length in (5, 40, 11):
                model.max_length = length
                results = pool.map(
                    lambda _: model.encode(LONG, output="tokens", on_truncation="ignore"),
                    range(16),
                )
                assert {len(states) for states in results} == {length}

    @pytest.mark.parametrize(
        ("length", "error", "message"),
        [
            (2, ValueError, "max_length must be from 3 to 64, got 2"),
            (65, ValueError, "max_length must be from 3 to 64, got 65"),
            (16.0, TypeError, "max_length must be an integer, got 16.0"),
            (True, TypeError, "max_length must be an integer"),
            (None, TypeError, "max_length must be an integer"),
        ],
    )
    def test_bad_values(self, model, length, error, message):
        with pytest.raises(error, match=message):
            model.max_length = length
        assert model.max_length == self.count(model) == 48

"""What models of texts share: which inputs are texts."""

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import TINY

import fastattn as fa


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

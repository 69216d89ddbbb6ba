"""Vectors in fewer bits: sentence-transformers' definitions, by hand and in its words."""

import numpy as np
import pytest
from support.folders import TINY

import fastattn as fa

TEXTS = ["the cat", "a dog is under the sky, and it is red", "", "x", "red sun"]


@pytest.fixture(scope="module")
def vectors(model):
    return model.encode(TEXTS)


def assert_same(actual, expected):
    np.testing.assert_array_equal(actual, expected, strict=True)


def integers(vectors, ranges):
    """Levels 0 to 255 as quantize_embeddings of sentence-transformers 6.2 finds them."""
    starts = ranges[0, :]
    steps = (ranges[1, :] - starts) / 255
    steps = np.where(steps == 0, 1, steps)
    return np.clip(np.floor((vectors - starts) / steps), 0, 255)


class TestIntegers:
    @pytest.fixture
    def ranges(self, vectors):
        ranges = np.stack([vectors[:3].min(0), vectors[:3].max(0)])
        ranges[:, 5] = 0.25  # a component that was always the same
        return ranges

    def test_uint8(self, model, vectors, ranges):
        stored = model.encode(TEXTS, precision="uint8", ranges=ranges)
        assert_same(stored, integers(vectors, ranges).astype(np.uint8))
        assert {0, 255} <= set(stored.flat)

    def test_int8(self, model, vectors, ranges):
        stored = model.encode(TEXTS, precision="int8", ranges=ranges.tolist())
        assert_same(stored, (integers(vectors, ranges) - 128).astype(np.int8))

    def test_a_text_alone(self, model, ranges):
        options = {"precision": "int8", "ranges": ranges}
        every = model.encode(TEXTS, **options)
        for text, stored in zip(TEXTS, every, strict=True):
            assert_same(model.encode(text, **options), stored)

    def test_cut_vectors(self, model, ranges):
        stored = model.encode(
            TEXTS, precision="uint8", ranges=ranges[:, :9], truncate_dim=9
        )
        cut = model.encode(TEXTS, truncate_dim=9)
        assert_same(stored, integers(cut, ranges[:, :9]).astype(np.uint8))


@pytest.mark.parametrize("dim", [32, 31, 8, 1])
def test_bits(model, dim):
    cut = model.encode(TEXTS, truncate_dim=dim)
    packed = np.packbits(cut > 0, axis=-1)
    unsigned = model.encode(TEXTS, precision="ubinary", truncate_dim=dim)
    signed = model.encode(TEXTS, precision="binary", truncate_dim=dim)
    assert_same(unsigned, packed)
    assert_same(signed, (packed - 128).astype(np.int8))
    assert unsigned.shape == (len(TEXTS), (dim + 7) // 8)
    assert_same(model.encode("x", precision="ubinary", truncate_dim=dim), unsigned[3])


def test_float16(model, vectors):
    assert_same(model.encode(TEXTS, precision="float16"), vectors.astype(np.float16))
    assert model.encode([], precision="float16").dtype == np.float16


def test_what_is_too_large_for_float16(model):
    huge = fa.load(TINY)
    layer = huge.model.encoder.layers[-1]
    state = layer.state_dict()
    layer.load_state_dict(state | {"norm2.bias": state["norm2.bias"] * 1e6})
    with pytest.raises(ValueError, match=r"too large for float16: encode with normalize"):
        huge.encode("a", precision="float16", normalize=False)
    assert np.isfinite(huge.encode("a", precision="float16")).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"precision": "int4"},
            ValueError,
            "precision must be one of 'float32', '",
        ),
        ({"precision": "int8"}, ValueError, r"precision 'int8' needs ranges, .* np\.stack"),
        (
            {"ranges": [[0], [1]]},
            ValueError,
            "ranges are for int8 and uint8, not",
        ),
        (
            {"precision": "int8", "ranges": [[0.0], [1.0]]},
            ValueError,
            r"ranges must have shape \(2, 32\), got \(2, 1\)",
        ),
        (
            {"precision": "int8", "ranges": np.zeros((2, 32)) - [[0], [1]]},
            ValueError,
            "ranges must be finite, the lowest values before the highest",
        ),
        (
            {"precision": "uint8", "ranges": np.full((2, 32), np.nan)},
            ValueError,
            "ranges must be finite",
        ),
        ({"precision": "uint8", "ranges": "wide"}, TypeError, "ranges must be an array"),
        ({"precision": "float16", "output": "tokens"}, ValueError, "sentence vectors"),
    ],
)
def test_bad_values(model, options, error, message):
    with pytest.raises(error, match=message):
        model.encode(TEXTS, **options)

"""fa.open_vectors: what it maps; fa.quantize_vectors: fewer bits."""

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.corpus import TEXTS, encode

import fastattn as fa


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_vectors_are_a_sequence(model, out):
    encode(model, TEXTS, out, source_id="texts")
    vectors, whole = fa.open_vectors(out), model.encode(TEXTS)
    for index in 0, 10, 24, -1, slice(5, 21), slice(None, None, -7), slice(22, 3, -4):
        assert_same_bits(np.ascontiguousarray(vectors[index]), whole[index].copy())
    assert vectors[30:].shape == (0, 32)
    assert vectors.ids[8:11] == [8, 9, 10]
    with pytest.raises(IndexError):
        vectors[25]
    with pytest.raises(IndexError):
        vectors.ids[25]


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_fewer_bits(model, out, tmp_path, precision):
    encode(model, [*TEXTS, None], out, source_id="texts")
    fa.quantize_vectors(out, tmp_path / "narrow", precision=precision)
    narrow, full = fa.open_vectors(tmp_path / "narrow"), fa.open_vectors(out)[:25]
    ranges = np.stack([full.min(0), full.max(0)]) if "int8" in precision else None
    expected = model.encode(TEXTS, precision=precision, ranges=ranges)
    np.testing.assert_array_equal(narrow[:25], expected, strict=True)
    if ranges is not None:
        assert_same_bits(np.load(tmp_path / "narrow" / "ranges.npy"), ranges)
    with pytest.raises(ValueError, match="already"):
        fa.quantize_vectors(tmp_path / "narrow", tmp_path / "more")
    with pytest.raises(ValueError, match="precision"):
        fa.quantize_vectors(out, out, precision=precision)

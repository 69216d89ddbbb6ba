"""What goes in: other libraries' arrays, without a copy where the layout allows."""

import numpy as np
import pytest
from bits import assert_same_bits

import fastattn as fa
from fastattn.arrays import as_array, as_float32, as_integers


class OfDlpack:
    """An array of a library that speaks DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OfNumpy:
    """An array of a library that offers NumPy a view."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.mark.parametrize("wrap", [OfDlpack, OfNumpy, memoryview, lambda x: x.T.T])
def test_is_read_without_a_copy(wrap):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.shares_memory(as_float32(wrap(x), "x"), x)
    assert_same_bits(fa.softmax(wrap(x)), fa.softmax(x))


def test_is_read_from_a_read_only_memory_map(tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 70, 16), np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.shares_memory(as_array(mapped, "x"), mapped)
    assert_same_bits(fa.attention(mapped, mapped, mapped), fa.attention(x, x, x))


def test_misaligned_integers_are_copied():
    memory = np.zeros(17, np.uint8)
    starts = memory[1:].view(np.int64)
    starts[:] = [0, 3]
    x = np.ones((3, 1, 2), np.float32)
    assert as_integers(starts, "starts").flags.aligned
    assert_same_bits(fa.attention_varlen(x, x, x, starts), x)

"""What goes in: other libraries' arrays, without a copy where the layout allows."""

import numpy as np
import pytest
from support.bits import assert_same_bits

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


class OfBuffer:
    """An array of a library that offers its memory without a shape, as PyArrow does."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.frombuffer(self.array, np.float32).reshape(self.array.shape)


class OfNumpy:
    """An array of a library that offers NumPy a view."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def read_only(x):
    x.flags.writeable = False
    return x


def exported(x):
    """Read-only memory that speaks DLPack alone, as JAX's does."""
    return OfDlpack(read_only(x))


WRAPPERS = [OfDlpack, OfNumpy, OfBuffer, memoryview, read_only, exported, lambda x: x.T.T]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_is_read_without_a_copy(wrap):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    expected = fa.softmax(x)
    wrapped = wrap(x)
    assert np.shares_memory(as_float32(wrapped, "x"), x)
    assert_same_bits(fa.softmax(wrapped), expected)


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_goes_into_layers(wrap):
    x = np.random.default_rng(0).standard_normal((2, 5, 8), np.float32)
    layer = fa.nn.EncoderLayer(8, 2, 16, rng=0)
    expected = layer(x, lengths=[5, 3])
    assert_same_bits(layer(wrap(x.copy()), lengths=[5, 3]), expected)
    state = {key: wrap(value.copy()) for key, value in layer.state_dict().items()}
    twin = fa.nn.EncoderLayer(8, 2, 16, rng=1)
    twin.load_state_dict(state)
    assert_same_bits(twin(x, lengths=[5, 3]), expected)


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


def test_integers_are_copied_only_where_they_must_be():
    whole = np.arange(6)
    whole.flags.writeable = False
    assert as_integers(whole, "ids") is whole
    misaligned = np.zeros(33, np.uint8)[1:].view(np.int64)
    for other in (whole[::2], whole.astype(">i8"), whole.astype(np.uint8), misaligned):
        integers = as_integers(other, "ids")
        assert integers.flags.carray
        assert integers.dtype == np.int64
        np.testing.assert_array_equal(integers, other)

"""Weights stored in fewer bytes: what they are, and that products are of just these."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas
from support.steps import linear
from support.strategies import matrices, normal, sum_edges, tile_edges

from fastattn import reference
from fastattn._packed import FORMATS, PackedMatrix

NARROW = [format for format in FORMATS if format != "float32"]
# Rows that tiles widen each for itself, and so many that it is done for all of them.
SHAPES = [(1, 33, 385), (2, 200, 40), (13, 50, 384), (29, 17, 769), (129, 50, 100)]
# What float16 has room for.
SMALL = ("normal", "tiny", "subnormal", "far from zero", "zeros of both signs")


def packed_as(format):
    """Weights of which the values show whether they have been narrowed twice."""
    return PackedMatrix(normal(50, 100), format=format)


@pytest.mark.parametrize("format", NARROW)
class TestStorage:
    @given(data=st.data())
    @settings(max_examples=8)
    def test_is_the_specified_rounding(self, isa, format, data):
        weight = data.draw(matrices((data.draw(tile_edges), data.draw(sum_edges)), SMALL))
        unpacked = PackedMatrix(weight, format=format).unpack()
        np.testing.assert_array_equal(
            unpacked, reference.stored(np.ascontiguousarray(weight), format)
        )
        assert_same_bits(PackedMatrix(unpacked, format=format).unpack(), unpacked)

    @given(sizes=st.lists(tile_edges, min_size=1, max_size=4), k=st.integers(1, 40))
    @settings(max_examples=8)
    def test_weights_on_top_of_each_other_are_narrowed_each_by_itself(
        self, isa, format, sizes, k
    ):
        weights = [normal(n, k, seed=n) * np.float32(n + 1) for n in sizes]
        apart = [PackedMatrix(weight, format=format).unpack() for weight in weights]
        together = PackedMatrix(*weights, format=format)
        assert_same_bits(together.unpack(), np.concatenate(apart))

    def test_takes_the_bytes_that_its_name_says(self, format):
        _, size, _ = FORMATS[format]
        expected = 64 * 100 * size + (64 * 4 if format.startswith("int") else 0)
        assert PackedMatrix(normal(64, 100), format=format).nbytes == expected

    def test_pickles(self, format):
        packed = packed_as(format)
        again = pickle.loads(pickle.dumps(packed))
        assert (again.format, again.shape) == (format, packed.shape)
        assert_same_bits(again.unpack(), packed.unpack())

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
    def test_refuses_what_would_not_be_finite(self, format, bad):
        weight = normal(20, 30)
        weight[17, 3] = bad
        with pytest.raises(ValueError, match=f"{format} takes weights of at most"):
            PackedMatrix(normal(3, 30), weight, format=format)

    def test_takes_the_largest(self, isa, format):
        largest = np.float32(FORMATS[format][2])
        weight = np.array([[largest, -largest, 0.0]], np.float32)
        unpacked = PackedMatrix(weight, format=format).unpack()
        np.testing.assert_allclose(unpacked, weight, rtol=2**-15)


def test_every_float16_is_widened(isa):
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = np.where(np.isfinite(halves), halves, 0).reshape(256, 256)
    unpacked = PackedMatrix(halves.astype(np.float32), format="float16").unpack()
    assert_same_bits(unpacked, halves.astype(np.float32))


@pytest.mark.parametrize("format", ["float64", "INT8", ""])
def test_refuses_other_formats(format):
    message = f"format must be one of {str([*FORMATS])[1:-1]}, got {format!r}"
    with pytest.raises(ValueError, match=message):
        PackedMatrix(normal(2, 3), format=format)


@pytest.mark.parametrize("format", NARROW)
class TestProduct:
    """A product with narrow weights is the one with the float32 that they stand for."""

    @given(data=st.data())
    @settings(max_examples=8)
    def test_at_tile_edges(self, isa, format, data):
        m, n, k = (data.draw(edges) for edges in (tile_edges, tile_edges, sum_edges))
        x, weight = data.draw(matrices((m, k))), data.draw(matrices((n, k), SMALL))
        packed = PackedMatrix(weight, format=format)
        assert_same_bits(linear(x, packed), linear(x, packed.unpack()))

    @pytest.mark.parametrize("shape", SHAPES)
    def test_with_an_epilogue(self, isa, format, shape):
        m, n, k = shape
        x, packed = normal(m, k), PackedMatrix(normal(n, k, seed=1), format=format)
        bias, residual = normal(n, seed=2), normal(m, n, seed=3)
        epilogue = {"bias": bias, "activation": "gelu", "residual": residual}
        wide = linear(x, packed.unpack(), **epilogue)
        for threads in THREADS:
            assert_same_bits(linear(x, packed, num_threads=threads, **epilogue), wide)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_on_every_instruction_set_with_fma(self, format, shape):
        m, n, k = shape
        x, weight = normal(m, k), normal(n, k, seed=1)
        assert_same_on_fma_isas(lambda: linear(x, PackedMatrix(weight, format=format)))

    def test_of_non_finite_rows(self, isa, format):
        x, packed = normal(30, 100), packed_as(format)
        x[[3, 17, 20], [0, 49, 99]] = np.nan, np.inf, -np.inf
        assert_same_bits(linear(x, packed), linear(x, packed.unpack()))
        assert_same_bits(linear(x[17:20], packed), linear(x[17:20], packed.unpack()))

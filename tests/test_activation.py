"""The activations: relu, the forms of gelu and so on, each against its formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import assert_same_bits
from support.criterion import assert_accurate
from support.steps import activate
from support.strategies import LAYOUTS, guarded, normal, seeds, tile_edges

from fastattn import reference
from fastattn._rowwise import ACTIVATIONS

# What each makes of the values of which NaN and infinity are made. Of the largest negative
# numbers gelu_tanh and silu make almost nothing: see below.
SPECIAL_VALUES = {
    "relu": ([np.nan, np.inf, -np.inf, 2, -2], [np.nan, np.inf, 0, 2, 0]),
    "gelu": ([np.nan, np.inf, -np.inf, 3e38], [np.nan, np.inf, 0, 3e38]),
    "gelu_tanh": ([np.nan, np.inf, 3e38], [np.nan, np.inf, 3e38]),
    "silu": ([np.nan, np.inf, 3e38, 0], [np.nan, np.inf, 3e38, 0]),
    "tanh": ([np.nan, np.inf, -np.inf, 0, 20], [np.nan, 1, -1, 0, 1]),
    "log1p_relu": ([np.nan, np.inf, -np.inf, -2, 0], [np.nan, np.inf, 0, 0, 0]),
    "sigmoid": ([np.nan, np.inf, -np.inf, 0, -3e38], [np.nan, 1, 0, 0.5, 0]),
}


class TestActivations:
    @pytest.mark.parametrize("name", ACTIVATIONS)
    def test_is_accurate_over_its_interval(self, isa, name):
        x = np.linspace(-20, 20, 400_001, dtype=np.float32)
        formula = getattr(reference, name)
        assert_accurate(activate(x, name), lambda t: formula(x.astype(t)))

    @given(st.data())
    @settings(max_examples=40)
    def test_are_accurate(self, isa, data):
        name = data.draw(st.sampled_from([*ACTIVATIONS]))
        n = data.draw(tile_edges)
        x = normal(n, seed=data.draw(seeds)) * np.float32(data.draw(st.floats(0, 9)))
        x[-1:] = 3  # errors are promised as absolute ones: let the scale be no tail's
        x = LAYOUTS[data.draw(st.sampled_from(["contiguous", "shifted", "read-only"]))](x)
        with guarded(n) as out:
            activate(x, name, out)
            if n:
                formula = getattr(reference, name)
                assert_accurate(out.copy(), lambda t: formula(x.astype(t)))

    @pytest.mark.parametrize("name", ACTIVATIONS)
    def test_special_values(self, isa, name):
        x, y = SPECIAL_VALUES[name]
        for padding in (0, 1, 15):  # inside a vector and in its tail
            padded = np.array([1.0] * padding + x, np.float32)
            actual = activate(padded, name)[padding:]
            np.testing.assert_array_equal(actual, np.array(y, np.float32))

    def test_gelu_tanh_of_large_negative_numbers_is_nothing(self, isa):
        y = activate(np.array([-20, -1e10, -3e38, -np.inf], np.float32), "gelu_tanh")
        assert (np.abs(y) <= 64 * np.finfo(np.float32).tiny).all()

    def test_silu_of_large_negative_numbers_is_nothing(self, isa):
        y = activate(np.array([-88, -1e10, -3e38, -np.inf], np.float32), "silu")
        assert (np.abs(y) <= 64 * np.finfo(np.float32).tiny).all()

    @pytest.mark.parametrize("name", ACTIVATIONS)
    def test_in_place(self, isa, name):
        x = normal(20_001)
        expected = activate(x, name)
        assert_same_bits(activate(x, name, x), expected)

    @pytest.mark.parametrize("name", ACTIVATIONS)
    def test_an_element_does_not_depend_on_its_place(self, isa, name):
        x = normal(100)
        whole = activate(x, name)
        for start, end in [(0, 1), (3, 20), (37, 100), (99, 100)]:
            assert_same_bits(activate(x[start:end].copy(), name), whole[start:end])

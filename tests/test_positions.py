"""The table of sinusoidal positions."""

import numpy as np
import pytest
from support.criterion import assert_accurate

import fastattn as fa
from fastattn import reference


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 16, 17, 384])
@pytest.mark.parametrize("length", [1, 2, 513])
@pytest.mark.parametrize("base", [10000.0, 1.0, 500000.0])
def test_table(length, dim, base):
    def table(dtype):
        return reference.sinusoidal_positions(length, dim, base).astype(dtype)

    assert_accurate(fa.sinusoidal_positions(length, dim, base=base), table)


def test_first_position_is_zeros_and_ones():
    np.testing.assert_array_equal(fa.sinusoidal_positions(1, 5), [[0, 1, 0, 1, 0]])


def test_a_longer_table_begins_with_the_shorter_one():
    np.testing.assert_array_equal(
        fa.sinusoidal_positions(300, 33)[:17], fa.sinusoidal_positions(17, 33)
    )


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_bits_do_not_depend_on_threads(threads):
    with fa.num_threads(1):
        alone = fa.sinusoidal_positions(1000, 31)
    with fa.num_threads(threads):
        np.testing.assert_array_equal(fa.sinusoidal_positions(1000, 31), alone)


def test_no_positions():
    table = fa.sinusoidal_positions(0, 4)
    assert table.shape == (0, 4)
    assert table.dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"length": 2.0, "dim": 4}, TypeError, "length must be an integer, got 2.0"),
        ({"length": "2", "dim": 4}, TypeError, "length must be an integer, got '2'"),
        ({"length": -1, "dim": 4}, ValueError, "length must be from 0 .* got -1"),
        ({"length": 2, "dim": 0}, ValueError, "dim must be at least 1, got 0"),
        ({"length": 2, "dim": 4, "base": 0.5}, ValueError, "base.*0.5"),
        ({"length": 2, "dim": 4, "base": np.inf}, ValueError, "base.*inf"),
        ({"length": 2, "dim": 4, "base": "many"}, TypeError, "base.*many"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        fa.sinusoidal_positions(**arguments)

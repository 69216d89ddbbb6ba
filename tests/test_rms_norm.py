"""RMS normalisation: the promise of its docstring, and its edges."""

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.steps import promised

import fastattn as fa
from fastattn import reference


@pytest.mark.parametrize("n", [1, 15, 16, 17, 384, 1000, 100_000])
@pytest.mark.parametrize("mean", [0, 100])
def test_keeps_its_promise(isa, n, mean):
    rng = np.random.default_rng(n)
    x = (rng.standard_normal((7, n)) + mean).astype(np.float32)
    weight = rng.standard_normal(n).astype(np.float32)
    exact = reference.rms_norm(x.astype(np.float64), weight.astype(np.float64))
    block, lanes, more = promised(
        fa.rms_norm, r"at most ``\(min\(n, (\S+)\) / (\S+) \+ (\S+)\) u \|y\|``"
    )
    allowed = (min(n, block) / lanes + more) * 2.0**-24 * np.abs(exact)
    assert (np.abs(fa.rms_norm(x, weight) - exact) <= allowed).all()


def test_in_place_and_on_any_threads():
    x = np.random.default_rng(0).standard_normal((300, 65), np.float32)
    expected = fa.rms_norm(x)
    for threads in (1, 2, 3, 8):
        with fa.num_threads(threads):
            assert_same_bits(fa.rms_norm(x), expected)
    assert fa.rms_norm(x, out=x) is x
    assert_same_bits(x, expected)


def test_zeros_stay_zeros_and_nan_stays_in_its_row():
    y = fa.rms_norm([[0, 0], [np.nan, 1], [1, 1]], eps=0.5)
    assert (y[0] == 0).all()
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[2]).all()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.zeros((2, 3)),), TypeError, "x must be float32"),
        ((1.0,), ValueError, "at least one dimension"),
        (([1, 2], [1, 2, 3]), ValueError, "weight must have shape"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        fa.rms_norm(*arguments)
    with pytest.raises(ValueError, match="eps must not be negative"):
        fa.rms_norm([1.0], eps=-1)

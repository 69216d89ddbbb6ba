"""The kernels on rows: what they share, softmax, layer normalisation."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas
from support.criterion import assert_accurate
from support.steps import (
    activate,
    embed,
    layer_norm,
    linear,
    pool,
    promised,
    rotary,
    sinusoid,
    softmax,
)
from support.strategies import guarded, matrices, normal, seeds, tile_edges

import fastattn as fa
from fastattn import reference
from fastattn._rowwise import ACTIVATIONS, POOLINGS

WIDTHS = [1, 2, 7, 15, 16, 17, 33, 384, 1000]
# Rows of these have a variance, and their squares stay finite.
NORMALISABLE = ("normal", "large", "tiny", "far from zero", "equal rows")
U = 2.0**-24
LARGEST = np.finfo(np.float32).max


TABLES = [normal(n, 50, seed=n) for n in (30, 7, 2)]
IDS = [np.random.default_rng(n).integers(0, n, 37) for n in (30, 7, 2)]
CU_SEQLENS = np.array([0, 1, 1, 20, 129])
TURNED = normal(70, 3, 40), *normal(2, 50, 19), np.arange(70) % 50
# Every kernel of this file on something of more than one task.
CALLS = {
    "softmax": lambda **k: softmax(normal(70, 300), **k),
    "softmax of long rows": lambda **k: softmax(normal(5, 9001), **k),
    "layer_norm": lambda **k: layer_norm(normal(70, 300), *normal(2, 300), **k),
    "layer_norm without weight": lambda **k: layer_norm(normal(70, 33), **k),
    **{name: partial(activate, normal(40_001) * 3, name) for name in ACTIVATIONS},
    "embed": lambda **k: embed(TABLES, IDS, (*normal(2, 50), 1e-12), **k),
    **{name: partial(pool, normal(129, 50), CU_SEQLENS, name, True) for name in POOLINGS},
    "sinusoid": lambda **k: sinusoid(300, 301, **k),
    "rotary": lambda **k: rotary(*TURNED, **k),
    "rotary interleaved": lambda **k: rotary(*TURNED, interleaved=True, **k),
}


@pytest.mark.parametrize("threads", THREADS[1:])
@pytest.mark.parametrize("call", CALLS)
def test_bits_do_not_depend_on_threads(isa, call, threads):
    assert_same_bits(CALLS[call](num_threads=threads), CALLS[call](num_threads=1))


@pytest.mark.parametrize("call", CALLS)
def test_bits_do_not_depend_on_the_instruction_set_with_fma(call):
    assert_same_on_fma_isas(CALLS[call])


# Nearly equal numbers: every addition of a chain rounds the same way.
LONG_ROWS = [
    np.full((1, n), 0.1, np.float32) + np.float32(spread) * normal(1, n)
    for n in (1000, 5000, 300_000)
    for spread in (0, 1e-3, 1)
]


@pytest.mark.parametrize("x", LONG_ROWS, ids=lambda x: str(x.shape[1]))
@pytest.mark.parametrize("kernel", ["softmax", "layer_norm", "rms_norm"])
def test_long_rows_are_as_accurate_as_short_ones(isa, kernel, x):
    x[0, 7] = 5
    specification = getattr(reference, kernel)
    assert_accurate(getattr(fa, kernel)(x), lambda t: specification(x.astype(t)))


class TestSoftmax:
    @given(st.data())
    @settings(max_examples=60)
    def test_is_accurate(self, isa, data):
        shape = data.draw(tile_edges), data.draw(tile_edges.filter(bool))
        x = data.draw(matrices(shape))
        with guarded(*shape) as out:
            softmax(x, out)
            if out.size:
                cast = x.astype
                assert_accurate(out.copy(), lambda t: reference.softmax(cast(t)))

    @pytest.mark.parametrize(
        "x",
        [normal(20, 999) * np.float32(spread) for spread in (0.1, 1, 10, 40)]
        # The largest is positive, the others are negative: differences are rounded.
        + [np.hstack([5 + normal(9999, 1), -5 + normal(9999, 3)]), *LONG_ROWS],
        ids=lambda x: str(x.shape),
    )
    def test_keeps_its_promise(self, isa, x):
        block, lanes, more, smallest, total = promised(
            fa.softmax,
            r"``\(\|x - max x\| \+ log n \+ min\(n, (\S+)\) / (\S+) \+ (\S+)\) u y``"
            r".* above (\S+), and a sum is within (\S+) of 1",
        )
        n = x.shape[1]
        exact, y = reference.softmax(x.astype(float)), softmax(x)
        distance = x.max(-1, keepdims=True).astype(float) - x
        allowed = (distance + math.log(n) + min(n, block) / lanes + more) * U * exact
        assert (np.abs(y - exact) <= allowed)[exact > smallest].all()
        assert np.abs(y.sum(-1, dtype=float) - 1).max() <= total

    def test_weighs_a_pair_like_the_logistic_function(self, isa):
        # The second weight is e^x / (e^x + 1): the exponential over its whole interval.
        x = np.zeros((200_001, 2), np.float32)
        x[:, 1] = np.linspace(-90, 0, len(x))
        exact = np.exp(x[:, 1].astype(float)) / (np.exp(x[:, 1].astype(float)) + 1)
        y = softmax(x)[:, 1]
        normal_numbers = x[:, 1] > math.log(np.finfo(np.float32).tiny)
        error = np.abs(y / exact - 1)[normal_numbers]
        # One rounding each of the exponential, the sum, the reciprocal, the product.
        assert error.max() <= 4 * 2 * U
        assert (y[x[:, 1] < -87.7] == 0).all()

    def test_of_equal_scores_is_uniform(self, isa):
        for n in WIDTHS:
            y = softmax(np.full((2, n), -1e30, np.float32))
            assert_same_bits(y, np.full((2, n), np.float32(1) / np.float32(n)))

    @pytest.mark.parametrize("n", [1, 3, 16, 33])
    @pytest.mark.parametrize("special", [np.nan, np.inf])
    def test_nan_and_infinity_fill_their_row_only(self, isa, n, special):
        x = normal(3, n)
        x[1, n // 2] = special
        y = softmax(x)
        assert np.isnan(y[1]).all()
        assert_same_bits(y[::2], softmax(x[::2]))

    def test_minus_infinity_weighs_nothing(self, isa):
        x = normal(1, 40)
        x[0, 5:39] = -np.inf
        y = softmax(x)
        assert_same_bits(y[0, 5:39], np.zeros(34, np.float32))
        assert_accurate(y, lambda t: reference.softmax(x.astype(t)))
        assert np.isnan(softmax(np.full((1, 40), -np.inf, np.float32))).all()

    @given(n=st.sampled_from(WIDTHS), seed=seeds)
    @settings(max_examples=20)
    def test_in_place(self, isa, n, seed):
        x = normal(5, n, seed=seed)
        expected = softmax(x)
        assert_same_bits(softmax(x, x), expected)


# Rows whose squares overflow or vanish, or whose deviations do beside their mean.
EXTREME_ROWS = {
    f"{what} {size:g}": rows * np.float32(size)
    for what, rows in {
        "normal": normal(3, 768).clip(-3.4, 3.4),
        "one alone": np.eye(1, 768, 700, dtype=np.float32),
        "nearly constant": np.float32(1) + np.float32(2**-23) * (normal(2, 768) > 0),
        "short": np.float32([[1, 2]]),
    }.items()
    for size in (1e-43, 1e-38, 1e-25, 1e-19, 1, 1e10, 1e18, 1e19, 1e30, 1e38)
}
EXTREME_ROWS["largest"] = LARGEST * np.sign(normal(2, 768))


@pytest.mark.parametrize("rows", EXTREME_ROWS)
@pytest.mark.parametrize("eps", [0.0, 1e-12, 1.0])
@pytest.mark.parametrize("norm", [reference.layer_norm, reference.rms_norm])
def test_any_finite_row_is_normalised(isa, norm, rows, eps):
    x = EXTREME_ROWS[rows]
    # In float32 the formula itself overflows.
    with np.errstate(all="ignore"):
        exact = norm(x.astype(float), eps=np.float32(eps))
    y = layer_norm(x, eps=eps, rms=norm is reference.rms_norm)
    assert_accurate(y, exact.astype)


@pytest.mark.parametrize("rows", EXTREME_ROWS)
def test_a_fused_norm_has_the_bits_of_one_by_itself(isa, rows):
    x = np.resize(EXTREME_ROWS[rows], (1024, EXTREME_ROWS[rows].shape[1]))
    weight, bias = normal(2, x.shape[1])
    expected = layer_norm(x, weight, bias, 1e-12)
    norm = weight, bias, 1e-12
    identity = np.eye(x.shape[1], dtype=np.float32)
    assert_same_bits(linear(x, identity, norm=norm), expected)
    ids = np.arange(len(x))
    assert_same_bits(embed([x], [ids], norm), expected)


class TestLayerNorm:
    @given(st.data())
    @settings(max_examples=60)
    def test_is_accurate(self, isa, data):
        shape = data.draw(tile_edges), data.draw(tile_edges.filter(bool))
        x = data.draw(matrices(shape, values=NORMALISABLE))
        weight, bias = (
            data.draw(st.sampled_from([None, normal(shape[1], seed=seed)]))
            for seed in (1, 2)
        )

        def compute(dtype):
            w, b = (None if p is None else p.astype(dtype) for p in (weight, bias))
            return reference.layer_norm(x.astype(dtype), w, b, 1e-5)

        with guarded(*shape) as out:
            layer_norm(x, weight, bias, out=out)
            if out.size:
                assert_accurate(out.copy(), compute)

    @pytest.mark.parametrize("mean", [0, 1, 3, 10, 10_000, 1e7])
    @pytest.mark.parametrize("n", [17, 384, 1000, 100_000])
    def test_keeps_its_promise(self, isa, n, mean):
        far, block, lanes, more = promised(
            fa.layer_norm,
            r"``a u \(\(\|z\| \+ min\(mean \|x\| / std, (\S+)\)\) \|weight\| \+ "
            r"\|bias\|\)`` with ``a = min\(n, (\S+)\) / (\S+) \+ (\S+)``",
        )
        x = normal(20, n) + np.float32(mean)
        weight, bias = normal(2, n, seed=1)
        exact = reference.layer_norm(
            x.astype(float), weight.astype(float), bias.astype(float), 1e-5
        )
        mean_of = x.mean(-1, dtype=float, keepdims=True)
        std = x.std(-1, dtype=float, keepdims=True)
        z = np.abs(x - mean_of) / std
        size = np.abs(x).mean(-1, dtype=float, keepdims=True) / std
        allowed = (z + np.minimum(size, far)) * np.abs(weight) + np.abs(bias)
        allowed *= (min(n, block) / lanes + more) * U
        error = np.abs(layer_norm(x, weight, bias) - exact)
        assert (error <= allowed).all()

    @pytest.mark.parametrize("value", [0.0, 7.7, -3.5, 1e30, LARGEST, -1e-30, 1e-45])
    @pytest.mark.parametrize("eps", [1e-5, 1e-12, 1e-30])
    def test_of_a_constant_row_is_the_bias(self, isa, value, eps):
        for n in (1, 2, 17, 384, 768, 5000):
            bias = normal(n)
            x = np.full((2, n), value, np.float32)
            y = layer_norm(x, normal(n, seed=1), bias, eps)
            assert_same_bits(y, np.tile(bias, (2, 1)))

    @pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
    def test_special_values_fill_their_row_only(self, isa, special):
        x = normal(3, 33)
        x[1, 32] = special
        y = layer_norm(x)
        assert np.isnan(y[1]).all()
        assert_same_bits(y[::2], layer_norm(x[::2]))

    @given(n=st.sampled_from(WIDTHS), seed=seeds)
    @settings(max_examples=20)
    def test_in_place(self, isa, n, seed):
        x = normal(5, n, seed=seed)
        expected = layer_norm(x)
        assert_same_bits(layer_norm(x, out=x), expected)


class TestNormalize:
    """What a pooling does at last: a mean of one row is that row."""

    @pytest.mark.parametrize("n", [1, 2, 17, 384, 5000])
    @pytest.mark.parametrize("power", [64, 100, 124])
    def test_of_long_rows_too(self, isa, n, power):
        x, starts = normal(3, n), np.arange(4)
        long = np.ldexp(x, power)
        assert_same_bits(pool(long, starts, "mean", True), pool(x, starts, "mean", True))

    def test_at_the_ends_of_float32(self, isa):
        rows = np.full((4, 384), LARGEST, np.float32)
        rows[1, 1:] = 0
        rows[2] = 1e-45
        rows[3] = np.ldexp(normal(384), -80)
        unit = pool(rows, np.arange(5), "mean", True)
        # In float32 the formula itself would overflow.
        assert_accurate(unit, lambda _: reference.normalize(rows.astype(float)))

    @pytest.mark.parametrize("special", [np.nan, np.inf])
    def test_special_values_fill_their_row_only(self, isa, special):
        x = normal(3, 33)
        x[1, 32] = special
        y = pool(x, np.arange(4), "mean", True)
        assert np.isnan(y[1, 32])
        assert_same_bits(y[::2], pool(x[::2], np.arange(3), "mean", True))


@pytest.mark.parametrize(
    "call",
    [
        lambda: softmax(np.ones((2, 3))),
        lambda: softmax([[1.0]], np.ones((1, 1), np.float32)),
        lambda: layer_norm(np.ones((2, 3), np.float32), np.ones(3)),
        lambda: activate(np.ones(3), "relu"),
        lambda: embed([np.ones((2, 3))], [np.zeros(1, np.int64)]),
        lambda: embed([np.ones((2, 3), np.float32)], [np.zeros(1, np.int32)]),
        lambda: pool(np.ones((2, 3), np.float32), np.array([0, 2], np.int32)),
    ],
)
def test_refuses_other_dtypes(call):
    with pytest.raises(TypeError, match="must be"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: softmax(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)),
        lambda: softmax(np.ones(3, np.float32), np.ones(3, np.float32)),
        lambda: layer_norm(np.ones((2, 3), np.float32), np.ones(4, np.float32)),
        lambda: layer_norm(np.ones((2, 3), np.float32), None, np.ones(2, np.float32)),
        lambda: activate(np.ones(3, np.float32), "relu", np.ones(2, np.float32)),
        lambda: activate(np.ones(6, np.float32)[::2], "relu"),
        lambda: embed([np.ones((4, 6), np.float32)[:, ::2]], [np.zeros(2, np.int64)]),
        lambda: pool(
            np.ones((2, 3), np.float32), np.array([0, 2]), out=np.ones((1, 4), "f4")
        ),
    ],
)
def test_refuses_shapes_and_strides_that_do_not_fit(call):
    with pytest.raises(ValueError, match="must"):
        call()

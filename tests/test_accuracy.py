"""Every bound of docs/accuracy.md: the public functions keep it, on every instruction set.

`tests/csrc/sweep.sh` does the same for the elementary functions inside of them.
"""

import functools
import math

import numpy as np
import pytest
from support.promises import BOUNDS
from support.steps import promised
from support.strategies import VALUES, normal

import fastattn as fa
from fastattn import reference

U = 2.0**-24
# Where the whole sweep found the largest errors, with FMA and without.
WORST = np.array([0.059540838, 0.0591026023, -1.13569045, -0.927632332], np.float32)


def ulp(y):
    return np.spacing(np.abs(y).astype(np.float32)).astype(float)


# What the bounds are made of: the words of the page, over the last axis and float64.
WORDS = {
    "abs": np.abs,
    "log": math.log,
    "min": np.minimum,
    "max": lambda x: np.max(x, axis=-1, keepdims=True),
    "mean": lambda x: np.mean(x, axis=-1, keepdims=True),
    "ulp": ulp,
    "u": U,
}


def assert_kept(name, actual, y, **names):
    """Hold a result to the bound of a function at the right answer `y`."""
    wide = {
        key: value.astype(float) if isinstance(value, np.ndarray) else value
        for key, value in names.items()
    }
    allowed = eval(BOUNDS[name], {"__builtins__": {}}, {**WORDS, **wide, "y": y})
    excess = np.abs(actual - y) / allowed
    assert excess.max() <= 1, f"{name}: {excess.max():.3g} of what is allowed"


def wide(*arrays):
    return [x.astype(float) for x in arrays]


@pytest.mark.parametrize("k", [1, 384, 385, 2000])
@pytest.mark.parametrize("values", ["normal", "large", "far from zero"])
def test_matmul_and_linear(isa, k, values):
    x, weight = (VALUES[values](normal(5, k, seed=i)) for i in range(2))
    bias = normal(5)
    b = weight.T
    exact = x.astype(float) @ b.astype(float)
    assert_kept("matmul", fa.matmul(x, b), exact, k=k, a=x, b=b)
    y = fa.linear(x, weight, bias)
    assert_kept("linear", y, exact + bias, k=k, x=x, weight=weight, bias=bias)


@pytest.mark.parametrize("n", [1, 17, 5000])
@pytest.mark.parametrize("spread", [0.01, 1, 30])
def test_softmax(isa, n, spread):
    x = normal(20, n) * np.float32(spread)
    exact = reference.softmax(x.astype(float))
    assert_kept("softmax", fa.softmax(x), exact, n=n, x=x)


@pytest.mark.parametrize("n", [1, 17, 5000])
@pytest.mark.parametrize("values", ["normal", "far from zero", "equal columns"])
def test_norms(isa, n, values):
    x, weight, bias = VALUES[values](normal(20, n)), normal(n, seed=1), normal(n, seed=2)
    x64, weight64, bias64 = wide(x, weight, bias)
    std = np.sqrt(x64.var(-1, keepdims=True) + 1e-5)
    assert_kept(
        "layer_norm",
        fa.layer_norm(x, weight, bias),
        reference.layer_norm(x64, weight64, bias64),
        n=n,
        x=x,
        z=(x64 - x64.mean(-1, keepdims=True)) / std,
        std=std,
        weight=weight,
        bias=bias,
    )
    exact = reference.rms_norm(x64, weight64)
    assert_kept("rms_norm", fa.rms_norm(x, weight), exact, n=n)


@pytest.mark.parametrize("d", [1, 64, 65, 128])
@pytest.mark.parametrize("keys", [1, 70, 1100])
@pytest.mark.parametrize("spread", [0.1, 1, 5])
def test_attention(isa, d, keys, spread):
    q = normal(2, 70, d) * np.float32(spread)
    k, v = normal(2, keys, d, seed=1), normal(2, keys, 24, seed=2)
    q64, k64, v64 = wide(q, k, v)
    size = np.max(np.abs(q64) @ np.abs(k64).mT) / math.sqrt(d)
    sizes = {"d": d, "keys": keys, "size": size}
    largest = {"value": v.ravel()}
    for causal in (False, True):
        out, lse = fa.attention(q, k, v, causal=causal, return_lse=True)
        exact = reference.attention(q64, k64, v64, causal=causal)
        assert_kept("attention", out, exact, **sizes, **largest)
        exact = reference.attention_lse(q64, k64, causal=causal)
        assert_kept("attention, lse", lse, exact, **sizes)
        weights = fa.attention_weights(q, k, causal=causal)
        exact = reference.attention_weights(q64, k64, causal=causal)
        assert_kept("attention_weights", weights, exact, **sizes)


@functools.cache
def every_magnitude():
    """A dense grid, some numbers of every magnitude and the worst ones."""
    patterns = np.arange(0, 2**32, 20_011).astype(np.uint32).view(np.float32)
    x = np.concatenate([np.linspace(-20, 20, 200_001, dtype=np.float32), patterns, WORST])
    return np.ascontiguousarray(x[np.isfinite(x)])


@functools.cache
def exact_gelu():
    # Phi(x) = erfc(-x / sqrt(2)) / 2, which is exact for negative x too.
    x = every_magnitude().tolist()
    return np.array([0.5 * v * math.erfc(-v * math.sqrt(0.5)) for v in x])


def test_gelu(isa):
    x, exact = every_magnitude(), exact_gelu()
    negative, positive = BOUNDS["gelu(x), x <= 0"], BOUNDS["gelu(x), x >= 0"]
    bounds = [float(negative), float(positive.removesuffix(" ulp"))]
    pattern = r"within (\S+) for negative and (\S+) ulp for positive"
    assert promised(fa.gelu, pattern) == bounds
    error = np.abs(fa.gelu(x) - exact)
    assert error[x <= 0].max() <= bounds[0]
    assert (error / ulp(exact))[x >= 0].max() <= bounds[1]


@pytest.mark.parametrize("first", [0, 1000, 2**24, 2**31 - 40])
@pytest.mark.parametrize("dim", [2, 64, 130])
@pytest.mark.parametrize("base", [1.0, 10000.0, 1e7])
def test_positions(isa, first, dim, base):
    pairs = np.arange(dim // 2, dtype=np.longdouble)
    position = np.arange(first, first + 40, dtype=np.longdouble)[:, None]
    angle = position / np.longdouble(base) ** (2 * pairs / dim)
    cos, sin = fa.rotary_positions(40, dim, base=base, offset=first)
    names = {"angle": angle.astype(float)}
    assert_kept("rotary_positions", cos, np.cos(angle).astype(float), **names)
    assert_kept("rotary_positions", sin, np.sin(angle).astype(float), **names)
    if first == 0:
        table = fa.sinusoidal_positions(40, dim, base=base)
        exact = np.sin(angle).astype(float)
        assert_kept("sinusoidal_positions", table[:, 0::2], exact, **names)


def test_rotary(isa):
    x, cos, sin = normal(40, 64), *fa.rotary_positions(40, 64)
    a, b, cos64, sin64 = wide(x[:, :32], x[:, 32:], cos, sin)
    exact = a * cos64 - b * sin64
    y = fa.apply_rotary(x, cos, sin)[:, :32]
    assert_kept("apply_rotary", y, exact, a=a, b=b, cos=cos, sin=sin)


def test_subnormals_are_kept(isa):
    x = np.array([1e-40, -1e-45, 1e-38], np.float32)
    one = np.ones((1, 1), np.float32)
    np.testing.assert_array_equal(fa.matmul(x[:, None], one)[:, 0], x)
    np.testing.assert_array_equal(fa.attention(one, one, x[None, :])[0], x)
    assert fa.gelu(x)[0] == pytest.approx(0.5e-40, abs=1e-45)
    # e^-87 is the least weight: its half is subnormal.
    weights = fa.softmax(np.array([0, 0, -87], np.float32))
    assert 0 < weights[2] < np.finfo(np.float32).tiny * 8

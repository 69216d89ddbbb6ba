"""Masks of float16 and bfloat16: the bits of the float32 mask of the same numbers."""

import tracemalloc

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.strategies import LAYOUTS, normal
from support.tensors import Tensor, bits_of, wide

import fastattn as fa
from fastattn import nn


def rounded(kind, x):
    """Give a mask in half precision, and the same numbers in float32."""
    if kind == "float16":
        half = x.astype(np.float16)
        return half, half.astype(np.float32)
    if kind == "tensor":  # of PyTorch
        return Tensor(bits_of(x)), wide(bits_of(x))
    half = x.astype(pytest.importorskip("ml_dtypes").bfloat16)
    return half, half.astype(np.float32)


def numbers(*shape):
    """Draw numbers of many magnitudes, -infinity and NaN among them."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal(shape) * 10.0 ** rng.integers(-7, 5, shape)
    x[rng.random(shape) < 0.2] = -np.inf
    x[..., -1, -1:] = np.nan
    return x.astype(np.float32)


kinds = pytest.mark.parametrize("kind", ["float16", "bfloat16", "tensor"])


@kinds
@pytest.mark.parametrize(
    "shape", [(1, 70), (33, 1), (2, 1, 33, 70), (2, 33, 70), (2, 1, 1)]
)
def test_of_every_shape(isa, kind, shape):
    q, k, v = (
        normal(2, 2, 33, 12),
        normal(2, 1, 70, 12, seed=1),
        normal(2, 1, 70, 5, seed=2),
    )
    half, same = rounded(kind, numbers(*shape))
    for dtype in (np.float32, np.float16):
        arrays = [x.astype(dtype) for x in (q, k, v)]
        out, lse = fa.attention(*arrays, half, causal=True, return_lse=True)
        expected, of_it = fa.attention(*arrays, same, causal=True, return_lse=True)
        np.testing.assert_array_equal(out, expected)
        assert_same_bits(lse, of_it)


@kinds
@pytest.mark.parametrize("keys", [1, 15, 63, 64, 65, 600])
def test_of_every_layout(isa, kind, keys):
    q, k, v = normal(20, 16), normal(keys, 16, seed=1), normal(keys, 3, seed=2)
    places = [np.asfortranarray, lambda x: np.repeat(x, 2, 1)[:, ::2]]
    for place in (*places, *(LAYOUTS.values() if kind != "tensor" else ())):
        half, same = rounded(kind, numbers(20, keys))
        if kind == "tensor":
            half.bits = place(half.bits)
        else:
            half = place(half)
        assert_same_bits(fa.attention(q, k, v, half), fa.attention(q, k, v, same))


def test_of_the_other_byte_order():
    q, k, v = normal(20, 16), normal(30, 16, seed=1), normal(30, 3, seed=2)
    half, same = rounded("float16", numbers(20, 30))
    swapped = half.astype(half.dtype.newbyteorder())
    assert_same_bits(fa.attention(q, k, v, swapped), fa.attention(q, k, v, same))


@kinds
def test_are_not_copied(kind):
    x = normal(1200, 16)
    half, _ = rounded(kind, np.zeros((1200, 1200), np.float32))
    tracemalloc.start()
    try:
        fa.attention(x, x, x, half)
        assert tracemalloc.get_traced_memory()[1] < 1200 * 1200
    finally:
        tracemalloc.stop()


@kinds
def test_of_layers(kind):
    x = normal(3, 9, 24)
    plain = nn.MultiHeadAttention(24, 4, alibi=True, rng=0)
    tabled = nn.MultiHeadAttention(24, 4, distance_bias=normal(4, 7), window=(3, 2), rng=0)
    encoder = nn.Encoder(24, 4, 30, 2, rng=0)
    gaps = np.arange(9) % 4 != np.array([[0], [1], [9]])
    half, same = rounded(kind, np.nan_to_num(numbers(3, 1, 9, 9), neginf=-np.inf))
    for layer in (plain, tabled, encoder):
        for options in ({}, {"lengths": [9, 4, 1]}, {"padding_mask": gaps}):
            for causal in (False, True):
                y = layer(x, mask=half, causal=causal, **options)
                assert_same_bits(y, layer(x, mask=same, causal=causal, **options))
    for layer in (plain, tabled):
        weights = layer(x, mask=half, return_weights=True, padding_mask=gaps)[1]
        expected = layer(x, mask=same, return_weights=True, padding_mask=gaps)[1]
        assert_same_bits(weights, expected)


def test_other_widths_are_refused():
    x = normal(5, 4)
    for dtype in (np.float64, np.longdouble):
        with pytest.raises(
            TypeError, match="mask must be float32, float16 or bfloat16, got float"
        ):
            fa.attention(x, x, x, np.zeros((5, 5), dtype))

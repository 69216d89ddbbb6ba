"""Attention with numbers from the ends of float32: what float64 gives, and never NaN.

A finite number in a mask, a bias, a slope, a cap or a scale is a number. Wherever each
term of a score and their sum fit float32, the result is the right one; past that, a score
counts as the largest float of its sign.
"""

import itertools

import numpy as np
import pytest
from support.bits import assert_same_bits, assert_same_on_fma_isas
from support.criterion import assert_accurate
from support.strategies import normal

import fastattn as fa
from fastattn import reference

LIMITS = np.finfo(np.float32)
LARGEST = LIMITS.max
MAGNITUDES = [1e-45, 1e-40, LIMITS.tiny, 3e-30, 1.0, 3e4, 7e17, 3e37, 1e38, LARGEST]
HEAD_DIMS = [1, 5, 16, 64, 80]  # 1 / sqrt of them is a power of 2, or is not
KEYWORDS = ["mask", "scale", "softcap", "alibi_slopes", "distance_bias"]


def operands(dim, queries=3, keys=70):
    """Draw whole numbers for query and key: scores have no rounding to magnify."""
    q, k = normal(1, 2, queries, dim), normal(1, 2, keys, dim, seed=1)
    return np.round(2 * q), np.round(2 * k), normal(1, 2, keys, 3, seed=2)


def parts(size, *shape, seed=5):
    """Draw numbers from -size to size, both of them among the others."""
    x = np.random.default_rng(seed).uniform(-1, 1, shape)
    x.flat[:2] = 1, -1
    return (x * size).astype(np.float32)


def keyword(name, size, queries=3, keys=70):
    """Give a keyword numbers of a size."""
    match name:
        case "mask":
            return {"mask": parts(size, 1, 2, queries, keys)}
        case "distance_bias":
            return {"distance_bias": parts(size, 2, 31)}
        case "alibi_slopes":  # times at most `keys`
            return {"alibi_slopes": parts(min(size, LARGEST / keys), 2)}
    return {name: size}


def assert_right(q, k, v, **keywords):
    """Hold out and lse to float64."""
    out, lse = fa.attention(q, k, v, return_lse=True, **keywords)
    assert_accurate(
        out,
        lambda t: reference.attention(q.astype(t), k.astype(t), v.astype(t), **keywords),
    )
    assert_accurate(
        lse, lambda t: reference.attention_lse(q.astype(t), k.astype(t), **keywords)
    )


@pytest.mark.parametrize("dim", HEAD_DIMS)
@pytest.mark.parametrize("name", KEYWORDS)
def test_every_keyword_takes_every_size(isa, name, dim):
    q, k, v = operands(dim)
    for size in MAGNITUDES:
        assert_right(q, k, v, **keyword(name, size))
        if name == "scale":
            assert_right(q, k, v, scale=-size)


@pytest.mark.parametrize("dim", [16, 80])
def test_every_two_keywords_do(isa, dim):
    q, k, v = operands(dim)
    sizes = [1e-45, 1.0, LARGEST / 4]
    for one, two in itertools.combinations(KEYWORDS, 2):
        for size, other in itertools.product(sizes, sizes):
            assert_right(q, k, v, **keyword(one, size), **keyword(two, other))


@pytest.mark.parametrize("queries", [1, 3])
def test_masks_far_from_zero(isa, queries):
    for dim, factor in itertools.product(HEAD_DIMS, [1, -1]):
        q, k = np.zeros((1, queries, dim), "f4"), np.zeros((1, 2, dim), "f4")
        mask = np.array([-3e37, -3e38], np.float32) * factor
        v = np.array([[[1.0], [0.0]]], np.float32)
        out, lse = fa.attention(q, k, v, mask, return_lse=True)
        assert_same_bits(out, np.full((1, queries, 1), factor == 1, np.float32))
        assert_same_bits(lse, np.full((1, queries), mask.max()))


def test_neighbours_far_from_zero_are_told_apart(isa):
    for dim in HEAD_DIMS:
        q, k = np.zeros((1, dim), np.float32), np.zeros((2, dim), np.float32)
        v = np.array([[1.0], [0.0]], np.float32)
        for size in (3e4, 7e17, 3e37, LARGEST):
            less = np.nextafter(np.float32(size), np.float32(0))
            difference = min(np.float64(np.float32(size)) - np.float64(less), 1e3)
            out = fa.attention(q, k, v, np.array([size, less], np.float32))
            assert out[0, 0] == pytest.approx(1 / (1 + np.exp(-difference)), abs=3e-7)


@pytest.mark.parametrize("cap", [1e-45, LIMITS.tiny, 5e37, LARGEST])
def test_caps(isa, cap):
    q, k, v = operands(12)
    assert_right(q, k, v, softcap=cap)
    if cap > 1:
        # It bounds nothing here, and costs no digit of the smallest score.
        tiny = q * np.float32(1e-20)
        _, lse = fa.attention(tiny, k[:, :, :1], v[:, :, :1], softcap=cap, return_lse=True)
        exact = reference.attention_lse(tiny.astype(float), k[:, :, :1].astype(float))
        np.testing.assert_allclose(lse, exact, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-45, 1e-40, LIMITS.tiny, 1e-30, 1e30, LARGEST])
def test_scales_of_products_of_the_other_end(isa, size):
    q, k, v = operands(5)
    # Scores of some units, products and scale at the two ends.
    factor = np.float32(min(max(1 / float(size), 1e-36), 1e34))
    scale = float(np.float32(size if size == LARGEST else size * 1.9))
    assert_right(q * factor, k, v, scale=scale)
    assert_right(q * factor, k, v, scale=-scale, softcap=30.0)


def test_terms_that_cancel(isa):
    q, k, v = operands(16)
    most = np.full((2, 1), LARGEST, np.float32)
    mask = parts(1e38, 70) - np.float32(2.4e38)
    slopes = -most[:, 0] / 64
    for extra in ({}, {"alibi_slopes": [2e36, 2e36]}, {"softcap": 1e38}):
        assert_right(q, k, v, mask=mask, distance_bias=most, **extra)
    # Three at the largest float, of which the first two are beyond it together.
    third = {"alibi_slopes": slopes, "query_offset": -64, "distance_bias": most}
    assert_right(q[:, :, :1], k[:, :, :1], v[:, :, :1], mask=mask[:1], **third)


class TestBeyondFloat32:
    """A score counts as the largest float of its sign."""

    def assert_all_alike(self, size, keys=70, **keywords):
        """All keys have a score beyond float32 of one sign: then they weigh the same."""
        q, k = np.ones((2, 3, 5), np.float32), np.ones((2, keys, 5), np.float32)
        k[:, ::2] *= 2
        v = normal(2, keys, 4)
        out, lse = fa.attention(q, k, v, return_lse=True, **keywords)
        mean = fa.attention(q * 0, k, v)
        assert_accurate(out, lambda t: np.broadcast_to(mean.astype(t), out.shape))
        assert_same_bits(lse, np.full((2, 3), size, np.float32))

    @pytest.mark.parametrize("keys", [2, 70, 600])
    def test_by_every_keyword(self, isa, keys):
        most = np.full((2, 1), LARGEST, np.float32)
        for sign, size in ((1, LARGEST), (-1, -LARGEST)):
            mask = np.full(keys, sign * LARGEST, np.float32)
            for keywords in (
                {"mask": mask, "scale": sign * 1e35},
                {"mask": mask, "distance_bias": sign * most},
                {"distance_bias": sign * most, "softcap": 1e38, "scale": sign * 3e38},
                {"scale": sign * LARGEST},
                {"alibi_slopes": [-sign * LARGEST] * 2, "query_offset": 2**20},
                {
                    "alibi_slopes": [-sign * LARGEST / 5] * 2,
                    "mask": mask,
                    "distance_bias": sign * most,
                    "scale": sign * LARGEST,
                    "query_offset": -9,
                },
            ):
                self.assert_all_alike(size, keys, **keywords)

    def test_products_that_a_scale_carries_there(self, isa):
        q, v = np.full((1, 1, 1), 1e19, np.float32), np.array([[[1.0], [0.0]]], "f4")
        for scale in (100.0, 1e30):
            for sign in (1, -1):
                k = np.array([[[1e19], [2e19]]], np.float32) * sign
                out, lse = fa.attention(q, k, v, scale=scale, return_lse=True)
                assert_same_bits(out, np.full((1, 1, 1), 0.5, np.float32))
                assert_same_bits(lse, np.full((1, 1), sign * LARGEST, np.float32))

    def test_hides_no_key_and_shows_none(self, isa):
        q, k, v = operands(16, queries=70)
        lowest = np.full((70, 70), -LARGEST, np.float32)
        lowest[:, 40:] = -np.inf
        bias = np.full((2, 1), -LARGEST, np.float32)
        out, lse = fa.attention(q, k, v, lowest, distance_bias=bias, return_lse=True)
        mean = fa.attention(q * 0, k, v, key_lengths=40)
        assert_accurate(out, lambda t: mean.astype(t))
        assert_same_bits(lse, np.full(lse.shape, -LARGEST))

    @pytest.mark.parametrize("sign", [1, -1])
    def test_is_what_the_largest_float_is(self, isa, sign):
        q, k, v = operands(16)
        mask = np.full(70, sign * LARGEST, np.float32)
        bias = np.full((2, 31), sign * LARGEST, np.float32)
        bias[:, 15] = 0
        out = fa.attention(q * 0, k, v, mask, distance_bias=bias)
        assert_same_bits(out, fa.attention(q * 0, k, v, mask))

    def test_does_not_depend_on_company(self, isa):
        mask = np.where(np.arange(70) % 3, np.float32(LARGEST), np.float32(-LARGEST))
        bias = np.stack([mask[:31], -mask[:31]])
        q, k, v = operands(16, queries=70)
        keywords = {"distance_bias": bias, "scale": 1e37}
        some = np.where(normal(70, 70) > 0, mask, np.float32(0))

        def compute(rows):
            part = slice(rows, rows + 1) if rows is not None else slice(None)
            return fa.attention(
                q[:, :, part], k, v, some[part], query_offset=rows or 0, **keywords
            )

        whole = compute(None)
        assert np.isfinite(whole).all()
        for i in (0, 16, 69):
            assert_same_bits(compute(i), whole[:, :, i : i + 1])
        assert_same_on_fma_isas(lambda: compute(None))

    def test_infinities_are_no_large_numbers(self, isa):
        q, k, v = operands(16)
        mask = np.zeros((3, 70), np.float32)
        mask[1, 7] = np.inf
        bias = np.zeros((2, 3), np.float32)
        bias[:, 0] = -np.inf  # hides what is behind the query
        out = fa.attention(q, k, v, mask, distance_bias=bias)
        assert np.isnan(out[:, :, 1]).all()
        expected = fa.attention(q, k, v, np.zeros(70, np.float32), window=(0, None))
        assert_same_bits(np.delete(out, 1, -2), np.delete(expected, 1, -2))


@pytest.mark.parametrize("offset", [2**29 + 9, 2**40, 2**62, -(2**40)])
def test_slopes_count_from_any_offset(isa, offset):
    q, k, v = operands(16)
    for slopes in ([1e-9, 1e-3], [1e9, 1e20]):
        assert_right(q, k, v, alibi_slopes=slopes, query_offset=offset)

"""Attention's offsets, windows, caps, biases, lse and half precision."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas
from support.criterion import assert_accurate
from support.strategies import normal

import fastattn as fa
from fastattn import _attention, reference
from fastattn._program import Program
from fastattn.scores import Scores

LENGTHS = [1, 2, 17, 63, 64, 65, 130, 520]


def operands(batch, heads, seqlen_q, seqlen_k, dim=8, *, kv_heads=None, seed=0):
    kv_heads = kv_heads or heads
    return (
        normal(batch, heads, seqlen_q, dim, seed=seed),
        normal(batch, kv_heads, seqlen_k, dim, seed=seed + 1),
        normal(batch, kv_heads, seqlen_k, dim + 1, seed=seed + 2),
    )


def in_dtype(dtype, arrays):
    return [array.astype(dtype) for array in arrays]


@st.composite
def keywords(draw, batch, heads, seqlen_q, seqlen_k):
    """Draw any of the keywords that shape the scores, each as likely as not."""
    side = st.sampled_from([None, -1, 0, 1, 15, 64, 300])
    m = draw(st.sampled_from([0, 1, 7, 100]))
    offset = st.integers(-seqlen_q - 2, seqlen_k + 2)
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    mask_shape = draw(st.sampled_from([(seqlen_k,), (batch, 1, seqlen_q, seqlen_k)]))
    every = {
        "causal": True,
        "query_offset": draw(
            offset | st.lists(offset, min_size=batch, max_size=batch).map(np.array)
        ),
        "window": (draw(side), draw(side)),
        "scale": draw(st.sampled_from([0.3, 1, -0.5])),
        "softcap": draw(st.sampled_from([0.5, 3.0, 50.0])),
        "alibi_slopes": rng.random((heads,) if draw(st.booleans()) else (batch, heads)),
        "distance_bias": rng.standard_normal((heads, 2 * m + 1)),
        "key_lengths": rng.integers(0, seqlen_k + 1, batch),
        "mask": draw(
            st.sampled_from(
                [rng.random(mask_shape) < 0.8, rng.standard_normal(mask_shape, "f4")]
            )
        ),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(every))))
    return {name: every[name] for name in sorted(chosen)}


class TestKeywords:
    @given(st.data())
    @settings(max_examples=80)
    def test_combine(self, isa, data):
        batch, heads = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 2, 4]))
        seqlen_q = data.draw(st.sampled_from(LENGTHS))
        seqlen_k = data.draw(st.sampled_from(LENGTHS))
        kv_heads = data.draw(st.sampled_from([1, heads]))
        arrays = operands(batch, heads, seqlen_q, seqlen_k, kv_heads=kv_heads)
        options = data.draw(keywords(batch, heads, seqlen_q, seqlen_k))
        out, lse = fa.attention(*arrays, return_lse=True, **options)
        assert_accurate(out, lambda t: reference.attention(*in_dtype(t, arrays), **options))
        with np.errstate(invalid="ignore"):  # -inf is equal to -inf
            assert_accurate(
                lse,
                lambda t: reference.attention_lse(*in_dtype(t, arrays[:2]), **options),
            )
        assert_same_bits(fa.attention(*arrays, **options), out)

    @given(st.data())
    @settings(max_examples=40)
    def test_mean_the_same_for_packed_sequences(self, isa, data):
        lengths_q = data.draw(st.lists(st.sampled_from([0, 1, 30, 70]), min_size=1))
        lengths_k = [data.draw(st.sampled_from([0, 1, 64, 90])) for _ in lengths_q]
        count = len(lengths_q)
        options = data.draw(keywords(count, 2, 30, 60))
        options = {k: v for k, v in options.items() if k not in ("mask", "key_lengths")}
        starts_q, starts_k = np.cumsum([0, *lengths_q]), np.cumsum([0, *lengths_k])
        q = normal(starts_q[-1], 2, 8)
        k, v = normal(2, starts_k[-1], 1, 8, seed=1)
        packed, packed_lse = fa.attention_varlen(
            q, k, v, starts_q, starts_k, return_lse=True, **options
        )
        for i in range(count):
            own = dict(options)
            for name, ndim in (("query_offset", 1), ("alibi_slopes", 2)):
                if np.ndim(own.get(name)) == ndim:
                    own[name] = own[name][i]
            rows_q = slice(starts_q[i], starts_q[i + 1])
            rows_k = slice(starts_k[i], starts_k[i + 1])
            alone, lse = fa.attention(
                *(x.swapaxes(0, 1)[None] for x in (q[rows_q], k[rows_k], v[rows_k])),
                return_lse=True,
                **own,
            )
            assert_same_bits(packed[rows_q].swapaxes(0, 1), alone[0])
            assert_same_bits(packed_lse[rows_q].swapaxes(0, 1), lse[0])

    @given(st.data())
    @settings(max_examples=20)
    def test_do_not_let_threads_change_bits(self, isa, data):
        # One query and many keys: the keys are split over the threads.
        seqlen_q = data.draw(st.sampled_from([1, 3, 70]))
        arrays = operands(1, 2, seqlen_q, 1600)
        options = data.draw(keywords(1, 2, seqlen_q, 1600))
        alone = fa.attention(*arrays, return_lse=True, num_threads=1, **options)
        for threads in THREADS[1:]:
            y = fa.attention(*arrays, return_lse=True, num_threads=threads, **options)
            assert_same_bits(y[0], alone[0])
            assert_same_bits(y[1], alone[1])

    @given(st.data())
    @settings(max_examples=40)
    def test_do_not_let_instruction_sets_with_fma_change_bits(self, data):
        arrays = operands(2, 2, 70, 600)
        options = data.draw(keywords(2, 2, 70, 600))
        assert_same_on_fma_isas(lambda: fa.attention(*arrays, **options))
        assert_same_on_fma_isas(
            lambda: fa.attention(*arrays, return_lse=True, **options)[1]
        )


class TestWindows:
    @pytest.mark.parametrize("offset", [-70, -3, 0, 5, 500])
    def test_are_masks(self, isa, offset):
        q, k, v = operands(1, 2, 70, 530)
        ahead = np.arange(530) - np.arange(70)[:, None] - offset
        for left, right in itertools.product([None, 0, 3, 64, 200], repeat=2):
            mask = np.ones((70, 530), bool)
            if left is not None:
                mask &= ahead >= -left
            if right is not None:
                mask &= ahead <= right
            y = fa.attention(q, k, v, window=(left, right), query_offset=offset)
            assert_same_bits(y, fa.attention(q, k, v, mask))
            y = fa.attention(
                q, k, v, window=(left, right), query_offset=offset, causal=True
            )
            assert_same_bits(y, fa.attention(q, k, v, mask & (ahead <= 0)))

    @pytest.mark.parametrize("seqlen", [1, 70, 530])
    def test_decoding_with_a_cache_gives_the_bits_of_the_whole(self, isa, seqlen):
        q, k, v = operands(2, 2, seqlen, seqlen)
        for window in (None, (100, None)):
            whole = fa.attention(q, k, v, causal=True, window=window)
            for i in {0, 1, 63, 64, 65, 511, 512, seqlen - 1} & set(range(seqlen)):
                one = fa.attention(
                    q[:, :, i : i + 1],
                    k[:, :, : i + 1],
                    v[:, :, : i + 1],
                    causal=True,
                    window=window,
                    query_offset=i,
                )
                assert_same_bits(one, whole[:, :, i : i + 1])

    def test_garbage_outside_stays_outside(self, isa):
        q, k, v = operands(1, 1, 1, 600)
        options = {"window": (40, 20), "query_offset": 300}
        clean = fa.attention(q, k, v, **options)
        for dirty, bad in itertools.product((k, v), [np.nan, np.inf]):
            dirty[:, :, :260] = dirty[:, :, 321:] = bad
        assert_same_bits(fa.attention(q, k, v, **options), clean)

    @pytest.mark.parametrize("offset", [-(2**40), -(2**63), 2**40, 2**63 - 1])
    def test_offsets_beyond_all_keys(self, isa, offset):
        q, k, v = operands(1, 1, 5, 9)
        y = fa.attention(q, k, v, causal=True, query_offset=offset)
        expected = fa.attention(q, k, v) if offset > 0 else np.zeros_like(y)
        assert_same_bits(y, expected)


class TestBiases:
    def test_a_cap_of_much_is_no_cap(self, isa):
        arrays = operands(1, 2, 20, 70)
        assert_accurate(
            fa.attention(*arrays, softcap=1e6),
            lambda t: reference.attention(*in_dtype(t, arrays)),
        )

    def test_a_cap_bounds_large_scores(self, isa):
        q, k, v = operands(1, 2, 20, 70)
        arrays = q * np.float32(1e4), k, v
        assert_accurate(
            fa.attention(*arrays, softcap=2.0),
            lambda t: reference.attention(*in_dtype(t, arrays), softcap=2.0),
        )

    def test_equal_slopes_of_all_heads_are_a_mask(self, isa):
        q, k, v = operands(1, 2, 20, 70)
        ahead = np.abs(np.arange(70) - np.arange(20)[:, None]).astype(np.float32)
        # Halves times small integers, divided by a power of 2, are exact: so the sums are
        # the same.
        y = fa.attention(q, k, v, alibi_slopes=[0.5, 0.5], scale=0.25)
        assert_same_bits(y, fa.attention(q, k, v, -0.5 * ahead, scale=0.25))

    @pytest.mark.parametrize("m", [0, 1, 5, 64, 200])
    def test_distance_bias_is_a_mask(self, isa, m):
        q, k, v = operands(1, 2, 70, 150)
        table = normal(2, 2 * m + 1, seed=9)
        ahead = np.arange(150) - np.arange(70)[:, None]
        mask = table[:, np.clip(ahead, -m, m) + m]
        y = fa.attention(q, k, v, distance_bias=table)
        assert_same_bits(y, fa.attention(q, k, v, mask))


class TestHalfPrecision:
    @given(st.data())
    @settings(max_examples=30)
    def test_is_the_float32_result_rounded(self, isa, data):
        seqlen_q = data.draw(st.sampled_from(LENGTHS))
        seqlen_k = data.draw(st.sampled_from(LENGTHS))
        dim = data.draw(st.sampled_from([1, 5, 16, 33, 64]))
        half = in_dtype(np.float16, operands(2, 2, seqlen_q, seqlen_k, dim))
        options = data.draw(keywords(2, 2, seqlen_q, seqlen_k))
        y, lse = fa.attention(*half, return_lse=True, **options)
        wide, wide_lse = fa.attention(
            *in_dtype(np.float32, half), return_lse=True, **options
        )
        assert y.dtype == np.float16
        assert_same_bits(y.astype(np.float32), wide.astype(np.float16).astype(np.float32))
        assert_same_bits(lse, wide_lse)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_every_number_survives_being_a_value(self, isa, dtype):
        # With one key the output is its value.
        bits = np.arange(2**16, dtype=np.uint16).reshape(1, 256, 1, 256)
        q = np.zeros((1, 256, 1, 4), np.uint16)
        y = np.empty_like(bits)
        arrays = [q, q, bits, y]
        if dtype == "float16":
            arrays = [array.view(np.float16) for array in arrays]
        program = Program(num_threads=1)
        _attention.attention(program, *arrays, Scores(1.0), dtype=dtype)
        program.run()
        exponent = 0x7C00 if dtype == "float16" else 0x7F80
        nan = (bits & 0x7FFF) > exponent
        # Attention adds 0 to its result, which makes -0 a +0.
        expected = np.where(bits == 0x8000, 0, bits)
        np.testing.assert_array_equal(y[~nan], expected[~nan])
        assert ((y[nan] & 0x7FFF) > exponent).all()

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_rounds_to_nearest_even(self, isa, dtype):
        # Two keys of the same weight: the output is the mean of their values.
        rng = np.random.default_rng(0)
        bits = rng.integers(0, 2**16, (1, 64, 2, 256)).astype(np.uint16)
        bits[:, :, 1] = bits[:, :, 0] + rng.integers(-3, 4, (1, 64, 256)).astype("u2")
        if dtype == "float16":
            wide = bits.view(np.float16).astype(np.float32)
        else:
            wide = (bits.astype(np.uint32) << 16).view(np.float32)
        outside = ~(np.abs(wide) < 1e38)  # the sum of two would be infinite
        bits[outside], wide[outside] = 0, 0
        with np.errstate(over="ignore"):
            mean = wide[:, :, :1] / 2 + wide[:, :, 1:] / 2
            half = mean.astype(np.float16).view(np.uint16)
        if dtype == "bfloat16":
            whole = mean.view(np.uint32)
            half = (whole + 0x7FFF + (whole >> 16 & 1) >> 16).astype(np.uint16)
        q = np.zeros((1, 64, 2, 4), np.uint16)
        y = np.empty((1, 64, 1, 256), np.uint16)
        arrays = [q[:, :, :1], q, bits, y]
        if dtype == "float16":
            arrays = [array.view(np.float16) for array in arrays]
        program = Program(num_threads=1)
        _attention.attention(program, *arrays, Scores(1.0), dtype=dtype)
        program.run()
        # Halving a subnormal float32 before or after the sum may differ in its last bit.
        exact = np.abs(mean) > 1e-37
        expected = np.where(half == 0x8000, 0, half)
        np.testing.assert_array_equal(y[exact], expected[exact])

    def test_hidden_garbage_stays_hidden(self, isa):
        q, k, v = in_dtype(np.float16, operands(1, 2, 20, 70))
        clean = fa.attention(q, k, v, key_lengths=[33])
        seen = np.arange(70) < 33
        k[:, :, 33:], v[:, :, 33:] = np.nan, np.inf
        np.testing.assert_array_equal(fa.attention(q, k, v, key_lengths=[33]), clean)
        np.testing.assert_array_equal(fa.attention(q, k, v, seen), clean)


def test_lse_of_nothing_is_minus_infinity(isa):
    q, k, v = operands(1, 2, 5, 70)
    for hidden in ({"key_lengths": [0]}, {"mask": np.zeros(70, bool)}):
        _, lse = fa.attention(q, k, v, return_lse=True, **hidden)
        assert (lse == -np.inf).all()
    _, lse = fa.attention(q, k[:, :, :0], v[:, :, :0], return_lse=True)
    assert (lse == -np.inf).all()


def test_lse_of_nan_is_nan(isa):
    q, k, v = operands(1, 1, 3, 70)
    k[0, 0, 40, 0] = np.nan
    assert np.isnan(fa.attention(q, k, v, return_lse=True)[1]).all()

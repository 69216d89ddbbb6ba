"""What may not change one bit of attention: masks said otherwise, company, threads."""

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas
from support.strategies import normal, seeds

import fastattn as fa

LENGTHS = [1, 16, 17, 63, 64, 65, 130, 512, 513, 580]
GARBAGE = [np.nan, np.inf, -np.inf, 3e38]


def operands(batch, heads, seqlen_q, seqlen_k, dim=12, value_dim=None, seed=0):
    return (
        normal(batch, heads, seqlen_q, dim, seed=seed),
        normal(batch, heads, seqlen_k, dim, seed=seed + 1),
        normal(batch, heads, seqlen_k, value_dim or dim, seed=seed + 2),
    )


def packed_calls():
    x = normal(700, 3, 4, 20)
    starts = [0, 1, 1, 66, 130, 700]
    q, k, v = x[:, 0], x[:, 1, ::2], x[:, 2, ::2]
    for causal in (False, True):
        yield partial(fa.attention_varlen, q, k, v, starts, causal=causal)


def dense_calls():
    q, k, v = operands(3, 4, 200, 700, 20)
    rng = np.random.default_rng(0)
    seen = rng.random((3, 1, 200, 700)) < 0.7
    bias = np.where(seen, rng.standard_normal(seen.shape, np.float32), -np.inf)
    for mask in (None, seen, bias.astype(np.float32), seen[:, :, :1]):
        for causal, key_lengths in itertools.product([False, True], [None, [0, 699, 65]]):
            masked = {"mask": mask, "causal": causal, "key_lengths": key_lengths}
            yield partial(fa.attention, q, k[:, ::2], v[:, ::2], **masked)


CALLS = [*packed_calls(), *dense_calls()]


@pytest.mark.parametrize("call", CALLS)
def test_threads(isa, call):
    alone = call(num_threads=1)
    for threads in THREADS[1:]:
        assert_same_bits(call(num_threads=threads), alone)


@pytest.mark.parametrize("call", CALLS)
def test_instruction_sets_with_fma(call):
    assert_same_on_fma_isas(call)


class TestMasksSaidOtherwise:
    # With a scale that is a power of 2, as that of heads of 16, a score is the same before
    # and after scaling: a float mask is added to scaled ones.
    EXACT = 16

    @pytest.mark.parametrize("seqlen_q", [1, 65])
    @pytest.mark.parametrize("seqlen_k", LENGTHS)
    def test_minus_infinity_is_false(self, isa, seqlen_q, seqlen_k):
        q, k, v = operands(2, 2, seqlen_q, seqlen_k, self.EXACT)
        rng = np.random.default_rng(seqlen_k)
        for shape in [(seqlen_q, seqlen_k), (2, 1, 1, seqlen_k), (2, 2, seqlen_q, 1)]:
            seen = rng.random(shape) < 0.5
            added = np.where(seen, np.float32(0), np.float32(-np.inf))
            assert_same_bits(fa.attention(q, k, v, added), fa.attention(q, k, v, seen))

    @pytest.mark.parametrize("seqlen_k", LENGTHS)
    def test_all_true_is_no_mask(self, isa, seqlen_k):
        q, k, v = operands(2, 2, 20, seqlen_k, self.EXACT)
        nothing = fa.attention(q, k, v)
        assert_same_bits(fa.attention(q, k, v, np.array(True)), nothing)
        assert_same_bits(fa.attention(q, k, v, np.ones((20, seqlen_k), bool)), nothing)
        assert_same_bits(fa.attention(q, k, v, np.zeros(seqlen_k, np.float32)), nothing)

    @pytest.mark.parametrize("seqlen_k", LENGTHS)
    def test_key_lengths_are_a_mask(self, isa, seqlen_k):
        q, k, v = operands(5, 2, 20, seqlen_k)
        key_lengths = [0, 1, seqlen_k // 2, seqlen_k - 1, seqlen_k]
        mask = np.arange(seqlen_k) < np.array(key_lengths)[:, None, None, None]
        expected = fa.attention(q, k, v, mask)
        assert_same_bits(fa.attention(q, k, v, key_lengths=key_lengths), expected)
        for i, n in enumerate(key_lengths):
            alone = fa.attention(q[i], k[i, :, :n], v[i, :, :n])
            assert_same_bits(alone, expected[i])

    @pytest.mark.parametrize("key_lengths", [3, [3], np.int32(3), np.array([3], np.uint8)])
    def test_one_key_length_is_for_all(self, isa, key_lengths):
        q, k, v = operands(2, 2, 5, 7)
        expected = fa.attention(q, k[:, :, :3], v[:, :, :3])
        assert_same_bits(fa.attention(q, k, v, key_lengths=key_lengths), expected)

    def test_one_key_length_for_arrays_without_a_batch(self, isa):
        q, k, v = operands(1, 2, 5, 7)
        expected = fa.attention(q[0], k[0, :, :3], v[0, :, :3])
        assert_same_bits(fa.attention(q[0], k[0], v[0], key_lengths=3), expected)
        one_head = fa.attention(q[0, 1], k[0, 1], v[0, 1], key_lengths=3)
        assert_same_bits(one_head, expected[1])

    @pytest.mark.parametrize("seqlen_q", [65, 520])
    @pytest.mark.parametrize("seqlen_k", LENGTHS)
    def test_causal_is_a_mask(self, isa, seqlen_q, seqlen_k):
        q, k, v = operands(1, 2, seqlen_q, seqlen_k)
        mask = np.tri(seqlen_q, seqlen_k, dtype=bool)
        expected = fa.attention(q, k, v, mask)
        assert_same_bits(fa.attention(q, k, v, causal=True), expected)

    def test_masks_broadcast_like_what_they_stand_for(self, isa):
        q, k, v = operands(2, 3, 20, 70)
        full = np.random.default_rng(0).random((2, 3, 20, 70)) < 0.5
        for part in (full[:1, :1, :1], full[:, :1, :1], full[:1, :, :1], full[..., :1]):
            whole = np.broadcast_to(part, full.shape).copy()
            for kind in (lambda m: m, lambda m: np.where(m, np.float32(0.3), -np.inf)):
                mask, same = kind(part), kind(whole)
                if mask.dtype != bool:
                    mask, same = mask.astype(np.float32), same.astype(np.float32)
                assert_same_bits(fa.attention(q, k, v, mask), fa.attention(q, k, v, same))


class TestCompany:
    @pytest.mark.parametrize("causal", [False, True])
    def test_padded_packed_and_alone(self, isa, causal):
        lengths = [1, 70, 0, 16, 530, 64]
        q, k, v = operands(len(lengths), 2, 530, 530)
        padded = fa.attention(q, k, v, causal=causal, key_lengths=lengths)
        tokens = [
            np.concatenate([x[i, :, :n].swapaxes(0, 1) for i, n in enumerate(lengths)])
            for x in (q, k, v)
        ]
        starts = np.cumsum([0, *lengths])
        packed = fa.attention_varlen(*tokens, starts, causal=causal)
        for i, n in enumerate(lengths):
            part = packed[starts[i] : starts[i + 1]].swapaxes(0, 1)
            assert_same_bits(part, padded[i, :, :n])
            alone = fa.attention(q[i, :, :n], k[i, :, :n], v[i, :, :n], causal=causal)
            assert_same_bits(part, alone)

    @pytest.mark.parametrize("queries", [1, 2, 15, 16, 17, 64, 65])
    def test_a_query_among_others(self, isa, queries):
        q, k, v = operands(1, 2, 129, 600)
        together = fa.attention(q, k, v)
        for start in (0, 7, 129 - queries):
            part = slice(start, start + queries)
            assert_same_bits(fa.attention(q[:, :, part], k, v), together[:, :, part])

    @pytest.mark.parametrize("dims", [1, 3, 16, 17, 40])
    def test_a_value_dimension_among_others(self, isa, dims):
        q, k, v = operands(1, 2, 20, 600, value_dim=50)
        assert_same_bits(
            fa.attention(q, k, v[..., :dims]), fa.attention(q, k, v)[..., :dims]
        )

    def test_queries_and_keys_of_different_packings(self, isa):
        q, k, v = (x[0].swapaxes(0, 1) for x in operands(1, 2, 90, 200))
        starts_q, starts_k = [0, 0, 20, 90, 90], [0, 30, 30, 195, 200]
        packed = fa.attention_varlen(q, k, v, starts_q, starts_k)
        for i in range(4):
            part_q = slice(*starts_q[i : i + 2])
            part_k = slice(*starts_k[i : i + 2])
            alone = fa.attention(
                *(
                    x[part].swapaxes(0, 1)
                    for x, part in ((q, part_q), (k, part_k), (v, part_k))
                )
            )
            assert_same_bits(packed[part_q], alone.swapaxes(0, 1))

    def test_grouped_heads_are_repeated_heads(self, isa):
        q, k, v = operands(2, 6, 20, 70)
        for kv_heads in (1, 2, 3):
            few = k[:, :kv_heads], v[:, :kv_heads]
            repeated = (np.repeat(x, 6 // kv_heads, 1) for x in few)
            assert_same_bits(fa.attention(q, *few), fa.attention(q, *repeated))


class TestWhatIsHiddenStaysHidden:
    @given(st.data())
    @settings(max_examples=60)
    def test_in_keys_and_values(self, isa, data):
        seqlen_q = data.draw(st.sampled_from([1, 17, 70]))
        seqlen_k = data.draw(st.sampled_from([2, 17, 64, 70, 530]))
        q, k, v = operands(2, 2, seqlen_q, seqlen_k, seed=data.draw(st.integers(0, 99)))
        hidden = np.random.default_rng(data.draw(seeds)).random((2, seqlen_k)) < 0.3
        kind = data.draw(st.sampled_from(["bool", "float", "lengths"]))
        keywords = {"causal": data.draw(st.booleans())}
        seen = ~hidden[:, None, None, :]
        if kind == "lengths":
            keywords["key_lengths"] = seqlen_k - hidden.sum(1)
            hidden = np.sort(hidden, 1)
        elif kind == "bool":
            keywords["mask"] = seen
        else:
            keywords["mask"] = np.where(seen, np.float32(0.5), np.float32(-np.inf))
        clean = fa.attention(q, k, v, **keywords)
        for dirty in (k, v):
            place = np.broadcast_to(hidden[:, None, :], dirty.shape[:3])
            dirty[place] = data.draw(st.sampled_from(GARBAGE))
        assert_same_bits(fa.attention(q, k, v, **keywords), clean)

    @pytest.mark.parametrize("bad", GARBAGE[:3])
    @pytest.mark.parametrize("place", [0, 37, 63, 64, 300, 599])
    def test_from_the_queries_that_may_not_see_it(self, isa, bad, place):
        q, k, v = operands(1, 2, 70, 600)
        mask = np.ones((70, 600), bool)
        mask[::3, place] = False
        clean = fa.attention(q, k, v, mask)
        for dirty in (k, v):
            before = dirty[0, 1, place, 2]
            dirty[0, 1, place, 2] = bad
            y = fa.attention(q, k, v, mask)
            assert_same_bits(y[:, :, ::3], clean[:, :, ::3])
            assert_same_bits(y[:, 0], clean[:, 0])
            dirty[0, 1, place, 2] = before

    @pytest.mark.parametrize("place", [0, 37, 64, 599])
    def test_but_what_is_seen_is_not(self, isa, place):
        q, k, v = operands(1, 1, 70, 600)
        mask = np.ones((70, 600), bool)
        mask[::3, place] = False
        sees = mask[:, place]
        clean = fa.attention(q, k, v, mask)
        for value in (np.nan, np.inf, -np.inf):
            dirty = v.copy()
            dirty[0, 0, place, 2] = value
            y = fa.attention(q, k, dirty, mask)
            np.testing.assert_array_equal(y[0, 0, sees, 2], np.float32(value))
            assert_same_bits(np.delete(y, 2, -1), np.delete(clean, 2, -1))
        dirty = k.copy()
        dirty[0, 0, place, 2] = np.nan
        assert np.isnan(fa.attention(q, dirty, v, mask)[0, 0, sees]).all()

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_bad_query_spoils_itself_only(self, isa, value):
        q, k, v = operands(1, 2, 70, 130)
        clean = fa.attention(q, k, v)
        q[0, 1, 20, 3] = value
        y = fa.attention(q, k, v)
        assert np.isnan(y[0, 1, 20]).all()
        assert_same_bits(y[:, 0], clean[:, 0])
        assert_same_bits(np.delete(y[0, 1], 20, 0), np.delete(clean[0, 1], 20, 0))

    @pytest.mark.parametrize("place", [1, 37, 64, 520])
    def test_from_the_queries_before_it(self, isa, place):
        q, k, v = operands(1, 1, 530, 530)
        clean = fa.attention(q, k, v, causal=True)
        for dirty, bad in itertools.product((k, v), GARBAGE):
            before = dirty[0, 0, place].copy()
            dirty[0, 0, place] = bad
            y = fa.attention(q, k, v, causal=True)
            assert_same_bits(y[:, :, :place], clean[:, :, :place])
            dirty[0, 0, place] = before

    def test_garbage_in_every_key_that_nobody_sees_is_nothing(self, isa):
        q, _, _ = operands(1, 1, 5, 1)
        nan = np.full((1, 1, 70, 12), np.nan, np.float32)
        y = fa.attention(q, nan, nan, np.zeros(70, bool))
        assert_same_bits(y, np.zeros((1, 1, 5, 12), np.float32))

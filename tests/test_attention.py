"""Attention: accuracy at every edge, masks of every kind, where the arrays lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import assert_same_bits
from support.criterion import assert_accurate
from support.processes import printed
from support.strategies import guarded, normal, seeds

import fastattn as fa
from fastattn import _attention, reference
from fastattn._program import Program
from fastattn.scores import Scores

HEAD_DIMS = [1, 5, 16, 20, 32, 64, 80, 128, 256, 300]
# Around panels of 16 queries, blocks of 64 queries and keys and chunks of 512 keys.
LENGTHS = [0, 1, 2, 3, 15, 16, 17, 33, 63, 64, 65, 127, 129, 511, 512, 513, 577, 1025]
lengths = st.sampled_from(LENGTHS)


def operands(
    batch, heads, seqlen_q, seqlen_k, dim, *, value_dim=None, kv_heads=None, seed=0
):
    """Draw query, key and value of unit variance."""
    kv_heads = heads if kv_heads is None else kv_heads
    value_dim = dim if value_dim is None else value_dim
    return (
        normal(batch, heads, seqlen_q, dim, seed=seed),
        normal(batch, kv_heads, seqlen_k, dim, seed=seed + 1),
        normal(batch, kv_heads, seqlen_k, value_dim, seed=seed + 2),
    )


def exact_operands(*sizes):
    """Draw query and key of whole numbers: their scores have no rounding to magnify."""
    q, k, v = operands(*sizes)
    return np.round(2 * q), np.round(2 * k), v


def assert_attends(q, k, v, mask=None, **keywords):
    """Hold `fa.attention` to the specification, and the memory around it to itself."""
    with guarded(*q.shape[:-1], v.shape[-1]) as out:
        fa.attention(q, k, v, mask, out=out, **keywords)
        if out.size:
            assert_accurate(
                out.copy(),
                lambda t: reference.attention(
                    q.astype(t), k.astype(t), v.astype(t), mask, **keywords
                ),
            )


class TestAccuracy:
    @pytest.mark.parametrize("dim", HEAD_DIMS)
    def test_of_every_head_dimension(self, isa, dim):
        assert_attends(*operands(2, 2, 35, 70, dim))

    @pytest.mark.parametrize(
        ("dim", "value_dim"), [(64, 5), (16, 300), (1, 64), (3, 1), (80, 17)]
    )
    def test_of_values_of_another_dimension(self, isa, dim, value_dim):
        assert_attends(*operands(1, 2, 35, 70, dim, value_dim=value_dim))

    @given(seqlen_q=lengths, seqlen_k=lengths, causal=st.booleans(), seed=seeds)
    @settings(max_examples=40)
    def test_of_every_length(self, isa, seqlen_q, seqlen_k, causal, seed):
        assert_attends(*operands(1, 1, seqlen_q, seqlen_k, 8, seed=seed), causal=causal)

    @pytest.mark.parametrize("call", [fa.attention, fa.attention_weights])
    def test_of_three_dimensions_no_heads_are_grouped(self, call):
        # (heads, length, dim) or (batch, length, dim)? Where both mean the same, no matter.
        q, k, v = (x[0] for x in operands(1, 4, 5, 7, 8, kv_heads=2))
        operands_of = {fa.attention: 3, fa.attention_weights: 2}[call]
        arrays = [q, k, v][:operands_of]
        with pytest.raises(ValueError, match=r"4 and 2.*query\[None\], key\[None\]"):
            call(*arrays)
        grouped = call(*(x[None] for x in arrays))[0]
        repeated = call(q, *(np.repeat(x, 2, axis=0) for x in arrays[1:]))
        assert_same_bits(grouped, repeated)
        assert_same_bits(call(q[None], *arrays[1:])[0], grouped)
        of_one = [q, *(x[:1] for x in arrays[1:])]
        assert_same_bits(call(*of_one), call(*(x[None] for x in of_one))[0])

    @pytest.mark.parametrize("kv_heads", [1, 2, 3, 6])
    def test_of_grouped_heads(self, isa, kv_heads):
        assert_attends(*operands(2, 6, 20, 33, 16, kv_heads=kv_heads), causal=True)

    @pytest.mark.parametrize("scale", [0.0, -0.5, -30.0, 1.0, 3, 2.0**-40, 2.0**40])
    @pytest.mark.parametrize("causal", [False, True])
    def test_of_any_scale(self, isa, scale, causal):
        assert_attends(*exact_operands(1, 2, 20, 79, 16), scale=scale, causal=causal)

    def test_of_no_dimensions(self, isa):
        q, k, v = operands(1, 2, 20, 80, 16)
        # Scores that are sums of nothing are equal, whatever was computed before.
        mean = fa.attention(q, k, v, scale=0.0)
        assert_same_bits(fa.attention(q[..., :0], k[..., :0], v), mean)
        assert fa.attention(q, k, v[..., :0]).shape == (1, 2, 20, 0)
        tokens = [x[0].swapaxes(0, 1) for x in (q[:, :, :20], k[:, :, :20], v[..., :0])]
        y = fa.attention_varlen(*tokens[:2], tokens[2][:20], [0, 7, 20])
        assert y.shape == (20, 2, 0)

    @pytest.mark.parametrize("causal", [False, True])
    def test_of_large_scores(self, isa, causal):
        q, k, v = exact_operands(1, 2, 70, 150, 16)
        scores = reference.attention_scores(q, k, scale=1000.0)
        assert np.abs(scores).max() > 1e4
        assert_attends(q, k, v, scale=1000.0, causal=causal)

    def test_of_values_of_any_size(self, isa):
        q, k, v = operands(1, 1, 20, 80, 16)
        for factor in (1e-39, 1e-30, 1e30):
            assert_attends(q, k, v * np.float32(factor))

    def test_of_leading_dimensions_that_broadcast(self, isa):
        q, k, v = operands(3, 2, 5, 7, 8)
        whole = fa.attention(
            np.tile(q[:1, None], (2, 3, 1, 1, 1)), np.stack([k, k]), np.stack([v, v])
        )
        assert whole.shape == (2, 3, 2, 5, 8)
        assert_same_bits(fa.attention(q[0], k[None].repeat(2, 0), v), whole)

    def test_of_two_and_three_dimensions(self, isa):
        q, k, v = operands(1, 3, 20, 40, 8)
        four = fa.attention(q, k, v, causal=True)
        assert_same_bits(fa.attention(q[0], k[0], v[0], causal=True), four[0])
        two = fa.attention(q[0, 1], k[0, 1], v[0, 1], causal=True)
        assert_same_bits(two, four[0, 1])


@st.composite
def masks(draw, shape):
    """Draw a bool or float mask that broadcasts to `shape`, in some memory order."""
    shape = [draw(st.sampled_from([1, size])) for size in shape]
    shape = shape[draw(st.integers(0, len(shape) - 1)) :]
    rng = np.random.default_rng(draw(seeds))
    seen = rng.random(shape) < draw(st.sampled_from([0.03, 0.5, 0.99, 1.0]))
    mask = seen
    if draw(st.booleans()):
        bias = 3 * rng.standard_normal(shape, np.float32)
        mask = np.where(seen, bias, np.float32(-np.inf))
    if draw(st.booleans()):
        mask = np.asfortranarray(mask)
    return mask


class TestMasks:
    @given(st.data())
    @settings(max_examples=60)
    def test_of_every_shape_and_kind_combine(self, isa, data):
        batch, heads = (
            data.draw(st.integers(1, 3)),
            data.draw(st.sampled_from([1, 2, 4])),
        )
        seqlen_q = data.draw(st.sampled_from([1, 17, 64, 65]))
        seqlen_k = data.draw(st.sampled_from([1, 16, 63, 64, 130, 520]))
        kv_heads = data.draw(st.sampled_from([1, heads]))
        assert_attends(
            *operands(batch, heads, seqlen_q, seqlen_k, 8, kv_heads=kv_heads),
            data.draw(masks((batch, heads, seqlen_q, seqlen_k))),
            causal=data.draw(st.booleans()),
            key_lengths=data.draw(
                st.none()
                | st.lists(st.integers(0, seqlen_k), min_size=batch, max_size=batch)
            ),
        )

    def test_given_as_lists(self, isa):
        q, k, v = operands(1, 1, 2, 3, 4)
        for mask in ([[True, False, True]] * 2, [0.5, -1, 2]):
            assert_same_bits(
                fa.attention(q, k, v, mask),
                fa.attention(q, k, v, np.array(mask, bool if mask[0] != 0.5 else "f4")),
            )

    def test_of_the_most_negative_number_is_no_mask(self, isa):
        _, k, v = operands(1, 2, 9, 80, 4)
        q = np.zeros((1, 2, 9, 4), np.float32)
        mean = fa.attention(q, k, v)
        for lowest in (np.finfo(np.float32).min, np.float32(-3e38)):
            y = fa.attention(q, k, v, np.full((9, 80), lowest))
            assert_same_bits(y, mean)

    def test_nan_in_a_float_mask_reaches_its_query_only(self, isa):
        q, k, v = operands(1, 1, 20, 80, 4)
        mask = np.zeros((20, 80), np.float32)
        clean = fa.attention(q, k, v, mask)
        mask[7, 50] = np.nan
        y = fa.attention(q, k, v, mask)
        assert np.isnan(y[..., 7, :]).all()
        assert_same_bits(np.delete(y, 7, -2), np.delete(clean, 7, -2))

    @pytest.mark.parametrize("seqlen_k", [0, 1, 64, 600])
    def test_a_query_that_sees_nothing_gives_zeros(self, isa, seqlen_k):
        q, k, v = operands(2, 2, 70, seqlen_k, 8, value_dim=5)
        zeros = np.zeros((2, 2, 70, 5), np.float32)
        for hidden in (
            {"mask": np.zeros(seqlen_k, bool)},
            {"mask": np.full((70, seqlen_k), -np.inf, np.float32)},
            {"key_lengths": [0, 0]},
        ):
            assert_same_bits(fa.attention(q, k, v, **hidden), zeros)

    def test_one_query_that_sees_nothing_among_others(self, isa):
        q, k, v = operands(1, 1, 20, 600, 8)
        mask = np.ones((20, 600), bool)
        mask[13] = False
        y = fa.attention(q, k, v, mask)
        assert_same_bits(y[..., 13, :], np.zeros((1, 1, 8), np.float32))
        everything = fa.attention(q, k, v)
        assert_same_bits(np.delete(y, 13, -2), np.delete(everything, 13, -2))


class TestWhereTheArraysLie:
    q, k, v = operands(2, 3, 70, 70, 20)

    def test_swapped_axes(self, isa):
        expected = fa.attention(self.q, self.k, self.v)
        swapped = [x.swapaxes(1, 2).copy().swapaxes(1, 2) for x in (self.q, self.k, self.v)]
        assert not swapped[0].flags.c_contiguous
        assert_same_bits(fa.attention(*swapped), expected)

    def test_slices_of_a_fused_projection(self, isa):
        # (tokens, 3, heads, dim), as one linear layer gives it.
        fused = np.stack([x.swapaxes(1, 2) for x in (self.q, self.k, self.v)], 2)
        fused = fused.reshape(140, 3, 3, 20)
        expected = fa.attention(self.q, self.k, self.v).swapaxes(1, 2).reshape(140, 3, 20)
        packed = fa.attention_varlen(*fused.swapaxes(0, 1), [0, 70, 140])
        assert_same_bits(packed, expected)
        batched = fused.reshape(2, 70, 3, 3, 20).transpose(2, 0, 3, 1, 4)
        assert_same_bits(
            fa.attention(*batched).swapaxes(1, 2).reshape(140, 3, 20), expected
        )

    @pytest.mark.parametrize(
        "place",
        [
            lambda x: x[..., ::-1, :].copy()[..., ::-1, :],
            lambda x: np.repeat(x, 2, -2)[..., ::2, :],
            lambda x: np.repeat(x, 2, -1)[..., ::2],
            lambda x: np.asfortranarray(x),
            lambda x: np.pad(x, [(0, 0)] * 3 + [(3, 2)])[..., 3:-2],
        ],
    )
    def test_strides(self, isa, place):
        expected = fa.attention(self.q, self.k, self.v)
        placed = fa.attention(place(self.q), place(self.k), place(self.v))
        assert_same_bits(placed, expected)

    def test_out_is_written_where_it_lies(self, isa):
        expected = fa.attention(self.q, self.k, self.v)
        room = np.full((2, 70, 3, 20), np.nan, np.float32)
        out = room.swapaxes(1, 2)
        assert fa.attention(self.q, self.k, self.v, out=out) is out
        assert_same_bits(room.swapaxes(1, 2), expected)
        tokens = [x.swapaxes(1, 2).reshape(140, 3, 20) for x in (self.q, self.k, self.v)]
        with guarded(140, 3, 20) as out:
            assert fa.attention_varlen(*tokens, [0, 70, 140], out=out) is out
            assert_same_bits(out.reshape(2, 70, 3, 20).swapaxes(1, 2), expected)

    @pytest.mark.parametrize("name", ["query", "key", "value", "mask"])
    def test_out_may_not_overlap_the_inputs(self, name):
        inputs = dict(zip(("query", "key", "value"), (self.q, self.k, self.v), strict=True))
        inputs["mask"] = np.zeros((2, 3, 70, 70), np.float32)
        out = inputs[name][..., :20]
        with pytest.raises(ValueError, match="out must not share memory"):
            fa.attention(**inputs, out=out)


def test_the_boundary_refuses_starts_of_no_sequence():
    x, none = np.zeros((0, 1, 2), np.float32), np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="cu_seqlens_q must have shape"):
        _attention.attention_varlen(Program(), x, x, x, x, none, none, Scores(1.0))


def test_memory_does_not_grow_with_the_square_of_the_length():
    script = """
        import resource
        import numpy as np
        import fastattn as fa

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux

        x = np.random.default_rng(0).standard_normal((1, 1, 16384, 32), np.float32)
        fa.attention(x[:, :, :300], x[:, :, :300], x[:, :, :300])
        before = peak()
        fa.attention(x, x, x)
        print(peak() - before)
    """
    # A matrix of the scores would be 1 GiB.
    assert int(printed(script)) < 64 * 1024


def test_every_byte_but_0_of_a_bool_mask_is_true(isa):
    bytes_ = np.arange(256, dtype=np.uint8).reshape(1, 256)
    for order in (bytes_, bytes_[:, ::-1]):
        weights = fa.attention_weights(
            np.zeros((1, 4), np.float32), np.zeros((256, 4), np.float32), order.view(bool)
        )
        assert np.array_equal(weights > 0, order != 0)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 130])
def test_each_element_of_a_bool_mask_hides_its_key_from_its_query(isa, length):
    mask = np.random.default_rng(length).random((length, 3 * length)) < 0.5
    x = np.zeros((length, 4), np.float32)
    for strided in (mask[:, :length].copy(), mask[:, ::3], mask[:, :length].T.copy().T):
        assert np.array_equal(fa.attention_weights(x, x, strided) > 0, strided)


def test_a_block_that_the_mask_shows_whole_is_still_cut_by_the_window(isa):
    q, k, v = operands(1, 2, 130, 130, 16)
    mask = np.ones((130, 130), bool)
    mask[:, :64] = np.random.default_rng(0).random((130, 64)) < 0.5
    both = mask & np.tri(130, dtype=bool)
    assert_same_bits(fa.attention(q, k, v, mask, causal=True), fa.attention(q, k, v, both))

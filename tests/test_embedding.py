"""Embedding look-up, pooling of packed sequences, the table of sinusoids."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import assert_same_bits
from support.criterion import assert_accurate
from support.steps import embed, pool, sinusoid
from support.strategies import guarded, matrices, normal, seeds, tile_edges

from fastattn import _cpu, _rowwise, reference
from fastattn._program import Program
from fastattn._rowwise import POOLINGS


class TestEmbed:
    @given(st.data())
    @settings(max_examples=40)
    def test_is_accurate(self, isa, data):
        tokens, dim = data.draw(tile_edges), data.draw(tile_edges.filter(bool))
        rows = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
        tables = [normal(n, dim, seed=data.draw(seeds)) for n in rows]
        rng = np.random.default_rng(data.draw(seeds))
        ids = [rng.integers(0, n, tokens) for n in rows]
        norm = data.draw(st.sampled_from([None, (*normal(2, dim), 1e-12)]))

        def compute(dtype):
            total = sum(
                table.astype(dtype)[index] for table, index in zip(tables, ids, strict=True)
            )
            if norm is None:
                return total
            weight, bias = norm[0].astype(dtype), norm[1].astype(dtype)
            return reference.layer_norm(total, weight, bias, norm[2])

        with guarded(tokens, dim) as out:
            embed(tables, ids, norm, out)
            if out.size:
                assert_accurate(out.copy(), compute)

    @pytest.mark.parametrize("bad", [-1, 4, 2**62, -(2**63)])
    @pytest.mark.parametrize("place", [0, 2])
    def test_refuses_ids_out_of_range(self, bad, place):
        ids = np.zeros(3, np.int64)
        ids[place] = bad
        with pytest.raises(IndexError, match=f"got {bad} at position {place}"):
            embed([np.ones((4, 5), np.float32)], [ids])

    def test_refuses_no_tables_and_too_many(self):
        table, ids = np.ones((2, 3), np.float32), np.zeros(4, np.int64)
        out = np.empty((4, 3), np.float32)
        for tables, indices in (
            ([], []),
            ([table] * 4, [ids] * 4),
            ([table], [ids] * 2),
        ):
            with pytest.raises(ValueError, match="one to three tables"):
                _rowwise.embed(Program(), tables, indices, out)


class TestPool:
    @given(st.data())
    @settings(max_examples=40)
    def test_is_accurate(self, isa, data):
        lengths = data.draw(st.lists(st.integers(0, 40), max_size=5))
        dim = data.draw(tile_edges.filter(bool))
        cu_seqlens = np.cumsum([0, *lengths])
        x = data.draw(matrices((sum(lengths), dim), values=("normal", "far from zero")))
        pooling = data.draw(st.sampled_from([*POOLINGS]))
        normalize = data.draw(st.booleans())
        first = data.draw(st.integers(0, 3))

        def compute(dtype):
            pooled = reference.pool(x.astype(dtype), cu_seqlens, pooling, first)
            return reference.normalize(pooled) if normalize else pooled

        with guarded(len(lengths), dim) as out:
            pool(x, cu_seqlens, pooling, normalize, out, first=first)
            if out.size:
                assert_accurate(out.copy(), compute)

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_of_an_empty_sequence_is_zeros(self, isa, pooling):
        y = pool(normal(3, 17), np.array([0, 0, 3, 3]), pooling, True)
        assert_same_bits(y[[0, 2]], np.zeros((2, 17), np.float32))
        assert y[1].any()

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_a_sequence_alone_has_the_bits_of_one_in_a_batch(self, isa, pooling):
        x, starts = normal(60, 40), np.array([0, 7, 30, 60])
        together = pool(x, starts, pooling, True)
        for i, (start, end) in enumerate(pairwise(starts)):
            part = x[start:end]
            alone = pool(part, np.array([0, len(part)]), pooling, True)
            assert_same_bits(alone[0], together[i])

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_nan_stays_in_its_sequence(self, isa, pooling):
        x, starts = normal(8, 20), np.array([0, 3, 8])
        clean = pool(x, starts, pooling)
        x[3:, 7] = np.nan
        y = pool(x, starts, pooling)
        assert_same_bits(y[0], clean[0])
        assert np.isnan(y[1, 7])
        assert_same_bits(np.delete(y[1], 7), np.delete(clean[1], 7))

    @pytest.mark.parametrize("row", range(5))
    def test_max_keeps_nan_of_any_row(self, isa, row):
        x = normal(5, 20)
        x[row, 7] = np.nan
        (y,) = pool(x, np.array([0, 5]), "max")
        assert np.flatnonzero(np.isnan(y)).tolist() == [7]

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_rows_before_the_first_do_not_count(self, isa, pooling):
        x, starts = normal(12, 20), np.array([0, 2, 5, 5, 12])
        expected = pool(x, starts, pooling, first=2)
        assert_same_bits(expected[[0, 2]], np.zeros((2, 20), np.float32))
        for start in starts[:-1]:
            x[start : start + 2] = np.nan
        # Rows keep their places: the first that counts has the weight 3.
        x[2:4] = x[5:7] = np.nan
        assert_same_bits(pool(x, starts, pooling, first=2)[[1, 3]], expected[[1, 3]])

    def test_refuses_a_negative_first(self):
        with pytest.raises(ValueError, match="first must not be negative, got -1"):
            pool(normal(5, 4), np.array([0, 5]), first=-1)

    @pytest.mark.parametrize("starts", [[0, 3, 2, 5], [1, 5], [0, 4], [0, 6], [-1, 5]])
    def test_refuses_starts_that_do_not_cover_the_tokens(self, starts):
        with pytest.raises(ValueError, match="cu_seqlens"):
            pool(normal(5, 4), np.array(starts))


class TestSinusoid:
    def test_has_the_same_bits_even_without_fma(self, isa):
        here = sinusoid(200, 97)
        _cpu.set_isa("portable")
        assert_same_bits(sinusoid(200, 97), here)

    @pytest.mark.parametrize("dim", [1, 2, 3, 16, 127, 128, 129, 384])
    @pytest.mark.parametrize("base", [1.0, 10_000.0, 1e12])
    def test_is_accurate(self, isa, dim, base):
        def table(dtype):
            return reference.sinusoidal_positions(700, dim, base).astype(dtype)

        assert_accurate(sinusoid(700, dim, base), table)

    def test_is_accurate_at_large_positions(self):
        def table(dtype):
            return reference.sinusoidal_positions(200_000, 3).astype(dtype)

        assert_accurate(sinusoid(200_000, 3), table)

    @pytest.mark.parametrize("base", [0.5, 0.0, -1.0, math.inf, math.nan])
    def test_refuses_a_base_below_one(self, base):
        with pytest.raises(ValueError, match="base"):
            sinusoid(3, 4, base)

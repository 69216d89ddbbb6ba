"""A product whose rows are folded into one for each sequence, and SPLADE's pooling."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas
from support.criterion import assert_accurate
from support.steps import fold, run
from support.strategies import guarded, normal, sum_edges, tile_edges

from fastattn import _gemm, _packed, nn, reference
from fastattn._program import Program
from fastattn._rowwise import ACTIVATIONS
from fastattn.models.splade import splade_steps

STARTS = np.array([0, 3, 3, 60, 61, 130])
X, WEIGHT, BIAS = normal(130, 40), normal(83, 40, seed=1), normal(83, seed=2)


def splade(x, words, starts, **options):
    out = np.empty((len(starts) - 1, words.out_features), np.float32)
    run(splade_steps, words, x, starts, out, **options)
    return out


class TestFold:
    @given(st.data())
    @settings(max_examples=40, deadline=None)
    def test_is_accurate(self, isa, data):
        lengths = data.draw(st.lists(st.integers(0, 70), max_size=5))
        n = data.draw(tile_edges)
        # One long sum may be closer in another order, by chance; many are not.
        k = data.draw(sum_edges if n > 8 else st.integers(0, 40))
        starts = np.cumsum([0, *lengths])
        x, weight = normal(sum(lengths), k), normal(n, k, seed=1)
        bias = data.draw(st.sampled_from([None, normal(n, seed=2)]))
        activation = data.draw(st.sampled_from([None, *ACTIVATIONS]))
        add = data.draw(st.booleans())

        def compute(dtype):
            arrays = (a if a is None else a.astype(dtype) for a in (x, weight, bias))
            y = reference.linear(*arrays)
            y = y if activation is None else getattr(reference, activation)(y)
            return reference.fold(y, starts, add)

        with guarded(len(lengths), n) as out:
            options = {"bias": bias, "activation": activation, "add": add}
            fold(x, weight, starts, out, **options)
            if out.size:
                assert_accurate(out.copy(), compute)

    @pytest.mark.parametrize("format", _packed.FORMATS)
    def test_weights_of_any_format(self, isa, format):
        packed = _packed.PackedMatrix(WEIGHT, format=format)
        assert_same_bits(fold(X, packed, STARTS), fold(X, packed.unpack(), STARTS))

    @pytest.mark.parametrize("add", [False, True])
    def test_bits(self, add):
        options = {"bias": BIAS, "activation": "log1p_relu", "add": add}
        every = fold(X, WEIGHT, STARTS, **options)
        for threads in THREADS:
            assert_same_bits(fold(X, WEIGHT, STARTS, num_threads=threads, **options), every)
        for i, (start, end) in enumerate(pairwise(STARTS)):
            alone = np.array([0, end - start])
            assert_same_bits(fold(X[start:end], WEIGHT, alone, **options)[0], every[i])
        assert_same_on_fma_isas(lambda: fold(X, WEIGHT, STARTS, **options))

    def test_max_is_that_of_the_product(self, isa):
        y = np.empty((130, 83), np.float32)
        run(_gemm.linear, X, _packed.PackedMatrix(WEIGHT), y, bias=BIAS)
        folded = fold(X, WEIGHT, STARTS, bias=BIAS)
        assert_same_bits(folded, reference.fold(y, STARTS))

    @pytest.mark.parametrize("row", [3, 30, 59])
    @pytest.mark.parametrize("add", [False, True])
    def test_nan_stays_in_its_sequence(self, isa, add, row):
        clean, x = fold(X, WEIGHT, STARTS, add=add), X.copy()
        x[row, 5] = np.nan
        y = fold(x, WEIGHT, STARTS, add=add)
        assert np.isnan(y[2]).all()
        assert_same_bits(np.delete(y, 2, 0), np.delete(clean, 2, 0))

    def test_refuses_what_does_not_fit(self):
        packed, out = _packed.PackedMatrix(WEIGHT), np.empty((5, 83), np.float32)
        with pytest.raises(ValueError, match="cu_seqlens must go from 0 to the 129 tokens"):
            _gemm.fold(Program(), X[:129], packed, STARTS, out)
        with pytest.raises(ValueError, match="x"):
            _gemm.fold(Program(), X[:, :39], packed, STARTS, out)
        with pytest.raises(ValueError, match="out"):
            _gemm.fold(Program(), X, packed, STARTS, out[:, :82])


class TestSplade:
    @pytest.fixture
    def words(self):
        layer = nn.Linear(40, 83, rng=0)
        layer.load_state_dict({"weight": WEIGHT, "bias": BIAS})
        return layer

    @pytest.mark.parametrize(
        ("pooling", "activation"),
        [("max", "relu"), ("max", "log1p_relu"), ("sum", "relu")],
    )
    def test_is_accurate(self, isa, words, pooling, activation):
        def compute(dtype):
            y = reference.linear(*(a.astype(dtype) for a in (X, WEIGHT, BIAS)))
            y = reference.log1p_relu(y)
            y = np.log1p(y) if activation == "log1p_relu" else y
            return reference.fold(y, STARTS, pooling == "sum")

        options = {"pooling": pooling, "activation": activation}
        assert_accurate(splade(X, words, STARTS, **options), compute)

    def test_refuses_a_sum_of_two_logarithms(self, words):
        with pytest.raises(ValueError, match="'log1p_relu' needs pooling 'max'"):
            splade(X, words, STARTS, pooling="sum", activation="log1p_relu")

"""Packed weights, and the product with its epilogues."""

import contextlib
import gc
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas
from support.criterion import assert_accurate
from support.steps import activate, layer_norm, linear
from support.strategies import LAYOUTS, guarded, matrices, normal, sum_edges, tile_edges

from fastattn import _gemm, _packed, _rowwise, reference
from fastattn._program import Program

ACTIVATIONS = [None, *_rowwise.ACTIVATIONS]
# Rows, columns and terms: single rows, the two shapes of a tile, ragged edges of all.
SHAPES = [(1, 33, 385), (2, 200, 40), (29, 17, 769), (57, 65, 384), (129, 50, 100)]
# With many rows their normalisation is a part of the product, with few a step behind it.
MANY_ROWS = (1100, 33, 40)


def product(x, weight):
    """x weight^T with each sum in order: the error of BLAS differs between machines."""
    y = np.zeros((len(x), len(weight)), x.dtype)
    for x_p, weight_p in zip(x.T, weight.T, strict=True):
        y += np.multiply.outer(x_p, weight_p)
    return y


def specification(x, weight, *, bias=None, activation=None, residual=None, norm=None):
    """The same in NumPy, as a function of the dtype that it computes in."""

    def compute(dtype):
        def cast(array):
            return None if array is None else array.astype(dtype)

        y = product(cast(x), cast(weight))
        y = y if bias is None else y + cast(bias)
        y = y if activation is None else getattr(reference, activation)(y)
        y = y if residual is None else y + cast(residual)
        if norm is None:
            return y
        return reference.layer_norm(y, cast(norm[0]), cast(norm[1]), norm[2])

    return compute


def epilogues(rows, columns, seed=0):
    """Every combination of the parts of an epilogue."""
    bias, norm_weight, norm_bias = normal(3, columns, seed=seed)
    residual = normal(rows, columns, seed=seed + 1)
    for activation, b, r, n in itertools.product(
        ACTIVATIONS,
        [None, bias],
        [None, residual],
        [None, (None, None, 1e-12), (norm_weight, norm_bias, 1e-5)],
    ):
        yield {"activation": activation, "bias": b, "residual": r, "norm": n}


class TestPackedMatrix:
    @given(st.data())
    @settings(max_examples=30)
    def test_unpacks_to_what_was_packed(self, isa, data):
        shape = data.draw(tile_edges), data.draw(sum_edges)
        weight = data.draw(matrices(shape))
        packed = _packed.PackedMatrix(weight)
        assert packed.shape == shape
        assert_same_bits(packed.unpack(), np.asarray(weight))

    @pytest.mark.parametrize("view", ["transposed", "every other column"])
    def test_reads_any_strides(self, isa, view):
        weight = normal(37, 58)
        weight = weight.T if view == "transposed" else weight[:, ::2]
        assert_same_bits(_packed.PackedMatrix(weight).unpack(), weight)

    @given(sizes=st.lists(tile_edges, min_size=1, max_size=4), k=st.integers(0, 40))
    @settings(max_examples=30)
    def test_several_weights_stand_on_top_of_each_other(self, isa, sizes, k):
        weights = [normal(n, k, seed=n) for n in sizes]
        packed = _packed.PackedMatrix(*weights)
        assert_same_bits(packed.unpack(), np.concatenate(weights))

    def test_padding_of_a_panel_does_not_reach_the_result(self, isa):
        # Nothing but infinities: a product with a padded zero would be NaN.
        y = linear(np.full((3, 5), np.inf, np.float32), np.ones((17, 5), np.float32))
        assert (y == np.inf).all()

    def test_pickles(self):
        weight = normal(21, 34)
        again = pickle.loads(pickle.dumps(_packed.PackedMatrix(weight)))
        assert again.shape == (21, 34)
        assert_same_bits(again.unpack(), weight)

    def test_unpacked_weights_are_a_copy(self):
        packed = _packed.PackedMatrix(np.ones((3, 4), np.float32))
        packed.unpack()[...] = 2
        assert (packed.unpack() == 1).all()

    def test_can_be_packed_inside_a_program(self, isa):
        x, weight = normal(5, 40), normal(33, 40, seed=1)
        out = np.empty((5, 33), np.float32)
        program = Program(num_threads=2)
        packed = _packed.empty_packed(33, 40)
        _packed.pack(program, weight, packed)
        _gemm.linear(program, x, packed, out)
        program.run()
        assert_same_bits(out, linear(x, weight))
        assert_same_bits(packed.unpack(), weight)

    @pytest.mark.parametrize(
        ("weights", "error"),
        [
            ([np.ones((3, 4))], TypeError),
            ([np.ones(3, np.float32)], (ValueError, IndexError)),
            ([np.ones((3, 4), np.float32), np.ones((3, 5), np.float32)], ValueError),
            ([np.ones((3, 4, 1), np.float32)], ValueError),
        ],
    )
    def test_refuses(self, weights, error):
        with pytest.raises(error):
            _packed.PackedMatrix(*weights)

    def test_cannot_be_packed_again_under_a_program(self):
        x, weight = normal(5, 40), normal(33, 40, seed=1)
        out, packed = np.empty((5, 33), np.float32), _packed.PackedMatrix(weight)
        program = Program()
        _gemm.linear(program, x, packed, out)
        with contextlib.suppress(TypeError, ValueError):
            packed.__init__(normal(300, 400))
        program.run()
        assert_same_bits(out, linear(x, weight))
        assert packed.shape == (33, 40)

    def test_refuses_sizes_that_overflow(self):
        with pytest.raises(MemoryError):
            _packed.empty_packed(2**60, 2**60)
        with pytest.raises(MemoryError):
            _packed.empty_packed(2**62, 2**62)


class TestAccuracy:
    @given(st.data())
    @settings(max_examples=40)
    def test_at_tile_edges(self, isa, data):
        m, n = data.draw(tile_edges), data.draw(tile_edges)
        k = data.draw(sum_edges)
        x, weight = data.draw(matrices((m, k))), data.draw(matrices((n, k)))
        with guarded(m, n) as out:
            linear(x, weight, out=out)
            if out.size:
                assert_accurate(out.copy(), specification(x, weight))

    @pytest.mark.parametrize("shape", SHAPES)
    def test_with_every_epilogue(self, isa, shape):
        m, n, k = shape
        x, weight = normal(m, k), normal(n, k, seed=1) / np.float32(np.sqrt(k))
        packed = _packed.PackedMatrix(weight)
        for epilogue in epilogues(m, n, seed=2):
            with guarded(m, n) as out:
                linear(x, packed, out=out, **epilogue)
                assert_accurate(out.copy(), specification(x, weight, **epilogue))

    @given(st.data())
    @settings(max_examples=30)
    def test_epilogue_reads_residuals_in_place(self, isa, data):
        m, n = data.draw(tile_edges.filter(bool)), data.draw(tile_edges.filter(bool))
        x, weight = normal(m, 20), normal(n, 20, seed=1)
        residual = data.draw(matrices((m, n), values=("normal", "far from zero")))
        with guarded(m, n) as out:
            linear(x, weight, out=out, residual=residual, activation="relu")
            expected = specification(x, weight, residual=residual, activation="relu")
            assert_accurate(out.copy(), expected)

    @pytest.mark.parametrize("in_place", [False, True])
    def test_of_a_factor(self, isa, in_place):
        m, n, k = 57, 50, 20
        x, weight, bias = normal(m, k), normal(n, k, seed=1), normal(n, seed=2)
        factor = normal(m, n + 3, seed=3)[:, :n]
        exact = specification(x, weight, bias=bias, activation="silu")
        out = factor.copy() if in_place else None
        given = out if in_place else factor
        y = linear(x, weight, out, bias=bias, activation="silu", factor=given)
        assert_accurate(y, lambda t: exact(t) * factor.astype(t))

    @pytest.mark.parametrize("rows", [(0, 33), (16, 17), (32, 90), (48, 100), (80, 80)])
    def test_of_some_rows_of_a_weight(self, isa, rows):
        x, weight, bias = normal(29, 40), normal(100, 40, seed=1), normal(100, seed=2)
        some = slice(*rows)
        with guarded(29, rows[1] - rows[0]) as out:
            linear(x, weight, out, bias=bias[some], rows=rows)
            assert_same_bits(out, linear(x, weight, bias=bias)[:, some])

    @pytest.mark.parametrize("rows", [(1, 20), (-16, 3), (0, 101), (32, 16)])
    def test_refuses_rows_that_are_not_there(self, rows):
        out = np.empty((3, max(rows[1] - rows[0], 0)), np.float32)
        with pytest.raises(ValueError, match="rows must start at a multiple of 16"):
            linear(normal(3, 40), normal(100, 40), out, rows=rows)

    def test_of_a_norm_of_many_rows(self, isa):
        m, n, k = MANY_ROWS
        x, weight = normal(m, k), normal(n, k, seed=1)
        epilogue = {"residual": normal(m, n, seed=2), "norm": (*normal(2, n, seed=3), 1e-5)}
        with guarded(m, n) as out:
            linear(x, weight, out=out, **epilogue)
            assert_accurate(out.copy(), specification(x, weight, **epilogue))

    def test_of_no_terms_is_the_bias(self, isa):
        bias = normal(18)
        y = linear(np.empty((3, 0), np.float32), np.empty((18, 0), np.float32), bias=bias)
        assert_same_bits(y, np.tile(bias, (3, 1)))


class TestSameBits:
    @pytest.mark.parametrize("shape", [*SHAPES, MANY_ROWS])
    def test_for_any_number_of_threads(self, isa, shape):
        m, n, k = shape
        x, packed = normal(m, k), _packed.PackedMatrix(normal(n, k, seed=1))
        for norm in None, (None, None, 1e-5):
            alone = linear(x, packed, norm=norm)
            for threads in THREADS[1:]:
                again = linear(x, packed, norm=norm, num_threads=threads)
                assert_same_bits(again, alone)

    @pytest.mark.parametrize("rows", [1, 2, 3, 6, 7, 14, 15, 28, 57])
    def test_for_a_row_whatever_stands_beside_it(self, isa, rows):
        x, packed = normal(129, 400), _packed.PackedMatrix(normal(50, 400, seed=1))
        bias = normal(50, seed=2)
        epilogue = {"bias": bias, "activation": "gelu", "norm": (None, bias, 1e-12)}
        together = linear(x, packed, **epilogue)
        for start in (0, 1, 129 - rows):
            part = linear(x[start : start + rows], packed, **epilogue)
            assert_same_bits(part, together[start : start + rows])

    @pytest.mark.parametrize("columns", [1, 5, 16, 17, 32, 33, 64])
    def test_for_a_column_whatever_stands_beside_it(self, isa, columns):
        x, weight = normal(20, 400), normal(100, 400, seed=1)
        together = linear(x, weight)
        for start in (0, 3, 100 - columns):
            part = linear(x, weight[start : start + columns])
            assert_same_bits(part, together[:, start : start + columns])

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_wherever_the_arrays_lie(self, isa, layout):
        x, weight = normal(29, 100), normal(50, 100, seed=1)
        placed = LAYOUTS[layout](x), LAYOUTS[layout](weight)
        assert_same_bits(linear(*placed), linear(x, weight))

    @pytest.mark.parametrize("shape", [*SHAPES, MANY_ROWS])
    def test_for_a_norm_in_the_epilogue_or_after_it(self, isa, shape):
        m, n, k = shape
        x, packed = normal(m, k), _packed.PackedMatrix(normal(n, k, seed=1))
        norm = (normal(n, seed=2), normal(n, seed=3), 1e-12)
        separate = layer_norm(linear(x, packed), *norm)
        assert_same_bits(linear(x, packed, norm=norm), separate)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_on_every_instruction_set_with_fma(self, shape):
        m, n, k = shape
        x, packed = normal(m, k), _packed.PackedMatrix(normal(n, k, seed=1))
        for epilogue in epilogues(m, n, seed=2):
            assert_same_on_fma_isas(lambda e=epilogue: linear(x, packed, **e))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("norm", [None, (None, None, 1e-5)])
def test_non_finite_rows_stay_where_they_are(isa, bad, norm):
    x, weight = normal(30, 50), normal(40, 50, seed=1)
    clean = linear(x, weight, norm=norm)
    dirty = x.copy()
    dirty[[3, 17], [0, 49]] = bad
    y = linear(dirty, weight, norm=norm)
    others = np.delete(np.arange(30), [3, 17])
    assert_same_bits(y[others], clean[others])
    assert not np.isfinite(y[[3, 17]]).any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -0.0])
def test_special_values_through_the_epilogue(isa, activation, value):
    x = np.array([[value]], np.float32)
    weight = np.ones((1, 1), np.float32)
    expected = x[0] + 0
    if activation is not None:
        expected = activate(expected, activation)
    np.testing.assert_array_equal(linear(x, weight, activation=activation)[0], expected)


def test_a_program_keeps_its_arrays_and_runs_again():
    x, weight, bias = normal(20, 30), normal(40, 30, seed=1), normal(40, seed=2)
    expected = linear(x, weight, bias=bias)
    out = np.empty((20, 40), np.float32)
    program = Program()
    _gemm.linear(
        program, x.copy(), _packed.PackedMatrix(weight.copy()), out, bias=bias.copy()
    )
    gc.collect()
    for _ in range(2):
        out[...] = np.nan
        program.run()
        assert_same_bits(out, expected)


class TestRefuses:
    x = np.ones((4, 6), np.float32)
    weight = np.ones((5, 6), np.float32)
    wide = np.ones((4, 12), np.float32)
    read_only = np.broadcast_to(np.float32(0), (4, 5))

    @pytest.mark.parametrize(
        ("changed", "error", "named"),
        [
            ({"x": x.astype(float)}, TypeError, "x"),
            ({"x": x.tolist()}, TypeError, "x"),
            ({"x": x[:, :5]}, ValueError, "x"),
            ({"x": x[0]}, ValueError, "x"),
            ({"x": wide[:, ::2]}, ValueError, "x"),
            (
                {"x": np.zeros((4, 25), "u1")[:, 1:].view("f4")},
                (TypeError, ValueError),
                "x",
            ),
            ({"x": x.astype(">f4")}, TypeError, "x"),
            ({"out": np.ones((4, 4), np.float32)}, ValueError, "out"),
            ({"out": np.ones((3, 5), np.float32)}, ValueError, "out"),
            ({"out": np.ones((4, 5))}, TypeError, "out"),
            ({"out": read_only}, (ValueError, BufferError), "read-only|writ|readonly"),
            ({"bias": np.ones(4, np.float32)}, ValueError, "bias"),
            ({"bias": np.ones(10, np.float32)[::2]}, ValueError, "bias"),
            ({"residual": np.ones((4, 4), np.float32)}, ValueError, "residual"),
            ({"norm": (np.ones(6, np.float32), None, 1e-5)}, ValueError, "weight"),
            ({"norm": (None, np.ones(6, np.float32), 1e-5)}, ValueError, "bias"),
            ({"activation": "swish"}, ValueError, "activation"),
        ],
    )
    def test_arguments(self, changed, error, named):
        arguments = {"x": self.x, "out": np.empty((4, 5), np.float32), **changed}
        x, out = arguments.pop("x"), arguments.pop("out")
        with pytest.raises(error, match=named):
            _gemm.linear(Program(), x, _packed.PackedMatrix(self.weight), out, **arguments)

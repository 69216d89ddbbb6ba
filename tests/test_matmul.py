"""Products of matrices that are not packed beforehand: the bits of packed ones."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bits import THREADS, assert_same_bits, assert_same_on_fma_isas
from support.steps import linear, run
from support.strategies import guarded, normal, seeds

import fastattn as fa
from fastattn import _gemm
from fastattn.arrays import rows_of

ROWS = [1, 2, 7, 8, 9, 15, 55, 56]  # around where B is streamed, and all of one block
COLUMNS = [1, 4, 15, 16, 17, 40, 511, 513, 1030]
TERMS = [0, 1, 4, 7, 383, 385, 769]
VIEWS = {
    "rows adjacent": lambda b: b,
    "rows apart": lambda b: np.hstack([b, b])[:, : b.shape[1]],
    "columns adjacent": lambda b: np.asfortranarray(b),
    "columns apart": lambda b: np.repeat(b, 2, axis=1)[:, ::2],
    "reversed": lambda b: b[::-1, ::-1].copy()[::-1, ::-1],
    "one row": lambda b: np.broadcast_to(b[:1], b.shape),
    "one column": lambda b: np.broadcast_to(b[:, :1], b.shape),
}


def unpacked(a, b, **keywords):
    out = np.empty((*a.shape[:-1], b.shape[-1]), np.float32)
    run(_gemm.matmul, a, b, out, **keywords)
    return out


@given(data=st.data())
@settings(max_examples=80)
@pytest.mark.parametrize("view", VIEWS)
def test_has_the_bits_of_a_packed_product(isa, view, data):
    m, n, k = (data.draw(st.sampled_from(sizes)) for sizes in (ROWS, COLUMNS, TERMS))
    seed = data.draw(seeds)
    a, b = normal(m, k, seed=seed), VIEWS[view](normal(k, n, seed=seed + 1))
    bias = data.draw(st.sampled_from([None, normal(n, seed=seed)]))
    options = {"bias": bias, "activation": data.draw(st.sampled_from([None, "gelu"]))}
    expected = linear(a, b.T, **options)
    with guarded(m, n) as out:
        run(_gemm.matmul, a, b, out, **options)
        assert_same_bits(out.copy(), expected)


SIZES = [(1, 40, 7), (4, 4, 4), (3, 600, 400), (20, 33, 390), (1, 1, 390), (5, 1, 70)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("leading", [(), (1,), (300,), (3, 1, 5), (0, 2)])
def test_many_matrices_are_many_products(isa, sizes, leading):
    m, n, k = sizes
    if np.prod(leading, dtype=int) > 100 and m * n * k > 1000:
        leading = (7,)
    a, b = normal(*leading, m, k), normal(*leading, k, n, seed=1)
    c = unpacked(a, b)
    for index in np.ndindex(*leading):
        assert_same_bits(c[index], linear(a[index], b[index].T))
    turned = b.swapaxes(-1, -2).copy().swapaxes(-1, -2)
    assert_same_bits(fa.matmul(a, turned), c)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((5, 1, 4, 6), (3, 6, 2)),
        ((4, 6), (2, 3, 6, 20)),
        ((2, 3, 1, 6), (6, 20)),
        ((5, 1, 1, 6), (3, 6, 1)),
        ((1, 6), (2, 3, 6, 1)),
        ((2, 3, 4, 6), (6, 1)),
        ((4, 6), (3, 6, 1)),
    ],
)
def test_leading_dimensions_broadcast(a, b):
    a, b = normal(*a), normal(*b, seed=1)
    c = fa.matmul(a, b)
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-5)
    out = np.empty((*c.shape[:-1], 2 * c.shape[-1]), np.float32)[..., : c.shape[-1]]
    assert fa.matmul(a, b, out=out) is out
    assert_same_bits(np.ascontiguousarray(out), c)


@pytest.mark.parametrize("terms", TERMS)
def test_dot_products_of_any_layout_are_those_of_single_pairs(isa, terms):
    a, b = normal(7, 20, terms), normal(7, 20, terms, seed=1)
    pairs = zip(rows_of(a), rows_of(b), strict=True)
    expected = np.array([linear(x[None], y[None]) for x, y in pairs])
    layouts = [
        lambda x: x,
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[:, ::-1].copy()[:, ::-1],
    ]
    for first, second in itertools.product(layouts, layouts):
        c = fa.matmul(first(a)[..., None, :], second(b)[..., None])
        assert_same_bits(c.reshape(-1, 1, 1), expected)


@pytest.mark.parametrize("rows", [1, 8, 56, 57])
@pytest.mark.parametrize("threads", THREADS)
def test_rows_and_threads_change_no_bit(isa, rows, threads):
    a, b = normal(57, 400), normal(400, 1100, seed=1)
    whole = fa.matmul(a, b)
    with fa.num_threads(threads):
        assert_same_bits(fa.matmul(a[:rows], b), whole[:rows])
        assert_same_bits(fa.linear(a[:rows], b.T), whole[:rows])
        assert_same_bits(fa.matmul(a[:rows], b[:, :1]), whole[:rows, :1])
        pairs = fa.matmul(a[:rows, None], b.T[:rows, :, None])
        assert_same_bits(pairs.ravel(), np.diagonal(whole)[:rows])


@pytest.mark.parametrize(
    "sizes", [(1, 1100, 400), (8, 100, 800), (40, 100, 400), (40, 1, 400), (1, 1, 400)]
)
def test_bits_do_not_depend_on_the_instruction_set_with_fma(sizes):
    m, n, k = sizes
    a, b = normal(3, m, k), normal(3, k, n, seed=1)
    assert_same_on_fma_isas(lambda: fa.matmul(a, b))


def test_no_weight_is_copied_or_packed_for_a_row(isa):
    # 2**26 numbers, all of one row: more memory than any copy may take.
    b = np.broadcast_to(normal(1, 2**13), (2**13, 2**13))
    a = np.zeros((1, 2**13), np.float32)
    a[0, 5] = 2
    assert_same_bits(fa.matmul(a, b), 2 * b[:1])


@pytest.mark.parametrize(
    ("a", "b", "out", "message"),
    [
        ((2, 3), (4, 5), (2, 5), "b must have matrices of shape"),
        ((2, 3), (3, 5), (3, 5), "a must have matrices of shape"),
        ((4, 2, 3), (5, 3, 5), (4, 2, 5), "b must have 4 matrices, got 5"),
        ((4, 2, 3), (3, 5), (4, 2, 5), "b must have 3 dimensions"),
        ((3,), (3,), (3,), "out must have at least 2 dimensions"),
    ],
)
def test_other_shapes_are_refused(a, b, out, message):
    arrays = (np.zeros(shape, np.float32) for shape in (a, b, out))
    with pytest.raises(ValueError, match=message):
        run(_gemm.matmul, *arrays)


def test_a_column_is_one_of_many_columns(isa):
    a, b, bias = normal(300, 70), normal(3, 70, seed=1), normal(3, seed=2)
    whole = fa.linear(a, b, bias, activation="gelu")
    assert_same_bits(fa.linear(a, b[1:2], bias[1:2], activation="gelu"), whole[:, 1:2])
    out = np.empty((300, 5), np.float32)[:, 2:3]
    assert_same_bits(fa.linear(a, b[1:2], bias[1:2], activation="gelu", out=out), out)
    assert_same_bits(fa.matmul(a, b.T[:, 1:2], out=out), fa.matmul(a, b.T)[:, 1:2])


def test_special_values_stay_in_their_row_and_column(isa):
    a, b = normal(8, 400), normal(400, 40, seed=1)
    clean = fa.matmul(a, b)
    a[3, 7], b[9, 20] = np.nan, np.inf
    c = fa.matmul(a, b)
    touched = np.add.outer(np.arange(8) == 3, np.arange(40) == 20)
    assert_same_bits(c[~touched], clean[~touched])
    assert not np.isfinite(c[touched]).any()

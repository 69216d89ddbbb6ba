"""Padding: which positions are real, taking them out and putting them back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastattn.padding import packing_of, pad, unpad

masks = hnp.arrays(bool, st.tuples(st.integers(0, 5), st.integers(0, 9)))
batches_of_lengths = st.integers(0, 9).flatmap(
    lambda length: st.tuples(st.just(length), st.lists(st.integers(0, length), max_size=5))
)


def numbered(batch, length, hidden=3):
    """A batch without a zero, every element another."""
    size = batch * length * hidden
    return np.arange(1, size + 1, dtype=np.float32).reshape(batch, length, hidden)


@given(masks)
def test_tokens_are_the_real_positions_in_order(mask):
    packing = packing_of(*mask.shape, padding_mask=mask)
    x = numbered(*mask.shape)
    np.testing.assert_array_equal(unpad(x, packing), x[mask])
    np.testing.assert_array_equal(np.diff(packing.cu_seqlens), mask.sum(axis=1))
    assert packing.cu_seqlens[0] == 0
    assert packing.cu_seqlens.dtype == np.int64


@given(masks)
def test_padding_comes_back_as_zeros(mask):
    packing = packing_of(*mask.shape, padding_mask=mask)
    x = numbered(*mask.shape)
    expected = np.where(mask[..., None], x, 0)
    np.testing.assert_array_equal(pad(unpad(x, packing), packing), expected)
    out = np.full_like(x, np.nan)
    assert pad(unpad(x, packing), packing, out) is out
    np.testing.assert_array_equal(out, expected)


@given(batches_of_lengths)
def test_lengths_mean_a_mask_with_its_gaps_on_the_right(case):
    length, lengths = case
    mask = np.array([[j < n for j in range(length)] for n in lengths], bool)
    mask = mask.reshape(len(lengths), length)
    by_lengths = packing_of(*mask.shape, lengths=lengths)
    by_mask = packing_of(*mask.shape, padding_mask=mask)
    np.testing.assert_array_equal(by_lengths.cu_seqlens, by_mask.cu_seqlens)
    assert (by_lengths.index is None) == (by_mask.index is None) == bool(mask.all())
    if by_mask.index is not None:
        np.testing.assert_array_equal(by_lengths.index, by_mask.index)


@pytest.mark.parametrize(
    "given_by", [{}, {"lengths": [4, 4]}, {"padding_mask": np.ones((2, 4), bool)}]
)
def test_nothing_is_copied_where_nothing_is_padded(given_by):
    packing = packing_of(2, 4, **given_by)
    x = numbered(2, 4)
    tokens = unpad(x, packing)
    assert tokens.shape == (8, 3)
    assert np.shares_memory(tokens, x)
    assert np.shares_memory(pad(tokens, packing), x)
    np.testing.assert_array_equal(packing.cu_seqlens, [0, 4, 8])


def test_anything_can_be_packed():
    ids = np.array([[5, 6, 0], [7, 0, 0]])
    packing = packing_of(2, 3, lengths=[2, 1])
    np.testing.assert_array_equal(unpad(ids, packing), [5, 6, 7])
    np.testing.assert_array_equal(pad(np.array([5, 6, 7]), packing), ids)


def test_strided_arrays_are_read_and_written():
    packing = packing_of(2, 3, padding_mask=[[1, 0, 1], [0, 1, 0]])
    wide = numbered(2, 6)
    x = wide[:, ::2]
    tokens = unpad(x, packing)
    np.testing.assert_array_equal(tokens, x.reshape(6, 3)[[0, 2, 4]])
    out = np.full((2, 6, 3), np.nan, np.float32)
    pad(tokens, packing, out[:, ::2])
    np.testing.assert_array_equal(out[:, ::2].reshape(6, 3)[[0, 2, 4]], tokens)
    assert np.isnan(out[:, 1::2]).all()


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64])
def test_masks_of_zeros_and_ones(dtype):
    mask = np.array([[1, 1, 0], [0, 1, 1]], dtype)
    np.testing.assert_array_equal(packing_of(2, 3, padding_mask=mask).index, [0, 1, 4, 5])


def test_one_sequence_may_leave_the_batch_out():
    np.testing.assert_array_equal(packing_of(1, 3, lengths=2).index, [0, 1])
    np.testing.assert_array_equal(packing_of(1, 3, padding_mask=[1, 0, 1]).index, [0, 2])


@pytest.mark.parametrize(
    ("given_by", "error", "message"),
    [
        ({"lengths": [2, 2], "padding_mask": np.ones((2, 3))}, ValueError, "one of them"),
        ({"lengths": [1.0, 2.0]}, TypeError, "lengths must be integers.*float64"),
        ({"lengths": [True, False]}, TypeError, "lengths must be integers.*bool"),
        ({"lengths": [1, 2, 3]}, ValueError, r"\(2,\), got \(3,\)"),
        ({"lengths": 2}, ValueError, r"\(2,\), got \(\)"),
        ({"lengths": [1, 4]}, ValueError, "from 0 to 3.*row 1 says 4"),
        ({"lengths": [-1, 2]}, ValueError, "from 0 to 3.*row 0 says -1"),
        (
            {"padding_mask": np.ones((2, 3))},
            TypeError,
            "padding_mask must be bool.*float64",
        ),
        ({"padding_mask": [1, 0, 1]}, ValueError, r"\(2, 3\), got \(3,\)"),
        ({"padding_mask": np.ones((3, 2), bool)}, ValueError, r"\(2, 3\), got \(3, 2\)"),
        ({"padding_mask": [[1, 1, 2], [1, 0, 0]]}, ValueError, "0 and 1 only, got 2"),
        ({"padding_mask": [[1, 1, 0], [-1, 0, 0]]}, ValueError, "0 and 1 only, got -1"),
    ],
)
def test_bad_input_is_named(given_by, error, message):
    with pytest.raises(error, match=message):
        packing_of(2, 3, **given_by)

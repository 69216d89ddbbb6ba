"""Rotary positions: angles, both forms, parts of a head. Slopes of ALiBi."""

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.criterion import assert_accurate
from support.steps import rotary
from support.strategies import normal
from support.tensors import Tensor, bits_of, wide

import fastattn as fa
from fastattn import reference


def specification(x, base, offset, interleaved, turned, dtype):
    """Turn pairs of columns as complex numbers."""
    x = x.astype(dtype)
    angle = (offset + np.arange(x.shape[-2]))[:, None] / base ** (
        np.arange(0, turned, 2) / turned
    )
    part = x[..., :turned]
    a, b = (
        (part[..., 0::2], part[..., 1::2])
        if interleaved
        else (part[..., : turned // 2], part[..., turned // 2 :])
    )
    cos, sin = np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)
    pair = np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1 if interleaved else -2)
    return np.concatenate([pair.reshape(part.shape), x[..., turned:]], axis=-1)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("turned", "offset", "base"), [(32, 0, 1e4), (10, 700, 1.6e5)])
def test_turns_pairs(isa, interleaved, turned, offset, base):
    x = np.random.default_rng(0).standard_normal((2, 3, 40, 32), np.float32)
    cos, sin = fa.rotary_positions(40, turned, base=base, offset=offset)
    y = fa.apply_rotary(x, cos, sin, interleaved=interleaved)
    assert_accurate(y, lambda t: specification(x, base, offset, interleaved, turned, t))
    assert_same_bits(y[..., turned:], x[..., turned:])


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("table", [(7, 5), (4, 7, 5), (2, 1, 7, 5), (0, 4, 7, 5)])
@pytest.mark.parametrize("swapped", [False, True])
def test_any_leading_dimensions_have_the_bits_of_numpy(isa, interleaved, table, swapped):
    rng = np.random.default_rng(2)
    shape = (*table[:-3], 4, 7, 12) if len(table) == 4 and not table[0] else (2, 4, 7, 12)
    x = rng.standard_normal(shape, np.float32)
    if swapped:
        x = x.swapaxes(1, 2).copy().swapaxes(1, 2)
    cos, sin = rng.standard_normal((2, *table), np.float32)
    before = x.copy()
    y = fa.apply_rotary(x, cos, sin, interleaved=interleaved)
    assert_same_bits(y, reference.apply_rotary(x, cos, sin, interleaved))
    assert_same_bits(x, before)


def test_an_offset_is_a_later_part_of_the_table():
    for late, whole in zip(
        fa.rotary_positions(5, 8, offset=20), fa.rotary_positions(25, 8), strict=True
    ):
        assert_same_bits(late, whole[20:])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("interleaved", [False, True])
def test_halves_are_turned_in_float32_and_rounded_once(dtype, interleaved):
    ml_dtypes = pytest.importorskip("ml_dtypes") if dtype == "bfloat16" else None
    dtype = np.dtype(getattr(ml_dtypes, dtype) if ml_dtypes else dtype)
    x = (3 * normal(2, 3, 20, 16)).astype(dtype)
    angles = fa.rotary_positions(20, 12)
    y = fa.apply_rotary(x.swapaxes(0, 1), *angles, interleaved=interleaved)
    assert y.dtype == dtype
    exact = fa.apply_rotary(
        x.swapaxes(0, 1).astype(np.float32), *angles, interleaved=interleaved
    )
    assert_same_bits(y.astype(np.float32), exact.astype(dtype).astype(np.float32))
    # Transformers keeps the angles in the dtype of its model.
    narrow = [table.astype(dtype) for table in angles]
    assert_same_bits(
        fa.apply_rotary(x, *narrow).astype(np.float32),
        fa.apply_rotary(x, *(t.astype(np.float32) for t in narrow)).astype(np.float32),
    )


def test_bfloat16_of_torch_is_turned():
    bits = bits_of(normal(2, 20, 16))
    angles = fa.rotary_positions(20, 16)
    y = fa.apply_rotary(Tensor(bits), *angles)
    assert_same_bits(y, fa.apply_rotary(wide(bits), *angles))


def test_halves_that_overflow_become_infinite_in_silence():
    x, angle = np.full((1, 2), 6e4, np.float16), np.float32([[0.5**0.5]])
    assert np.isinf(fa.apply_rotary(x, angle, angle)).tolist() == [[False, True]]


def test_scores_depend_on_distance_alone():
    q, k = np.random.default_rng(1).standard_normal((2, 1, 16), np.float32)
    scores = []
    for offset in (0, 37):
        turned = [
            fa.apply_rotary(x, *fa.rotary_positions(1, 16, offset=offset + apart))
            for x, apart in ((q, 5), (k, 0))
        ]
        scores.append((turned[0] @ turned[1].T).item())
    assert abs(scores[0] - scores[1]) < 16 * np.spacing(np.float32(16))


@pytest.mark.parametrize("heads", [1, 2, 3, 8, 12, 16, 20, 71])
def test_slopes_are_those_of_the_paper(heads):
    lower = 2 ** int(np.log2(heads))
    exact = [2 ** (-8 * (h + 1) / lower) for h in range(lower)]
    exact += [2 ** (-8 * (h + 1) / (2 * lower)) for h in range(2 * lower)][::2]
    slopes = fa.alibi_slopes(heads)
    assert_accurate(slopes, lambda dtype: np.array(exact[:heads], dtype))


def test_a_row_outside_the_table_is_refused():
    x, table = np.zeros((2, 1, 4), np.float32), np.ones((3, 2), np.float32)
    for wrong in (-1, 3):
        with pytest.raises(IndexError, match=f"0 to 2, got {wrong}"):
            rotary(x, table, table, np.array([0, wrong]))
    with pytest.raises(ValueError, match="5 pairs are more than"):
        rotary(x, *np.ones((2, 3, 5), np.float32), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="contiguous"):
        rotary(x, *np.ones((2, 3, 4), np.float32)[..., :2], np.zeros(2, np.int64))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fa.rotary_positions(3, 5), ValueError, "dim must be even"),
        (lambda: fa.rotary_positions(3, 4, offset=-1), ValueError, "offset"),
        (lambda: fa.rotary_positions(3.0, 4), TypeError, "length must be an integer"),
        (lambda: fa.apply_rotary([[1, 2]], [[1, 1]], [[0, 0]]), ValueError, "dim / 2"),
        (
            lambda: fa.apply_rotary([[1, 2]], [[1]], [[1, 1]]),
            ValueError,
            "cos and sin must have one shape",
        ),
        (lambda: fa.alibi_slopes(0), ValueError, "num_heads must be from 1 to"),
        (lambda: fa.alibi_slopes(2.0), TypeError, "num_heads must be an integer"),
        (lambda: fa.apply_rotary(np.zeros((3, 2)), [[1]], [[0]]), TypeError, "x must be"),
        (lambda: fa.apply_rotary([[1, 2]] * 3, [[1]] * 2, [[0]] * 2), ValueError, "cos"),
    ],
)
def test_wrong_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()

"""The specification: what every operation means, in plain NumPy.

Each function computes in the dtype of its first argument: in float64 it is the right
answer that the tests hold the kernels to, in float32 it is the measure of how much error
a plain implementation makes. Nothing of the package imports this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]  # float64 or float32
LARGEST, TINY = float(np.finfo(np.float32).max), np.finfo(np.float32).tiny
BLOCK = 384  # terms of a sum of products that is started from zero

# Vectors of keys and of queries (heads, buckets, dim), and the bucket of each distance.
Relative = tuple[Array | None, Array | None, NDArray[Any]]


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return x weight^T + bias."""
    product = x @ weight.swapaxes(-1, -2)
    return product if bias is None else product + bias


def stored(weight: Array, format: str) -> Array:
    """Return what float32 weights (out_features, in_features) are in another format."""
    if format == "float16":
        return weight.astype(np.float16).astype(np.float32)
    if format == "bfloat16":  # the upper half, rounded to nearest even
        bits = weight.view(np.uint32)
        bits = bits + np.uint32(0x7FFF) + (bits >> 16 & 1)
        return (bits >> 16 << 16).view(np.float32)
    if format == "int8":  # with a scale for each row, rounded up to 16 bits
        most = np.abs(weight).max(axis=1, initial=0, keepdims=True)
        scale = _rounded_up(most / np.float32(127), 16)
        return np.rint(weight / scale) * scale
    return weight


def _rounded_up(scale: Array, bits: int) -> Array:
    """Round a scale up to so many significant bits, and to a normal number."""
    mantissa, exponent = np.frexp(scale)
    rounded = np.ldexp(np.ceil(mantissa * 2**bits) / 2**bits, exponent)
    return np.maximum(rounded, TINY)


def linear_in(
    precision: str,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    factors: Array | None = None,
) -> Array:
    """Return x weight^T + bias with products of "int8", "int16" or "bfloat16" numbers.

    It says the bits, not only the value: every operation here is one of float32, in this
    order, and rounded by itself. `factors` (in_features,), of which 8 bits count, go from
    the columns of x to those of the weight.
    """
    if factors is not None:
        mantissa, exponent = np.frexp(factors)
        factors = np.ldexp(np.rint(mantissa * 2**8) / 2**8, exponent).astype(np.float32)
        x, weight = x * (np.float32(1) / factors), weight * factors
    sums = np.zeros((len(x), len(weight)), np.float32)
    if precision == "bfloat16":
        rows, columns = _as_bfloat16(x), _as_bfloat16(weight)
        for start in range(0, x.shape[1], BLOCK):
            chain = np.zeros_like(sums)
            # The second of two terms comes first. Products are exact.
            terms = np.arange(start, min(start + BLOCK, x.shape[1]))
            for k in sorted(terms, key=lambda k: (k // 2, -k)):
                chain = chain + rows[:, k, None] * columns[None, :, k]
            sums = sums + chain
        return sums if bias is None else sums + bias
    block = {"int8": 192, "int16": BLOCK}[precision]
    for start in range(0, x.shape[1], block):
        rows, row_scales = quantized_rows(x[:, start : start + block], precision)
        columns, scales = quantized_weight(weight[:, start : start + block], precision)
        part = (rows @ columns.T).astype(np.float32)  # int64 before
        part = part * (row_scales * scales.T)
        sums = sums + part if start else part
    return sums if bias is None else sums + bias


def quantized_rows(x: Array, precision: str) -> tuple[NDArray[np.int64], Array]:
    """Return integers (m, k) and scales (m, 1), whose products are a block of rows.

    The scale of what is not finite is NaN.
    """
    if precision == "int8":  # 252 steps from the smallest, or 0, to the largest, or 0
        low = x.min(axis=1, initial=0, keepdims=True)
        high = x.max(axis=1, initial=0, keepdims=True)
        scale = np.maximum(high / np.float32(252) - low / np.float32(252), TINY)
    else:
        low = np.zeros((len(x), 1), np.float32)
        most = np.abs(x).max(axis=1, initial=0, keepdims=True)
        scale = np.maximum(most / np.float32(2047), TINY)
    finite = np.isfinite(x).all(axis=1, keepdims=True)
    inverse = np.where(finite, np.float32(1) / scale, 0)
    zero = np.rint(-(low * inverse)) + 1 if precision == "int8" else np.float32(0)
    # Adding 1.5 * 2^23 rounds to an integer, an even one, counted with `zero`, of two.
    magic = np.float32(3 << 22) + np.where(finite, zero, 0)
    integers = np.where(finite, (np.where(finite, x, 0) * inverse + magic) - magic, 0)
    return integers.astype(np.int64), np.where(finite, scale, np.float32(np.nan))


def quantized_weight(weight: Array, precision: str) -> tuple[NDArray[np.int64], Array]:
    """Return integers (n, k) and scales (n, 1), whose products are a block of weights.

    Of 8 bits, two neighbours of one sign add up to at most 129, which a sum of two products
    with integers from 0 to 254 needs to fit 16 bits.
    """
    most, bits = {"int8": (127, 16), "int16": (2047, 13)}[precision]
    largest = np.abs(weight).max(axis=1, initial=0, keepdims=True)
    scale = _rounded_up(largest / np.float32(most), bits)
    if precision == "int8":
        scale = np.maximum(scale, _rounded_up(_largest_pair(weight) / np.float32(129), 16))
    while True:
        integers = np.rint(weight / scale)
        wrong = (_largest_pair(integers) > 129) & (precision == "int8")
        if not wrong.any():
            return integers.astype(np.int64), scale
        scale = np.where(wrong, _rounded_up(scale * np.float32(1.004), bits), scale)


def _largest_pair(weight: Array) -> Array:
    """Return the largest magnitude (n, 1) of neighbours of one sign, added up."""
    even = np.pad(weight, ((0, 0), (0, weight.shape[1] % 2)))
    pairs = even.reshape(len(weight), even.shape[1] // 2, 2)
    sums = np.maximum(pairs, 0).sum(-1), np.maximum(-pairs, 0).sum(-1)
    return np.maximum(*sums).max(axis=1, initial=0, keepdims=True)


def _as_bfloat16(x: Array) -> Array:
    """Return x rounded to bfloat16, and 0 for what is so small that sums may underflow."""
    rounded = np.where(np.isnan(x), x, stored(np.ascontiguousarray(x), "bfloat16"))
    return np.where(np.abs(rounded) < 2.0**-54, np.float32(0), rounded)


def softmax(x: Array, axis: int = -1) -> Array:
    """Return exp(x - max) / sum(exp(x - max))."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Array:
    """Return (x - mean) / sqrt(var + eps) * weight + bias over the last axis."""
    d = x - x.mean(axis=-1, keepdims=True)
    normed = d / np.sqrt((d * d).mean(axis=-1, keepdims=True) + x.dtype.type(eps))
    if weight is not None:
        normed = normed * weight
    return normed if bias is None else normed + bias


def rms_norm(x: Array, weight: Array | None = None, eps: float = 1e-6) -> Array:
    """Return x / sqrt(mean(x^2) + eps) * weight over the last axis."""
    normed = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + x.dtype.type(eps))
    return normed if weight is None else normed * weight


def relu(x: Array) -> Array:
    """Return max(x, 0)."""
    return np.maximum(x, 0)


def erf(x: Array) -> Array:
    """Return the error function, computed in float64 and rounded to x's dtype."""
    values = [math.erf(v) for v in np.ravel(x).tolist()]
    return np.array(values, x.dtype).reshape(x.shape)


def gelu(x: Array) -> Array:
    """Return x Phi(x), Phi the distribution function of the normal distribution."""
    one, half = x.dtype.type(1), x.dtype.type(0.5)
    return half * x * (one + erf(x * x.dtype.type(math.sqrt(0.5))))


def gelu_tanh(x: Array) -> Array:
    """Return the tanh approximation of GELU."""
    number = x.dtype.type
    u = number(math.sqrt(2 / math.pi)) * (x + number(0.044715) * x * x * x)
    return number(0.5) * x * (number(1) + np.tanh(u))


def silu(x: Array) -> Array:
    """Return x / (1 + e^-x)."""
    return x / (x.dtype.type(1) + np.exp(-x))


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent."""
    return np.tanh(x)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x)."""
    one = x.dtype.type(1)
    return one / (one + np.exp(-x))


def log1p_relu(x: Array) -> Array:
    """Return log(1 + max(x, 0))."""
    return np.log1p(relu(x))


def attention_scores(
    query: Array,
    key: Array,
    mask: NDArray[Any] | None = None,
    *,
    causal: bool = False,
    query_offset: ArrayLike = 0,
    window: tuple[int | None, int | None] | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: ArrayLike | None = None,
    distance_bias: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    relative: Relative | None = None,
) -> Array:
    """Return scale, softcap, biases and masks of q k^T; -inf where a key is not seen.

    q k^T is what :func:`relative_products` gives. What finite numbers make is finite: a
    term that is beyond float32 counts as the largest float of its sign, and so does their
    sum, which is taken in quarters.
    """
    number = query.dtype.type
    key = np.repeat(key, query.shape[-3] // key.shape[-3], axis=-3)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    ahead, columns = _ahead(query, key, query_offset)
    products = relative_products(query, key, ahead, relative)
    scores = _held(products * number(scale), LARGEST, np.isfinite(products))
    if softcap is not None:
        scores = number(softcap) * np.tanh(scores / number(softcap))
    scores = scores / number(4)
    if alibi_slopes is not None:
        slopes = np.asarray(alibi_slopes, query.dtype)[..., None, None]
        term = slopes * np.abs(ahead).astype(query.dtype)
        scores = scores - _held(term, LARGEST) / number(4)
    if distance_bias is not None:
        table = np.asarray(distance_bias, query.dtype)
        m = table.shape[1] // 2
        # (..., 1, Lq, Lk) of indices into (H, 2m + 1) gives (H, ..., 1, Lq, Lk).
        chosen = np.moveaxis(table[:, np.clip(ahead, -m, m) + m], 0, -4)[..., 0, :, :]
        scores = scores + chosen / number(4)
    left, right = window or (None, None)
    visible = np.ones(scores.shape, bool)
    visible &= (left in (None, -1)) | (ahead >= -(left or 0))
    visible &= (right in (None, -1)) | (ahead <= (right or 0))
    if causal:
        visible &= ahead <= 0
    if key_lengths is not None:
        visible &= columns < np.asarray(key_lengths)[..., None, None, None]
    if mask is not None and mask.dtype == bool:
        visible &= mask
    elif mask is not None:
        visible &= mask != -np.inf
        scores = scores + mask.astype(scores.dtype) / number(4)
    scores = number(4) * _held(scores, LARGEST / 4, np.isfinite(scores))
    return np.where(visible, scores, -np.inf)


def _ahead(
    query: Array, key: Array, query_offset: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how far keys are ahead of queries (..., 1, Lq, Lk), and their places."""
    rows, columns = np.indices((query.shape[-2], key.shape[-2]))
    return columns - rows - np.asarray(query_offset)[..., None, None, None], columns


def relative_products(
    query: Array, key: Array, ahead: NDArray[np.int64], relative: Relative | None
) -> Array:
    """Return q_i . k_j + q_i . keys[b] + k_j . queries[b], b the bucket of i - j."""
    total: Array = query @ key.swapaxes(-1, -2)
    if relative is None:
        return total
    keys, queries, buckets = relative
    b = np.broadcast_to(buckets[len(buckets) // 2 - ahead], total.shape)
    if keys is not None:
        total = total + np.take_along_axis(query @ keys.swapaxes(-1, -2), b, axis=-1)
    if queries is not None:
        of_keys = key @ queries.swapaxes(-1, -2)
        chosen = np.take_along_axis(of_keys, b.swapaxes(-1, -2), axis=-1)
        total = total + chosen.swapaxes(-1, -2)
    return total


def _held(x: Array, most: float, where: NDArray[np.bool_] | bool = True) -> Array:
    """Return x, at most `most` from 0 where it is made of finite numbers."""
    return np.where(where, np.clip(x, -most, most), x)


def attention_weights(query: Array, key: Array, *args: Any, **kwargs: Any) -> Array:
    """Return softmax(scores) over the keys; zeros for a query that sees none."""
    scores = attention_scores(query, key, *args, **kwargs)
    largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(largest == -np.inf, 0, largest))
    total = e.sum(axis=-1, keepdims=True)
    return np.divide(e, total, out=np.zeros_like(e), where=total != 0)


def attention_lse(query: Array, key: Array, *args: Any, **kwargs: Any) -> Array:
    """Return log(sum(exp(scores))) over the keys; -inf for a query that sees none."""
    scores = attention_scores(query, key, *args, **kwargs)
    largest = scores.max(axis=-1, initial=-np.inf)
    shift = np.where(largest == -np.inf, 0, largest)
    with np.errstate(divide="ignore"):
        return shift + np.log(np.exp(scores - shift[..., None]).sum(axis=-1))


def attention(query: Array, key: Array, value: Array, *args: Any, **kwargs: Any) -> Array:
    """Return attention_weights(query, key, ...) @ value, (..., heads, length, dim)."""
    value = np.repeat(value, query.shape[-3] // value.shape[-3], axis=-3)
    return attention_weights(query, key, *args, **kwargs) @ value


def sinusoidal_positions(length: int, dim: int, base: float = 10000.0) -> Array:
    """Return sin(pos / base^(2i / dim)) in even columns, cos in odd ones."""
    column = np.arange(dim)
    angle = np.arange(length)[:, None] / base ** ((column - column % 2) / dim)
    return np.where(column % 2, np.cos(angle), np.sin(angle))


def apply_rotary(x: Array, cos: Array, sin: Array, interleaved: bool = False) -> Array:
    """Return (a cos - b sin, b cos + a sin) for the pairs (a, b) of the first columns."""
    pairs = cos.shape[-1]
    first, second = slice(pairs), slice(pairs, 2 * pairs)
    if interleaved:
        first, second = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    y, a, b = x.copy(), x[..., first], x[..., second]
    y[..., first] = a * cos - b * sin
    y[..., second] = b * cos + a * sin
    return y


def weighted_mean(rows: Array, weights: Array) -> Array:
    """Return the sum of the weighted rows divided by that of the weights."""
    return (rows * weights[:, None]).sum(0) / weights.sum()


# By name, of the rows of a sequence that count and of their numbers in it, from 1.
POOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "cls": lambda rows, _: rows[0],
    "max": lambda rows, _: rows.max(0),
    "mean": lambda rows, _: rows.sum(0) / len(rows),
    "mean_sqrt_len_tokens": lambda rows, _: (
        rows.sum(0) / np.sqrt(rows.dtype.type(len(rows)))
    ),
    "weightedmean": weighted_mean,
    "lasttoken": lambda rows, _: rows[-1],
}


def pool(
    x: Array, cu_seqlens: NDArray[np.integer[Any]], pooling: str = "mean", first: int = 0
) -> Array:
    """Return one vector of the rows from `first` on of each packed sequence, or zeros."""
    pooled = np.zeros((len(cu_seqlens) - 1, x.shape[1]), x.dtype)
    for i, (start, end) in enumerate(pairwise(cu_seqlens)):
        if end > start + first:
            numbers = np.arange(first + 1, end - start + 1).astype(x.dtype)
            pooled[i] = POOLINGS[pooling](x[start + first : end], numbers)
    return pooled


def fold(values: Array, cu_seqlens: NDArray[np.integer[Any]], add: bool = False) -> Array:
    """Return the max, or the sum, of 0 and of the rows of each packed sequence."""
    folded = np.zeros((len(cu_seqlens) - 1, values.shape[1]), values.dtype)
    for i, (start, end) in enumerate(pairwise(cu_seqlens)):
        rows = values[start:end]
        folded[i] = rows.sum(0) if add else rows.max(0, initial=0)
    return folded


def normalize(x: Array) -> Array:
    """Return x divided by its length (L2), at least 1e-12."""
    length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    return x / np.maximum(length, x.dtype.type(1e-12))

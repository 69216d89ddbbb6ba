"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1) on arrays.

Here what people pass becomes arrays and plans; the arithmetic is in csrc/.
"""

import math
from typing import Any, Never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _attention
from ._program import Program
from .arrays import (
    FLOAT32,
    Float32,
    as_flag,
    as_integers,
    as_mask,
    as_storage,
    broadcast_to,
    name_of,
    output,
)
from .bfloat16 import BITS, widened
from .functional import broadcast
from .keywords import unexpected
from .scores import Scores, Window

Array = NDArray[Any]  # float32, float16 or bfloat16
UINT16 = np.dtype(np.uint16)
Operands = tuple[Array, Array, Array, Array]


def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    causal: bool = False,
    query_offset: ArrayLike = 0,
    window: Window | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: ArrayLike | None = None,
    distance_bias: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    return_lse: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
    **others: Never,
) -> Any:
    """Attend: out = softmax(biases(softcap(scale query key^T))) value.

    Every keyword combines with every other. The matrix of scores is never built: memory
    beyond the output is a few hundred kilobytes per thread at any length.

    Parameters
    ----------
    query : array_like, (..., Lq, D), float32, float16 or bfloat16
        Two dimensions are one head, four are (batch, heads, length, dim); dimension -3
        is the heads. Any strides with an adjacent last dimension are read in place, so
        (batch, length, heads, dim) goes in as ``x.swapaxes(1, 2)`` without a copy; other
        layouts are copied. Half precision is widened where it is loaded; bfloat16 is
        that of ml_dtypes, or a tensor of PyTorch.
    key : array_like, (..., Lk, D), the dtype of `query`
        Leading dimensions broadcast against those of `query`. The number of query heads
        may be a multiple of the number of key heads: query head h then uses key head
        ``h // (query heads // key heads)``. Where no array has a dimension before the
        heads, both numbers are equal or that of key heads is 1.
    value : array_like, (..., Lk, Dv), the dtype of `query`
        As `key`; Dv may differ from D.
    mask : array_like, broadcastable to (..., Lq, Lk), bool or floating, optional
        bool: True = attend. float32, float16 or bfloat16: added to the scores; -inf hides
        a key. A padding mask (batch, Lk) goes in as ``mask[:, None, None, :]``. It is read
        by its strides, half precision widened where it is loaded, and never expanded.
    causal : bool, default False
        Query i sees the keys up to ``i + query_offset``.
    query_offset : int or array_like of int, broadcastable to the batch, default 0
        The position of the first query among the keys: the length of a cache, or
        ``key_lengths - query_lengths`` for flash-attention's bottom-right causal mask.
        May be negative.
    window : (left, right), optional
        Query i sees the keys from ``i + query_offset - left`` to
        ``i + query_offset + right``, both included; -1 or None leaves a side open.
    scale : float, optional
        1 / sqrt(D) by default.
    softcap : float, optional
        Turns scores s into ``softcap * tanh(s / softcap)``, after scaling and before
        biases and masks.
    alibi_slopes : array_like, (heads,) or (..., heads), optional
        Adds ``-slope * |i + query_offset - j|`` to the score of query i and key j.
    distance_bias : array_like, (heads, 2 * m + 1), optional
        Adds entry ``clip(j - i - query_offset, -m, m) + m``: relative position biases
        without an Lq x Lk array.
    key_lengths : array_like of int, broadcastable to the batch, optional
        Only the first so many keys of each batch entry exist; cheaper than a mask.
    return_lse : bool, default False
        Whether to return log(sum(exp(scores))) too.
    out : ndarray, (..., Lq, Dv), the dtype of `query`, optional
        Where to write the result; may not overlap the inputs.
    num_threads : int, optional
        For this call; see :func:`fastattn.get_num_threads` for the default.

    Returns
    -------
    out : ndarray, (..., Lq, Dv), the dtype of `query`
        `out` where it was given. A query with no visible key gives zeros. A bfloat16
        tensor of PyTorch, a dtype that NumPy lacks, gives the numbers as float32.
    lse : ndarray, (..., Lq), float32
        Only with `return_lse`; -inf for a query with no visible key.

    Raises
    ------
    TypeError
        If an array has a dtype that is not named above, or integers are not integers.
    ValueError
        If shapes do not fit, or a number is out of range.

    Notes
    -----
    NaN or infinity in a key or value that a query may not see never reaches its result,
    and the weight of such a key is exactly 0. Only -inf in a mask or a bias hides: every
    finite number, the most negative one too, is added as it is, and a score beyond float32
    counts as the largest float of its sign. Blocks of 64 keys that no query of a block
    of 64 sees are skipped. The result is the same to the bit for any number of threads,
    any batch and any padding, and keys that come one by one from a cache give the bits
    of the whole sequence. Error for inputs of unit variance: about 1e-6 of the largest
    value, in float32.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", 2017, section 3.2.1.
    Dao et al., "FlashAttention", 2022, section 3.1, for the tiles.
    Press, Smith and Lewis, "Train Short, Test Long", 2022, section 3, for ALiBi.
    Raffel et al., "Exploring the Limits of Transfer Learning", 2020, section 2.1, for
    biases by distance.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> q = np.array([[4, 0], [0, 4]], np.float32)
    >>> fa.attention(q, q, np.array([[1], [2]], np.float32), scale=1.0).round(3)
    array([[1.],
           [2.]], dtype=float32)

    A padding mask hides the second key of the second sequence:

    >>> q = np.zeros((2, 1, 2, 4), np.float32)
    >>> v = np.arange(4, dtype=np.float32).reshape(2, 1, 2, 1)
    >>> real = np.array([[True, True], [True, False]])
    >>> fa.attention(q, q, v, real[:, None, None, :])[:, 0, :, 0]
    array([[0.5, 0.5],
           [2. , 2. ]], dtype=float32)

    Decoding: the last query alone, with the keys so far in a cache.

    >>> whole = fa.attention(q, q, v, causal=True)
    >>> last = fa.attention(q[:, :, 1:], q, v, causal=True, query_offset=1)
    >>> np.array_equal(last, whole[:, :, 1:])
    True
    """
    if others:
        raise unexpected(attention, others)
    options = causal, window, scale, softcap, alibi_slopes, distance_bias
    places = query_offset, key_lengths
    lse = as_flag(return_lse, "return_lse")
    return _dense(query, key, value, mask, options, places, lse, out, num_threads)


def attention_varlen(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    cu_seqlens_q: ArrayLike,
    cu_seqlens_k: ArrayLike | None = None,
    *,
    causal: bool = False,
    query_offset: ArrayLike = 0,
    window: Window | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: ArrayLike | None = None,
    distance_bias: ArrayLike | None = None,
    return_lse: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
    **others: Never,
) -> Any:
    """Attend inside each of several sequences that are packed one behind the other.

    Parameters
    ----------
    query : array_like, (query tokens, heads, D), float32, float16 or bfloat16
        The tokens of all sequences; any strides with an adjacent last dimension, so a
        slice of a fused projection is read in place.
    key, value : array_like, (key tokens, key heads, D) and (..., Dv)
        As in :func:`attention`.
    cu_seqlens_q : array_like of int, (sequences + 1,)
        Where each sequence of queries starts: first 0, last the number of tokens.
    cu_seqlens_k : array_like of int, (sequences + 1,), optional
        The same for keys; `cu_seqlens_q` by default.
    causal, window, scale, softcap, distance_bias, out, num_threads
        As in :func:`attention`; positions count from the start of each sequence.
    query_offset : int or array_like of int (sequences,), default 0
        As in :func:`attention`.
    alibi_slopes : array_like, (heads,) or (sequences, heads), optional
        As in :func:`attention`.
    return_lse : bool, default False
        Whether to return log(sum(exp(scores))) too.

    Returns
    -------
    out : ndarray, (query tokens, heads, Dv), the dtype of `query`
        To the bit what :func:`attention` gives for each sequence alone.
    lse : ndarray, (query tokens, heads), float32
        Only with `return_lse`.

    Raises
    ------
    TypeError
        If an array has another dtype, or starts are not integers.
    ValueError
        If shapes do not fit, or starts decrease or overrun.

    References
    ----------
    Dao et al., "FlashAttention", 2022; the layout is that of its varlen functions.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> x = np.zeros((3, 1, 2), np.float32)
    >>> v = np.array([1, 3, 7], np.float32).reshape(3, 1, 1)
    >>> fa.attention_varlen(x, x, v, [0, 2, 3])[:, 0, 0]
    array([2., 2., 7.], dtype=float32)
    """
    if others:
        raise unexpected(attention_varlen, others)
    q, k, v, _ = _operands(query, key, value, packed=True)
    starts_q, starts_k = _starts(cu_seqlens_q, cu_seqlens_k)
    sequences = starts_q.size - 1
    options = causal, window, scale, softcap, alibi_slopes, distance_bias
    scores = Scores.of(q.shape[1], q.shape[2], (sequences,), *options)
    offsets = _offsets(query_offset, (sequences,))
    result = output(out, (*q.shape[:2], v.shape[-1]), q, k, v, dtype=_dtype_out(q))
    lse = _empty_lse(return_lse, result)
    dtype, arrays = _stored(q, k, v, result)
    program = Program(num_threads=num_threads)
    _attention.attention_varlen(
        program,
        *arrays,
        starts_q,
        starts_k,
        scores,
        dtype=dtype,
        lse=lse,
        query_offset=offsets,
    )
    program.run()
    _deliver(arrays[-1], result)
    return result if lse is None else (result, lse)


def attention_weights(
    query: ArrayLike,
    key: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    causal: bool = False,
    query_offset: ArrayLike = 0,
    window: Window | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: ArrayLike | None = None,
    distance_bias: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
    **others: Never,
) -> Array:
    """Compute the probabilities that :func:`attention` gives the keys, to look at them.

    They are exp(score - lse) of the scores that attention has to the bit, rounded on
    their own; beyond the result they take as little memory as attention, and about twice
    the time of its scores.

    Parameters
    ----------
    query, key, mask, causal, query_offset, window, scale, softcap, alibi_slopes, \
    distance_bias, key_lengths, num_threads
        As in :func:`attention`.
    out : ndarray, (..., Lq, Lk), the dtype of `query`, optional
        Where to write the result.

    Returns
    -------
    ndarray, (..., Lq, Lk), the dtype of `query`
        Rows add up to 1; a query with no visible key has a row of zeros.

    Raises
    ------
    TypeError, ValueError
        As :func:`attention`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> q = np.zeros((2, 4), np.float32)
    >>> fa.attention_weights(q, q, causal=True)
    array([[1. , 0. ],
           [0.5, 0.5]], dtype=float32)
    """
    if others:
        raise unexpected(attention_weights, others)
    options = causal, window, scale, softcap, alibi_slopes, distance_bias
    places = query_offset, key_lengths
    weights: Array = _dense(
        query, key, None, mask, options, places, False, out, num_threads
    )
    return weights


def _dense(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike | None,
    mask: ArrayLike | None,
    options: tuple[Any, ...],
    places: tuple[ArrayLike, ArrayLike | None],
    return_lse: bool,
    out: Array | None,
    num_threads: int | None,
) -> Any:
    """Attend over dense arrays; without a value, give the weights."""
    q, k, v, flat = _operands(query, key, key if value is None else value)
    queries, keys, values = q.shape, k.shape, v.shape
    leading, (heads, rows, dim) = queries[:-3], queries[-3:]
    alike = leading == keys[:-3] == values[:-3]
    if not alike:
        leading = broadcast("query, key and value", leading, keys[:-3], values[:-3])
    shape = (*leading, heads, rows, keys[-2] if value is None else values[-1])
    bias = None if mask is None else as_mask(mask, "mask", (*shape[:-1], keys[-2]))
    scores = Scores.of(heads, dim, leading, *options)
    offsets = _offsets(places[0], leading)
    result = output(out, shape[1:] if flat else shape, q, k, v, bias, dtype=_dtype_out(q))
    lse = np.empty(result.shape[:-1], np.float32) if return_lse else None
    lengths = _lengths(places[1], leading, keys[-2])
    if not alike:
        q, k, v = (_spread(array, leading) for array in (q, k, v))
    dtype, (q, k, v, o) = _stored(q, k, v, result[None] if flat else result)
    program = Program(num_threads=num_threads)
    if math.prod(shape[:-1]):  # else no sequence has a query, however many there are
        _attention.attention(
            program,
            q,
            k,
            None if value is None else v,
            o,
            scores,
            dtype=dtype,
            mask=bias,
            key_lengths=lengths,
            lse=lse[None] if lse is not None and flat else lse,
            query_offset=offsets,
        )
    program.run()
    _deliver(o, result)
    return result if lse is None else (result, lse)


def _starts(
    queries: ArrayLike, keys: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where packed sequences start; the keys' are the queries' by default."""
    starts_q = as_integers(queries, "cu_seqlens_q")
    starts_k = starts_q if keys is None else as_integers(keys, "cu_seqlens_k")
    if starts_q.ndim != 1 or not starts_q.size or starts_k.shape != starts_q.shape:
        raise ValueError(
            "cu_seqlens_q and cu_seqlens_k must have shape (sequences + 1,), "
            f"got {starts_q.shape} and {starts_k.shape}"
        )
    return starts_q, starts_k


def _operands(
    query: ArrayLike, key: ArrayLike, value: ArrayLike, *, packed: bool = False
) -> tuple[Array, Array, Array, bool]:
    """Return the three arrays with at least three dimensions, of one dtype, checked.

    Besides: whether none of them had a dimension of heads.
    """
    q, k = as_storage(query, "query"), as_storage(key, "key")
    v = as_storage(value, "value")
    flat = max(q.ndim, k.ndim, v.ndim) < 3
    if packed or q.ndim < 3 or k.ndim < 3 or v.ndim < 3:
        q, k, v = (
            _with_heads(array, name, packed)
            for array, name in ((q, "query"), (k, "key"), (v, "value"))
        )
    if not (q.dtype is k.dtype is v.dtype):
        names = [name_of(array.dtype) for array in (q, k, v)]
        if len(set(names)) > 1:
            raise TypeError(
                "query, key and value must have one dtype, "
                f"got {names[0]}, {names[1]} and {names[2]}"
            )
    queries, keys, values = q.shape, k.shape, v.shape
    if queries[-1] != keys[-1]:
        raise ValueError(
            "query and key must have the same last dimension, "
            f"got {queries[-1]} and {keys[-1]}"
        )
    rows, heads = (-3, -2) if packed else (-2, -3)
    if keys[rows] != values[rows] or keys[heads] != values[heads]:
        wrong_length = keys[rows] != values[rows]
        axis, what = (rows, "length") if wrong_length else (heads, "number of heads")
        raise ValueError(
            f"key and value must have the same {what} (dimension {axis}), "
            f"got {keys[axis]} and {values[axis]}"
        )
    if queries[heads] % keys[heads] if keys[heads] else queries[heads]:
        raise ValueError(
            "the number of query heads must be a multiple of the number of key heads "
            f"(dimension {heads}), got {queries[heads]} and {keys[heads]}"
        )
    if keys[heads] not in (1, queries[heads]) and not packed:
        _check_grouped(q, k, v)
    return q, k, v, flat


def _check_grouped(q: Array, k: Array, v: Array) -> None:
    """Make sure that heads are grouped where heads are meant, and no batch."""
    if max(q.ndim, k.ndim, v.ndim) == 3:
        raise ValueError(
            "query and key of three dimensions must have equally many heads (dimension "
            f"-3), or key one, got {q.shape[-3]} and {k.shape[-3]}: to group heads pass "
            "query[None], key[None], value[None]"
        )


def _with_heads(array: Array, name: str, packed: bool) -> Array:
    """Return an array of at least three dimensions; a packed one has exactly three."""
    if packed and array.ndim != 3:
        raise ValueError(f"{name} must have shape (tokens, heads, dim), got {array.shape}")
    if array.ndim < 2:
        raise ValueError(
            f"{name} must have at least 2 dimensions, (length, dim), got {array.shape}"
        )
    return array if array.ndim > 2 else array[None]


def _empty_lse(return_lse: bool, out: Array) -> Float32 | None:
    """Make room for the log-sum-exp of every query, if it is asked for."""
    if as_flag(return_lse, "return_lse"):
        return np.empty(out.shape[:-1], np.float32)
    return None


def _spread(array: Array, leading: tuple[int, ...]) -> Array:
    """Give (..., heads, length, dim) the leading dimensions that broadcasting makes."""
    return np.broadcast_to(array, leading + array.shape[-3:])


def _stored(q: Array, k: Array, v: Array, out: Array) -> tuple[str, Operands]:
    """Name the dtype of what :func:`as_storage` returned, and give what is read of it."""
    char = q.dtype.char
    if char == "f":
        return "float32", (q, k, v, out)
    if char == "e":
        return "float16", (q, k, v, out)
    # There is no buffer format for it.
    out = np.empty(out.shape, UINT16) if out.dtype == FLOAT32 else out.view(UINT16)
    return "bfloat16", (q.view(UINT16), k.view(UINT16), v.view(UINT16), out)


def _deliver(stored: Array, result: Array) -> None:
    """Widen a result that is stored as the bits of bfloat16 and wanted as float32."""
    if stored.dtype == UINT16 and result.dtype == FLOAT32:
        result[...] = widened(stored).reshape(result.shape)


def _dtype_out(query: Array) -> np.dtype[Any]:
    """Return the dtype of the result: that of the query, if NumPy knows it."""
    return FLOAT32 if query.dtype.char == BITS.char else query.dtype


def _offsets(offset: ArrayLike, leading: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Return the position of the first query of each leading index, flat; None for 0."""
    if type(offset) is int and offset == 0:
        return None
    array = as_integers(offset, "query_offset")
    flat = broadcast_to(array, "query_offset", leading)
    return np.ascontiguousarray(flat).reshape(-1)


def _lengths(
    lengths: ArrayLike | None, leading: tuple[int, ...], longest: int
) -> NDArray[np.int64] | None:
    """Return the number of keys of each leading index, flat; None for all."""
    if lengths is None:
        return None
    array = as_integers(lengths, "key_lengths")
    if array.size and not 0 <= array.min() <= array.max() <= longest:
        raise ValueError(
            f"key_lengths must be 0 to {longest}, got {array.min()} to {array.max()}"
        )
    flat = broadcast_to(array, "key_lengths", leading)
    return np.ascontiguousarray(flat).reshape(-1)

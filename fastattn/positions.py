"""Positions: what tells attention the order of its tokens."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _rowwise
from ._program import Program
from .arrays import (
    Float32,
    as_array,
    as_flag,
    as_index,
    as_number,
    as_real,
    as_storage,
    broadcast_to,
    rows_of,
)
from .bfloat16 import BITS

__all__ = ["alibi_slopes", "apply_rotary", "rotary_positions", "sinusoidal_positions"]

# Positions and what counts them stay below 2**31.
MOST = 2**31 - 1


def alibi_slopes(num_heads: int) -> Float32:
    """Compute the slopes of attention with linear biases (ALiBi).

    Parameters
    ----------
    num_heads : int
        Number of heads, 1 or more.

    Returns
    -------
    float32 array (num_heads,)
        For a power of two ``2 ** (-8 * (h + 1) / num_heads)``; for any other number,
        those of the next lower power of two and then every other one of the next
        higher, as the authors do.

    Raises
    ------
    TypeError
        When `num_heads` is not an integer.
    ValueError
        When it is less than 1, or 2**31 or more.

    References
    ----------
    Press, Smith and Lewis, "Train Short, Test Long" (2022), section 3 and the code that
    belongs to it.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.alibi_slopes(4)
    array([0.25      , 0.0625    , 0.015625  , 0.00390625], dtype=float32)
    """
    heads = as_index(num_heads, "num_heads", 1, MOST)
    lower = 1 << (heads.bit_length() - 1)
    slopes = np.concatenate([_powers(lower), _powers(2 * lower)[::2]])
    return slopes[:heads].astype(np.float32)


def sinusoidal_positions(
    length: int, dim: int, *, base: float = 10000.0
) -> NDArray[np.float32]:
    """Compute the sinusoidal position table of the Transformer.

    Parameters
    ----------
    length : int
        Number of positions, 0 or more.
    dim : int
        Number of columns, 1 or more. An odd `dim` ends with a sine.
    base : float, default 10000.0
        The longest wavelength is ``2 * pi * base``, in positions.

    Returns
    -------
    float32 array (length, dim)
        Sines in the even columns and cosines in the odd ones.

    Raises
    ------
    TypeError
        When `length` or `dim` is not an integer or `base` is not a number.
    ValueError
        When `length` is negative, `dim` is not positive, or `base` is less than 1 or
        not finite.

    Notes
    -----
    ``out[pos, 2 * i] = sin(pos / base ** (2 * i / dim))`` and
    ``out[pos, 2 * i + 1] = cos(pos / base ** (2 * i / dim))``, with angles computed in
    float64, by the same code on every machine: the bits do not depend on the C or
    NumPy library.

    References
    ----------
    Vaswani et al., "Attention Is All You Need" (2017), section 3.5.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.sinusoidal_positions(3, 4).round(4)
    array([[ 0.    ,  1.    ,  0.    ,  1.    ],
           [ 0.8415,  0.5403,  0.01  ,  1.    ],
           [ 0.9093, -0.4161,  0.02  ,  0.9998]], dtype=float32)
    """
    return _table(length, dim, base)


def rotary_positions(
    length: int,
    dim: int,
    *,
    base: float = 10000.0,
    offset: int = 0,
    frequencies: ArrayLike | None = None,
) -> tuple[Float32, Float32]:
    """Compute the angles by which rotary positions turn queries and keys.

    Parameters
    ----------
    length : int
        Number of positions, 0 or more.
    dim : int
        Number of columns that will be turned, even: the head's size or a part of it.
    base : float, default 10000.0
        The longest wavelength is ``2 * pi * base``, in positions.
    offset : int, default 0
        The first position: the length of a cache.
    frequencies : array_like of float (dim / 2,), optional
        The angle of each pair of columns from one position to the next, from 0 to 1, in
        place of ``1 / base ** (2 * j / dim)``: of models whose range was stretched
        (linear, NTK, YaRN). They are read in float64.

    Returns
    -------
    cos, sin : float32 arrays (length, dim / 2)
        Of the angles ``(offset + i) / base ** (2 * j / dim)``, or ``(offset + i) *
        frequencies[j]``.

    Raises
    ------
    TypeError
        When `length`, `dim` or `offset` is not an integer or `base` is not a number.
    ValueError
        When `length` or `offset` is negative, `dim` is not even and positive, `base`
        is less than 1 or not finite, or `frequencies` are not dim / 2 numbers from 0 to 1.

    References
    ----------
    Su et al., "RoFormer" (2021), section 3.2.

    Examples
    --------
    >>> import fastattn as fa
    >>> cos, sin = fa.rotary_positions(2, 4)
    >>> sin.round(4)
    array([[0.    , 0.    ],
           [0.8415, 0.01  ]], dtype=float32)
    """
    table = _table(length, dim, base, offset, frequencies)
    if table.shape[1] % 2:
        raise ValueError(f"dim must be even, got {dim}")
    return np.ascontiguousarray(table[:, 1::2]), np.ascontiguousarray(table[:, 0::2])


def apply_rotary(
    x: ArrayLike, cos: ArrayLike, sin: ArrayLike, *, interleaved: bool = False
) -> NDArray[Any]:
    """Turn pairs of columns by the angles of their positions.

    Parameters
    ----------
    x : array_like (..., length, dim), float32, float16 or bfloat16
        Queries or keys, as :func:`fastattn.attention` takes them.
    cos, sin : array_like (length, turned / 2), the dtypes of `x`; they broadcast
        From :func:`rotary_positions`; columns of `x` behind the first `turned` stay.
    interleaved : bool, default False
        Whether columns 2 j and 2 j + 1 are a pair (RoFormer, GPT-J), or columns j and
        j + turned / 2 (GPT-NeoX, Llama and Hugging Face's models).

    Returns
    -------
    array of the shape and dtype of `x`
        ``(a cos - b sin, b cos + a sin)`` for every pair (a, b), computed in float32. A
        bfloat16 tensor of PyTorch, a dtype that NumPy lacks, gives float32.

    Raises
    ------
    TypeError
        When an array has another dtype and does not convert.
    ValueError
        When the shapes do not fit.

    References
    ----------
    Su et al., "RoFormer" (2021), section 3.2.2.

    Examples
    --------
    >>> import fastattn as fa
    >>> cos, sin = fa.rotary_positions(2, 2)
    >>> fa.apply_rotary([[1, 0], [1, 0]], cos, sin).round(4)
    array([[1.    , 0.    ],
           [0.5403, 0.8415]], dtype=float32)
    """
    x, cos, sin = as_storage(x, "x"), as_storage(cos, "cos"), as_storage(sin, "sin")
    if x.ndim < 2 or cos.ndim < 2 or 2 * cos.shape[-1] > x.shape[-1]:
        raise ValueError(
            "x must be (..., length, dim) and cos (length, at most dim / 2), "
            f"got {x.shape} and {cos.shape}"
        )
    if sin.shape != cos.shape:
        raise ValueError(
            f"cos and sin must have one shape, got {cos.shape} and {sin.shape}"
        )
    rows = np.arange(math.prod(cos.shape[:-1])).reshape(cos.shape[:-1])
    positions = np.ascontiguousarray(broadcast_to(rows, "cos", x.shape[:-1])).reshape(-1)
    out = as_real(x, "x").copy()
    program = Program()
    _rowwise.rotary(
        program,
        rows_of(out)[:, None],
        np.ascontiguousarray(rows_of(as_real(cos, "cos"))),
        np.ascontiguousarray(rows_of(as_real(sin, "sin"))),
        positions,
        interleaved=as_flag(interleaved, "interleaved"),
    )
    program.run()
    with np.errstate(over="ignore"):  # as where attention rounds: infinity, silently
        return out if x.dtype == BITS else out.astype(x.dtype, copy=False)


def _powers(count: int) -> NDArray[np.float64]:
    """Compute ratio ** 1 to ratio ** count with ratio = 2 ** (-8 / count), a power of two.

    Roots and products are rounded alike on every machine; a C library's power is not.
    """
    ratio = 2.0**-8
    for _ in range(count.bit_length() - 1):
        ratio = math.sqrt(ratio)
    return np.multiply.accumulate(np.full(count, ratio))


def as_frequencies(value: ArrayLike, name: str, count: int) -> NDArray[np.float64]:
    """Return so many frequencies from 0 to 1; TypeError or ValueError otherwise."""
    array = as_array(value, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be an array of real numbers, got {array.dtype}")
    frequencies = array.astype(np.float64, order="C")
    if frequencies.shape != (count,):
        raise ValueError(
            f"{name} must be {count} numbers from 0 to 1, got shape {frequencies.shape}"
        )
    wrong = frequencies[~((0 <= frequencies) & (frequencies <= 1))]
    if wrong.size:
        raise ValueError(f"{name} must be {count} numbers from 0 to 1, got {wrong[0]}")
    return frequencies


def _table(
    length: int,
    dim: int,
    base: float,
    first: int = 0,
    frequencies: ArrayLike | None = None,
) -> Float32:
    """Compute the sinusoidal table from position `first` on, after checking its sizes."""
    shape = as_index(length, "length", 0, MOST), as_index(dim, "dim", 1)
    start = as_index(first, "offset", 0, MOST)
    base = as_number(base, "base")
    if base < 1:
        raise ValueError(f"base must be at least 1, got {base}")
    given = None
    if frequencies is not None:
        given = as_frequencies(frequencies, "frequencies", shape[1] // 2)
    out = np.empty(shape, np.float32)
    program = Program()
    _rowwise.sinusoid(program, base, out, first=start, frequencies=given)
    program.run()
    return out

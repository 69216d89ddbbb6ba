"""Positions: what tells attention the order of its tokens."""

import operator

import numpy as np
from numpy.typing import NDArray

from . import _rowwise
from ._cpu import Program
from .arrays import as_number

__all__ = ["sinusoidal_positions"]


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
    try:
        shape = operator.index(length), operator.index(dim)
    except TypeError:
        raise TypeError(
            f"length and dim must be integers, got {length!r} and {dim!r}"
        ) from None
    if shape[0] < 0 or shape[1] < 1:
        raise ValueError(
            f"length must be at least 0 and dim at least 1, got {length} and {dim}"
        )
    base = as_number(base, "base")
    if base < 1:
        raise ValueError(f"base must be at least 1, got {base}")
    out = np.empty(shape, np.float32)
    program = Program()
    _rowwise.sinusoid(program, base, out)
    program.run()
    return out

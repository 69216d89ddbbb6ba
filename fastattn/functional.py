"""The public functions on arrays, but for attention: see :mod:`fastattn.scaled_dot`.

Here what people pass becomes arrays and plans: any number of dimensions, defaults, and
errors in the caller's words. The arithmetic is in csrc/.
"""

from typing import Any, Never

import numpy as np
from numpy.typing import ArrayLike

from . import _gemm, _packed, _rowwise
from ._program import Program
from .arrays import (
    Float32,
    as_choice,
    as_float32,
    as_index,
    as_number,
    as_strided,
    output,
    readable,
    rows_of,
)
from .keywords import unexpected

GELU_FORMS = {"none": "gelu", "tanh": "gelu_tanh"}


def matmul(
    a: ArrayLike, b: ArrayLike, *, out: Float32 | None = None, **others: Never
) -> Float32:
    """Multiply matrices, c[..., i, j] = sum_p a[..., i, p] b[..., p, j].

    Parameters
    ----------
    a : array_like, (..., m, k), float32
        Left factors.
    b : array_like, (..., k, n), float32
        Right factors, of any strides; leading dimensions broadcast against those of `a`.
        More than a few rows of `a` pack them on every call: for a weight that is used
        again, see :class:`fastattn.nn.Linear`.
    out : ndarray, (..., m, n), float32, optional
        Where to write the result.

    Returns
    -------
    ndarray, (..., m, n), float32
        `out` where it was given.

    Raises
    ------
    TypeError
        If an argument is not float32 and does not convert without loss of meaning.
    ValueError
        If the shapes do not fit, or `out` is not fit to be written.

    Notes
    -----
    Sums of 384 products are formed by fused multiply-adds in order and then added in
    order, so an element depends on its row of `a` and its column of `b` alone, to the
    bit. The error is below ``2 (384 + k / 384) u sum_p |a b|`` with ``u = 2**-24``.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.matmul([[1, 2], [3, 4]], [[1, 0], [1, 1]])
    array([[3., 2.],
           [7., 4.]], dtype=float32)
    """
    if others:
        raise unexpected(matmul, others)
    a, b = as_strided(a, "a"), as_strided(b, "b")
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(
            f"a and b must have at least 2 dimensions, got shapes {a.shape} and {b.shape}"
        )
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            "the columns of a must be as many as the rows of b, "
            f"got shapes {a.shape} and {b.shape}"
        )
    leading = broadcast("a and b", a.shape[:-2], b.shape[:-2])
    c = output(out, (*leading, a.shape[-2], b.shape[-1]), a, b)
    if c.size == 0:
        return c
    program = Program()
    if b.ndim == 2 and c.flags.c_contiguous:
        _multiply(program, rows_of(a), b, rows_of(c))
    else:
        a = np.broadcast_to(a, (*leading, *a.shape[-2:]))
        b = np.broadcast_to(b, (*leading, *b.shape[-2:]))
        _multiply(program, a, b, c)
    program.run()
    return c


def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: str | None = None,
    out: Float32 | None = None,
    **others: Never,
) -> Float32:
    """Apply a dense layer, y = activation(x weight^T + bias).

    Parameters
    ----------
    x : array_like, (..., in_features), float32
        Inputs.
    weight : array_like, (out_features, in_features), float32
        As PyTorch stores it. More than a few rows pack it on every call;
        :class:`fastattn.nn.Linear` packs it once.
    bias : array_like, (out_features,), float32, optional
        Added to every row.
    activation : str, optional
        Applied to the result while it is in the cache: "relu", "gelu", "gelu_tanh",
        "silu", "tanh", "sigmoid", "log1p_relu". "gelu" is the exact form with erf,
        "gelu_tanh" its approximation; "silu" is also called swish; "log1p_relu" is
        log(1 + relu(x)), of sparse encoders.
    out : ndarray, (..., out_features), float32, optional
        Where to write the result.

    Returns
    -------
    ndarray, (..., out_features), float32
        `out` where it was given.

    Raises
    ------
    TypeError
        If an array is not float32 and does not convert.
    ValueError
        If shapes do not fit, the activation is unknown, or `out` cannot be written.

    Notes
    -----
    Accuracy: that of :func:`matmul` for the product, of :func:`gelu` for the activation.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.linear([1, -2], [[1, 1], [1, 0]], [0.5, 0.5], activation="relu")
    array([0. , 1.5], dtype=float32)
    """
    if others:
        raise unexpected(linear, others)
    x, weight = as_strided(x, "x"), as_strided(weight, "weight")
    if weight.ndim != 2:
        raise ValueError(
            f"weight must have shape (out_features, in_features), got {weight.shape}"
        )
    if x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"the last dimension of x must be {weight.shape[1]} for weight of shape "
            f"{weight.shape}, got x of shape {x.shape}"
        )
    if bias is not None:
        bias = parameter(bias, "bias", weight.shape[0])
    as_choice(activation, "activation", (None, *_rowwise.ACTIVATIONS))
    y = output(out, (*x.shape[:-1], weight.shape[0]), x, weight, bias)
    if y.size == 0:
        return y
    target = y if y.flags.c_contiguous else np.empty(y.shape, np.float32)
    program = Program()
    rows = rows_of(x), weight.T, rows_of(target)
    _multiply(program, *rows, bias=bias, activation=activation)
    program.run()
    return landed(target, y)


def softmax(
    x: ArrayLike, *, axis: int = -1, out: Float32 | None = None, **others: Never
) -> Float32:
    """Turn scores into weights that add up to 1, e^(x - max x) / sum e^(x - max x).

    Parameters
    ----------
    x : array_like, float32
        Scores, any shape with at least one dimension.
    axis : int, default -1
        The axis whose weights add up to 1. The last one is read in place, any other
        costs a copy.
    out : ndarray, float32, the shape of `x`, optional
        Where to write the result; may be `x` itself.

    Returns
    -------
    ndarray, float32, the shape of `x`
        `out` where it was given.

    Raises
    ------
    TypeError
        If `x` is not float32 and does not convert, or `axis` is not an integer.
    ValueError
        If `x` has no dimension, `axis` is out of range or `out` cannot be written.

    Notes
    -----
    The error of a weight y in a row of n is at most
    ``(|x - max x| + log n + min(n, 512) / 16 + 16) u y`` with ``u = 2**-24`` as long as y
    is above 2**-126, and a sum is within 3e-6 of 1. A row with NaN or +inf, or of nothing
    but -inf, is NaN, as in NumPy and PyTorch.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.softmax([[0, 0], [1000, -1000]])
    array([[0.5, 0.5],
           [1. , 0. ]], dtype=float32)
    """
    if others:
        raise unexpected(softmax, others)
    x = as_float32(x, "x")
    if x.ndim == 0:
        raise ValueError("x must have at least one dimension, got a scalar")
    axis = as_index(axis, "axis", -x.ndim, x.ndim - 1)
    y = output(out, x.shape, *beside(out, x))
    moved = np.ascontiguousarray(x.swapaxes(axis, -1))
    in_place = moved.shape == y.shape and axis in (-1, x.ndim - 1)
    target = y if in_place and y.flags.c_contiguous else np.empty_like(moved)
    if y.size:
        program = Program()
        _rowwise.softmax(program, rows_of(moved), rows_of(target))
        program.run()
    return landed(target, y, axis)


def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    out: Float32 | None = None,
    **others: Never,
) -> Float32:
    """Normalise the last axis, y = (x - mean) / sqrt(var + eps) * weight + bias.

    Parameters
    ----------
    x : array_like, (..., dim), float32
        What to normalise.
    weight, bias : array_like, (dim,), float32, optional
        Scale and shift, 1 and 0 where they are not given.
    eps : float, default 1e-5
        Keeps a constant row finite; not negative.
    out : ndarray, (..., dim), float32, optional
        Where to write the result; may be `x` itself.

    Returns
    -------
    ndarray, (..., dim), float32
        `out` where it was given.

    Raises
    ------
    TypeError
        If an array is not float32 and does not convert, or `eps` is not a number.
    ValueError
        If shapes do not fit, `eps` is negative or `out` cannot be written.

    Notes
    -----
    The variance is taken over the differences from the mean, in a second pass: the error
    in a row of n is at most ``a u ((|z| + min(mean |x| / std, 8)) |weight| + |bias|)``
    with ``a = min(n, 512) / 16 + 16``, ``u = 2**-24`` and z the normalised value, for all
    finite rows.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", 2016, section 3.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.layer_norm([[1, 3], [5, 9]], eps=0)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """
    if others:
        raise unexpected(layer_norm, others)
    return normalized(x, weight, bias, eps, out)


def rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    eps: float = 1e-6,
    out: Float32 | None = None,
    **others: Never,
) -> Float32:
    """Normalise the last axis without centring, y = x / sqrt(mean(x^2) + eps) * weight.

    Parameters
    ----------
    x : array_like, (..., dim), float32
        What to normalise.
    weight : array_like, (dim,), float32, optional
        Scale, 1 where it is not given.
    eps : float, default 1e-6
        Keeps a row of zeros finite; not negative.
    out : ndarray, (..., dim), float32, optional
        Where to write the result; may be `x` itself.

    Returns
    -------
    ndarray, (..., dim), float32
        `out` where it was given.

    Raises
    ------
    TypeError
        If an array is not float32 and does not convert, or `eps` is not a number.
    ValueError
        If shapes do not fit, `eps` is negative or `out` cannot be written.

    Notes
    -----
    The error of a result y in a row of n is at most ``(min(n, 512) / 32 + 8) u |y|`` with
    ``u = 2**-24``.

    References
    ----------
    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, section 4.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.rms_norm([[3, -3], [0, 0]], [1, 2], eps=1e-9)
    array([[ 1., -2.],
           [ 0.,  0.]], dtype=float32)
    """
    if others:
        raise unexpected(rms_norm, others)
    return normalized(x, weight, None, eps, out, rms=True)


def gelu(
    x: ArrayLike, *, approximate: str = "none", out: Float32 | None = None, **others: Never
) -> Float32:
    """Apply the Gaussian error linear unit, x Phi(x), to every element.

    Parameters
    ----------
    x : array_like, float32
        Any shape.
    approximate : {"none", "tanh"}, default "none"
        "none" is the exact form with the normal distribution's Phi, "tanh" is
        ``0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``, which differs from it by up
        to 5e-4. A model wants the one that it was trained with.
    out : ndarray, float32, the shape of `x`, optional
        Where to write the result; may be `x` itself.

    Returns
    -------
    ndarray, float32, the shape of `x`
        `out` where it was given.

    Raises
    ------
    TypeError
        If `x` is not float32 and does not convert.
    ValueError
        If the form is unknown or `out` cannot be written.

    Notes
    -----
    The exact form is within 5.2e-8 for negative and 2.7 ulp for positive x; gelu(-inf) is
    0, its limit.

    References
    ----------
    Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, section 2.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.gelu([-1, 0, 1]).round(4)
    array([-0.1587,  0.    ,  0.8413], dtype=float32)
    """
    if others:
        raise unexpected(gelu, others)
    x = as_float32(x, "x")
    form = GELU_FORMS[as_choice(approximate, "approximate", GELU_FORMS)]
    y = output(out, x.shape, *beside(out, x))
    target = y if y.flags.c_contiguous else np.empty(y.shape, np.float32)
    if y.size:
        program = Program()
        flat = np.ascontiguousarray(x).reshape(-1)
        _rowwise.activate(program, flat, form, np.asarray(target).reshape(-1))
        program.run()
    return landed(target, y)


def _multiply(
    program: Program,
    a: Float32,
    b: Float32,
    c: Float32,
    *,
    bias: Float32 | None = None,
    activation: str | None = None,
) -> None:
    """Add c = activation(a b + bias), matrices at every leading index, to a program."""
    if c.shape[-1] == 1 < c.shape[-2] and c.strides[-2] == c.itemsize:
        # A column as the row that is its transpose, in which sums stand side by side.
        a, b, c = (matrix.swapaxes(-1, -2) for matrix in (b, a, c))
        bias = None if bias is None else np.repeat(bias, c.shape[-1])
    if a.itemsize not in a.strides[-2:]:
        a = readable(a)
    epilogue: dict[str, Any] = {"bias": bias, "activation": activation}
    if a.ndim > 2 or a.shape[-2] <= _gemm.UNPACKED_ROWS:
        _gemm.matmul(program, a, b, c, **epilogue)
        return
    packed = _packed.empty_packed(b.shape[1], b.shape[0], temporary=True)
    _packed.pack(program, b.T, packed)
    _gemm.linear(program, a, packed, c, **epilogue)


def normalized(
    x: ArrayLike,
    weight: ArrayLike | None,
    bias: ArrayLike | None,
    eps: float,
    out: Float32 | None,
    *,
    rms: bool = False,
) -> Float32:
    """Normalise rows around their mean, or with `rms` around 0."""
    x = as_float32(x, "x")
    if x.ndim == 0:
        raise ValueError("x must have at least one dimension, got a scalar")
    weight = None if weight is None else parameter(weight, "weight", x.shape[-1])
    bias = None if bias is None else parameter(bias, "bias", x.shape[-1])
    eps = as_number(eps, "eps")
    if eps < 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    y = output(out, x.shape, *beside(out, x), weight, bias)
    target = y if y.flags.c_contiguous else np.empty(y.shape, np.float32)
    if y.size:
        program = Program()
        rows = rows_of(x), weight, bias, eps, rows_of(target)
        _rowwise.layer_norm(program, *rows, rms=rms)
        program.run()
    return landed(target, y)


def broadcast(names: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Broadcast leading dimensions; ValueError with the shapes where they do not fit."""
    if len(set(shapes)) == 1:
        return shapes[0]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(shape) for shape in shapes)
        raise ValueError(
            f"the leading dimensions of {names} do not broadcast: {listed}"
        ) from None


def parameter(value: ArrayLike, name: str, size: int) -> Float32:
    """Return a weight of one dimension and `size` elements."""
    array = as_float32(value, name)
    if array.shape != (size,):
        raise ValueError(f"{name} must have shape ({size},), got {array.shape}")
    return array


def beside(out: Float32 | None, x: Float32) -> tuple[Float32, ...]:
    """Return the inputs that `out` may not overlap: none where it is exactly `x`."""
    same = (
        isinstance(out, np.ndarray)
        and out.shape == x.shape
        and out.strides == x.strides
        and out.ctypes.data == x.ctypes.data
    )
    return () if same else (x,)


def landed(result: Float32, out: Float32, axis: int = -1) -> Float32:
    """Copy `result`, `out` with axes -1 and `axis` swapped, to `out` if it is elsewhere."""
    if result is not out:
        out[...] = result.swapaxes(axis, -1)
    return out

"""The keywords of attention that shape its scores: checked, with defaults filled in."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _attention
from .arrays import Float32, as_array, as_flag, as_float32, as_index, as_integers, as_number

Window = tuple[int | None, int | None]


def score_options(
    leading: tuple[int, ...],
    heads: int,
    head_dim: int,
    position: tuple[bool, ArrayLike, Window | None],
    score: tuple[float | None, float | None, ArrayLike | None, ArrayLike | None],
) -> dict[str, Any]:
    """Return what shapes the scores, checked, as the extension takes it.

    Parameters
    ----------
    leading : tuple of int
        The batch: the leading dimensions without heads.
    heads, head_dim : int
        Of the queries.
    position : (causal, query_offset, window)
        Which keys a query sees by its position.
    score : (scale, softcap, alibi_slopes, distance_bias)
        What a score becomes.
    """
    causal, query_offset, window = position
    scale, softcap, alibi_slopes, distance_bias = score
    left, right = _bounds(window)
    options: dict[str, Any] = {
        "left": left,
        "right": min(right, 0) if as_flag(causal, "causal") else right,
        "scale": (head_dim or 1) ** -0.5 if scale is None else as_number(scale, "scale"),
        "query_offset": _per_batch(query_offset, "query_offset", leading),
    }
    if softcap is not None:
        # The kernel takes float32, in which 0 means no cap.
        options["softcap"] = np.float32(as_number(softcap, "softcap"))
        if options["softcap"] <= 0:
            raise ValueError(f"softcap must be positive, got {softcap!r}")
    if alibi_slopes is not None:
        slopes = _converted(alibi_slopes, "alibi_slopes")
        options["slopes"] = np.ascontiguousarray(
            broadcast_to(slopes, "alibi_slopes", (*leading, heads))
        ).reshape(math.prod(leading), heads)
    if distance_bias is not None:
        bias = _converted(distance_bias, "distance_bias")
        if bias.ndim != 2 or bias.shape[0] != heads or bias.shape[1] % 2 == 0:
            raise ValueError(
                f"distance_bias must have shape ({heads}, 2 * m + 1), got {bias.shape}"
            )
        options["distance_bias"] = np.ascontiguousarray(bias)
    return options


def _bounds(window: Window | None) -> tuple[int, int]:
    """Return how far a query sees to the left and to the right."""
    if window is None:
        return _attention.FAR, _attention.FAR
    if not isinstance(window, tuple | list) or len(window) != 2:
        raise TypeError(f"window must be (left, right), got {window!r}")
    bounds = []
    for side, name in zip(window, ("left", "right"), strict=True):
        reach = -1 if side is None else as_index(side, f"window's {name}", -1)
        far = _attention.FAR
        bounds.append(far if reach == -1 else min(reach, far))
    return bounds[0], bounds[1]


def _converted(value: ArrayLike, name: str) -> Float32:
    """Return small parameters as float32, whatever real dtype they come in."""
    array = as_array(value, name)
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    return as_float32(array, name)


def broadcast_to(array: NDArray[Any], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Broadcast an argument; ValueError with its name where it does not fit."""
    if array.shape == shape:
        return array
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"{name} of shape {array.shape} does not broadcast to {shape}"
        ) from None


def _per_batch(
    value: ArrayLike, name: str, leading: tuple[int, ...]
) -> NDArray[np.int64] | None:
    """Return one integer per leading index, flat; None for a plain 0."""
    if type(value) is int and value == 0:
        return None
    array = as_integers(value, name)
    return np.ascontiguousarray(broadcast_to(array, name, leading)).reshape(-1)

"""What becomes of a score before the softmax: one description for functions and layers."""

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _attention
from .arrays import Float32, as_flag, as_index, as_number, as_real, broadcast_to

Window = tuple[int | None, int | None]
FAR = _attention.FAR


class Scores(NamedTuple):
    """What becomes of the product of a query and a key, besides a mask.

    It is multiplied by the scale and capped; then biases by the distance of the two are
    added; and it counts where the query sees the key by their places.

    Attributes
    ----------
    scale : float or None
        1 / sqrt(head_dim) where it is None.
    softcap : float or None
        The bound that a tanh brings scores below.
    left, right : int
        How far a query sees, both included; FAR is without end. Causal is 0 to the right.
    slopes : float32 array (heads,) or (sequences, heads), or None
        Taken off for each place of distance.
    distance_bias : float32 array (heads, 2 * m + 1) or None
        Added by distance, from -m to m; the ends stand for all that is farther.
    """

    scale: float | None = None
    softcap: float | None = None
    left: int = FAR
    right: int = FAR
    slopes: Float32 | None = None
    distance_bias: Float32 | None = None

    @classmethod
    def of(
        cls,
        heads: int,
        leading: tuple[int, ...] = (),
        causal: bool = False,
        window: Window | None = None,
        scale: float | None = None,
        softcap: float | None = None,
        alibi_slopes: ArrayLike | None = None,
        distance_bias: ArrayLike | None = None,
    ) -> Self:
        """Check the keywords of attention for so many heads and a batch of any shape."""
        left, right = _bounds(window)
        if as_flag(causal, "causal"):
            right = min(right, 0)
        if scale is not None:
            scale = as_number(scale, "scale")
        if softcap is not None:
            # The kernel takes float32, in which 0 means no cap.
            softcap = float(np.float32(as_number(softcap, "softcap")))
            if softcap <= 0:
                raise ValueError(f"softcap must be positive, got {softcap!r}")
        slopes, bias = None, None
        if alibi_slopes is not None:
            slopes = as_real(alibi_slopes, "alibi_slopes")
            slopes = broadcast_to(slopes, "alibi_slopes", (*leading, heads))
            slopes = slopes.reshape(math.prod(leading), heads) if leading else slopes
        if distance_bias is not None:
            bias = np.ascontiguousarray(as_real(distance_bias, "distance_bias"))
            if bias.ndim != 2 or bias.shape[0] != heads or bias.shape[1] % 2 == 0:
                raise ValueError(
                    f"distance_bias must have shape ({heads}, 2 * m + 1), got {bias.shape}"
                )
        return cls(scale, softcap, left, right, slopes, bias)

    def causal(self) -> Self:
        """Give the scores of queries that see no key behind them, besides."""
        return self._replace(right=min(self.right, 0))

    def scale_for(self, head_dim: int) -> float:
        """Give the factor of products of heads of this size."""
        return (head_dim or 1) ** -0.5 if self.scale is None else self.scale

    def for_kernel(self, head_dim: int, sequences: int) -> dict[str, Any]:
        """Translate for the extension, for so many sequences."""
        options: dict[str, Any] = {
            "left": self.left,
            "right": self.right,
            "scale": self.scale_for(head_dim) if self.scale is None else self.scale,
        }
        if self.softcap is not None:
            options["softcap"] = self.softcap
        if self.slopes is not None:
            shape = sequences, self.slopes.shape[-1]
            options["slopes"] = np.ascontiguousarray(np.broadcast_to(self.slopes, shape))
        if self.distance_bias is not None:
            options["distance_bias"] = self.distance_bias
        return options

    @property
    def by_distance(self) -> bool:
        """Whether a window or a table of biases asks how far a query is from a key."""
        return self.left < FAR or 0 < self.right < FAR or self.distance_bias is not None

    def as_mask(self, queries: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[Any]:
        """Say what window and table do to tokens at these positions, as a mask.

        It is bool (query length, key length), or float32 (heads, ...) with a table.
        """
        distance = keys - queries[:, None]
        seen: NDArray[Any] = (-self.left <= distance) & (distance <= self.right)
        if self.distance_bias is None:
            return seen
        farthest = self.distance_bias.shape[1] // 2
        columns = np.clip(distance, -farthest, farthest) + farthest
        return np.where(seen, self.distance_bias[:, columns], np.float32(-np.inf))

    def without_distances(self) -> Self:
        """Give what is left where :meth:`as_mask` stands for window and table."""
        return self._replace(left=FAR, right=FAR, distance_bias=None)


def _bounds(window: Window | None) -> tuple[int, int]:
    """Return how far a query sees to the left and to the right."""
    if window is None:
        return FAR, FAR
    if not isinstance(window, tuple | list) or len(window) != 2:
        raise TypeError(f"window must be (left, right), got {window!r}")
    bounds = []
    for side, name in zip(window, ("left", "right"), strict=True):
        reach = -1 if side is None else as_index(side, f"window's {name}", -1)
        bounds.append(FAR if reach == -1 else min(reach, FAR))
    return bounds[0], bounds[1]

"""What becomes of a score before the softmax: one description for functions and layers."""

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _attention
from ._distances import DistanceVectors
from .arrays import Float32, as_flag, as_index, as_number, as_real, broadcast_to

Window = tuple[int | None, int | None]
FAR = _attention.FAR


class Scores(NamedTuple):
    """What becomes of the product of a query and a key, besides a mask.

    It is multiplied by the scale and capped; then biases by the distance of the two are
    added; and it counts where the query sees the key by their places. The extension reads
    it as it is.

    Attributes
    ----------
    scale : float
        What it is multiplied by.
    softcap : float
        The bound that a tanh brings scores below; 0: there is none.
    left, right : int
        How far a query sees, both included; FAR is without end. Causal is 0 to the right.
    slopes : float32 array (sequences, heads) or, for all sequences, (1, heads), or None
        Taken off for each place of distance.
    distance_bias : float32 array (heads, 2 * m + 1) or None
        Added by distance, from -m to m; the ends stand for all that is farther.
    relative : DistanceVectors or None
        What is added to the product before all else.
    """

    scale: float
    softcap: float = 0.0
    left: int = FAR
    right: int = FAR
    slopes: Float32 | None = None
    distance_bias: Float32 | None = None
    relative: DistanceVectors | None = None

    @classmethod
    def of(
        cls,
        heads: int,
        head_dim: int,
        leading: tuple[int, ...] = (),
        causal: bool = False,
        window: Window | None = None,
        scale: float | None = None,
        softcap: float | None = None,
        alibi_slopes: ArrayLike | None = None,
        distance_bias: ArrayLike | None = None,
    ) -> Self:
        """Check the keywords of attention for such heads and a batch of any shape."""
        left, right = (FAR, FAR) if window is None else _bounds(window)
        if as_flag(causal, "causal"):
            right = min(right, 0)
        factor = (head_dim or 1) ** -0.5 if scale is None else as_number(scale, "scale")
        cap = 0.0
        if softcap is not None:
            # As the kernel reads it: what is 0 in float32 would mean no cap.
            cap = float(np.float32(as_number(softcap, "softcap")))
            if cap <= 0:
                raise ValueError(f"softcap must be positive, got {cap!r}")
        slopes, bias = None, None
        if alibi_slopes is not None:
            slopes = as_real(alibi_slopes, "alibi_slopes")
            slopes = broadcast_to(slopes, "alibi_slopes", (*leading, heads))
            slopes = np.ascontiguousarray(slopes).reshape(math.prod(leading), heads)
        if distance_bias is not None:
            bias = np.ascontiguousarray(as_real(distance_bias, "distance_bias"))
            if bias.ndim != 2 or bias.shape[0] != heads or bias.shape[1] % 2 == 0:
                raise ValueError(
                    f"distance_bias must have shape ({heads}, 2 * m + 1), got {bias.shape}"
                )
        return cls(factor, cap, left, right, slopes, bias)

    def causal(self) -> Self:
        """Give the scores of queries that see no key behind them, besides."""
        return self._replace(right=min(self.right, 0))

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


def _bounds(window: Window) -> tuple[int, int]:
    """Return how far a query sees to the left and to the right."""
    if not isinstance(window, tuple | list) or len(window) != 2:
        raise TypeError(f"window must be (left, right), got {window!r}")
    bounds = []
    for side, name in zip(window, ("left", "right"), strict=True):
        reach = -1 if side is None else as_index(side, f"window's {name}", -1)
        bounds.append(FAR if reach == -1 else min(reach, FAR))
    return bounds[0], bounds[1]

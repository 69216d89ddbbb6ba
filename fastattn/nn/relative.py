"""Biases of scores by distance that are learned, in buckets (T5, MPNet)."""

import math

import numpy as np
from numpy.typing import NDArray

from .layer import Layer, positive

__all__ = ["RelativeBias", "buckets_of"]

Array = NDArray[np.float32]


class RelativeBias(Layer):
    """What each head adds to a score, by how far the key is behind or before the query.

    The attention layers of a model share one, and it belongs to the model: their state
    dicts do not have it.

    Parameters
    ----------
    num_heads : int
        Number of heads.
    num_buckets : int, default 32
        Rows of the weight (num_buckets, num_heads): half of them are for keys up to the
        query, half for those behind it.
    max_distance : int, default 128
        From here on all keys on a side are in its last bucket.

    References
    ----------
    Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
    Transformer" (2020), section 2.1.
    """

    def __init__(
        self, num_heads: int, num_buckets: int = 32, max_distance: int = 128
    ) -> None:
        super().__init__()
        self.num_heads = positive(num_heads, "num_heads")
        self.num_buckets = positive(num_buckets, "num_buckets")
        self.max_distance = positive(max_distance, "max_distance")
        self._weights["weight"] = np.zeros((num_buckets, num_heads), np.float32)
        distances = np.arange(-max_distance, max_distance + 1)
        self._buckets = buckets_of(distances, num_buckets, max_distance)
        self._made: tuple[Array, Array] | None = None

    @property
    def table(self) -> Array:
        """The biases (num_heads, 2 * max_distance + 1), as attention takes them."""
        weight, made = self._weights["weight"], self._made
        if made is None or made[0] is not weight:
            made = weight, np.ascontiguousarray(weight[self._buckets].T)
            self._made = made
        return made[1]


def buckets_of(
    distances: NDArray[np.int64], num_buckets: int, max_distance: int
) -> NDArray[np.int64]:
    """Give the bucket of each distance, key minus query.

    On each side, half of the buckets are of one distance, the others are of ever more,
    to `max_distance` as its logarithm grows.
    """
    of_side = num_buckets // 2
    exact = of_side // 2
    far = np.abs(distances)
    grown = np.log(np.maximum(far, exact) / exact) / math.log(max_distance / exact)
    wide = np.minimum(exact + (grown * (of_side - exact)).astype(np.int64), of_side - 1)
    return (distances > 0) * of_side + np.where(far < exact, far, wide)

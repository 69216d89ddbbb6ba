"""Factors that even out the columns of what products read, before it becomes integers.

Numbers share a scale with those beside them, so that a column which is large in every row
costs these their digits. Its factor moves a part of that to the weight, whose scales are by
output: x w^T = (x / s) (s w)^T (Xiao et al., "SmoothQuant", 2023, section 4).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._gemm import PRODUCT
from .layer import Layer
from .recorder import Recorder, recording

__all__ = ["smoothing_factors"]

Array = NDArray[np.float32]


def smoothing_factors(layer: Layer, *sample: ArrayLike) -> dict[str, Array]:
    """Find the factors for :meth:`Layer.compute_in`, in a call of the layer.

    They are sqrt(max|x_j| / max|w_j|), by the key of each matrix, of the rows x that its
    products read in ``layer(*sample)``; 1 where that is 0 or not finite. What reads an
    activation has none: it would be less close with them.
    """
    largest = _Largest()
    with recording(largest):
        layer(*sample)  # type: ignore[operator]
    factors = {}
    for key, owner, name in layer._owners():
        weight = owner._weights[name]
        rows = largest.of_rows.get(id(weight))
        if rows is not None and owner._uneven:
            with np.errstate(all="ignore"):
                ratio = rows / np.abs(weight.unpack()).max(axis=0)
                usable = np.isfinite(ratio) & (ratio > 0)
            factors[key] = np.sqrt(np.where(usable, ratio, np.float32(1)))
    return factors


class _Largest(Recorder):
    """The largest magnitudes in the columns of what products read, by id of the weight."""

    def __init__(self) -> None:
        super().__init__(set())
        self.of_rows: dict[int, Array] = {}

    def wants(self, name: str) -> bool:
        """Ask for products alone."""
        return name == PRODUCT

    def keep(self, name: str, value: Any, kind: str) -> None:
        """Take the rows of a product into account."""
        weight, rows = value
        most = np.abs(rows).max(axis=0, initial=0)
        before = self.of_rows.get(id(weight), np.float32(0))
        self.of_rows[id(weight)] = np.maximum(most, before)

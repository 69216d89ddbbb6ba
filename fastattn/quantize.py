"""Vectors in fewer bits, by the definitions of sentence-transformers."""

from typing import Any, NamedTuple

import numpy as np
from numpy import float32
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .arrays import as_choice, as_real

Array = NDArray[float32]

# What a vector may be given in, and how it is stored: the last two have a bit for each
# value, eight to an integer, the first of them in its highest bit.
PRECISIONS: dict[str, DTypeLike] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "binary": np.int8,
    "ubinary": np.uint8,
}
SCALAR, BITS = ("int8", "uint8"), ("binary", "ubinary")

# Steps from the lowest to the highest value of a range.
STEPS = 255

# What there is to take away from an unsigned integer to make a signed one of it.
MIDDLE = 128


class Precision(NamedTuple):
    """What vectors become.

    Attributes
    ----------
    name : str
        A key of `PRECISIONS`.
    starts, steps : array (dim,), or float
        For integers, the lowest value of each component, and how far apart two of them are.
    """

    name: str
    starts: Array | float = 0.0
    steps: Array | float = 1.0

    def empty(self, count: int, dim: int) -> NDArray[Any]:
        """Make the array for so many vectors of `dim` values."""
        width = -(-dim // 8) if self.name in BITS else dim
        return np.empty((count, width), PRECISIONS[self.name])

    def of(self, vectors: Array) -> NDArray[Any]:
        """Store vectors (n, dim)."""
        if self.name in BITS:
            return _signed(np.packbits(vectors > 0, axis=-1), self.name == "binary")
        if self.name in SCALAR:
            levels = np.clip(np.floor((vectors - self.starts) / self.steps), 0, STEPS)
            return _signed(levels.astype(np.uint8), self.name == "int8")
        if self.name == "float32":
            return vectors
        with np.errstate(over="ignore"):
            stored = vectors.astype(PRECISIONS[self.name])
        if not np.isfinite(stored[np.isfinite(vectors)]).all():
            raise ValueError(
                f"a vector holds {np.abs(vectors).max():.3g}, which is too large for "
                f"{self.name}: encode with normalize=True, or in float32"
            )
        return stored


def as_precision(name: str, ranges: ArrayLike | None, dim: int) -> Precision:
    """Check what a user asked for, for vectors of `dim` values."""
    as_choice(name, "precision", PRECISIONS)
    if name not in SCALAR:
        if ranges is not None:
            raise ValueError(f"ranges are for {' and '.join(SCALAR)}, not for {name}")
        return Precision(name)
    if ranges is None:
        raise ValueError(
            f"precision {name!r} needs ranges, the lowest and the highest value of each "
            "component: of the vectors of many texts, np.stack([v.min(0), v.max(0)])"
        )
    bounds = as_real(ranges, "ranges")
    if bounds.shape != (2, dim):
        raise ValueError(f"ranges must have shape (2, {dim}), got {bounds.shape}")
    steps = (bounds[1] - bounds[0]) / float32(STEPS)
    if not (steps >= 0).all() or not np.isfinite(steps).all():
        raise ValueError("ranges must be finite, the lowest values before the highest")
    # A component that is always the same is 0 steps above its lowest value.
    return Precision(name, bounds[0], np.where(steps == 0, float32(1), steps))


def _signed(integers: NDArray[np.uint8], signed: bool) -> NDArray[Any]:
    """Give unsigned integers, or signed ones that are 128 less."""
    return (integers ^ np.uint8(MIDDLE)).view(np.int8) if signed else integers

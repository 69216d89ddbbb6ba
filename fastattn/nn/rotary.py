"""Rotary positions as a layer holds them: which columns are turned, and how fast."""

from typing import Any, NamedTuple, Self

import numpy as np

from ..arrays import Float32, as_index, as_number
from ..positions import as_frequencies, rotary_positions

__all__ = ["Rotary"]


class Rotary(NamedTuple):
    """How queries and keys are turned by their positions.

    Attributes
    ----------
    dim : int
        How many columns of a head are turned, its first ones.
    base : float
        The longest wavelength is ``2 * pi * base``.
    frequencies : tuple of float, or None
        The angle of each pair of columns from one position to the next, in place of what
        the base says.
    factor : float
        What cosines and sines are multiplied by.
    interleaved : bool
        Which columns are turned together.
    """

    dim: int
    base: float = 10000.0
    frequencies: tuple[float, ...] | None = None
    factor: float = 1.0
    interleaved: bool = False

    @classmethod
    def of(cls, rotary: Any, dim: int, head_dim: int, interleaved: bool) -> Self:
        """Read a base, frequencies, or frequencies and a factor, for `dim` columns."""
        dim = as_index(dim, "rotary_dim", 1)
        if dim % 2 or dim > head_dim:
            raise ValueError(
                "the columns that rotary positions turn must be even and at most the "
                f"size of a head, {head_dim}, got {dim}"
            )
        factor = 1.0
        if isinstance(rotary, tuple) and len(rotary) == 2 and np.ndim(rotary[0]):
            rotary, factor = rotary[0], as_number(rotary[1], "the factor of rotary")
        if np.ndim(rotary) == 0:
            base = as_number(rotary, "rotary")
            if base < 1:
                raise ValueError(f"rotary must be at least 1, got {rotary}")
            return cls(dim, base, interleaved=interleaved)
        frequencies = as_frequencies(rotary, "the frequencies of rotary", dim // 2)
        values = tuple(frequencies.tolist())
        return cls(dim, frequencies=values, factor=factor, interleaved=interleaved)

    def angles(self, length: int, offset: int) -> tuple[Float32, Float32]:
        """Compute cos and sin (length, dim / 2) of the positions from `offset` on."""
        cos, sin = rotary_positions(
            length, self.dim, base=self.base, offset=offset, frequencies=self.frequencies
        )
        if self.factor == 1:
            return cos, sin
        factor = np.float32(self.factor)
        return cos * factor, sin * factor

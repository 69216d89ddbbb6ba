"""From the tensors of a file to the weights of a model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checkpoint import Stored, Tensors
from .families.family import SameRows


@dataclass(frozen=True)
class Rows:
    """One of some equal parts of the rows of tensors, read when NumPy asks for it."""

    tensors: Sequence[Stored]
    part: int
    parts: int

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """Put the rows together; those of one float32 tensor are a view of it."""
        arrays = [np.asarray(tensor) for tensor in self.tensors]
        rows = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        return np.array(np.split(rows, self.parts)[self.part], dtype, copy=copy)


def find_weights(places: Iterable[SameRows], tensors: Tensors) -> dict[str, Rows]:
    """Find all weights of a model among the tensors, by their keys; none is left over."""
    found = {}
    for place in places:
        stored = [tensors.find(name, shape) for name, shape in place.tensors.items()]
        for part, key in enumerate(place.weights):
            found[key] = Rows(stored, part, len(place.weights))
    tensors.finish()
    return found

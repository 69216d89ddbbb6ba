"""What all layers have in common: weights with names, and state dicts."""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._cpu import Program
from .._gemm import PackedMatrix
from ..arrays import as_array, as_float32

__all__ = ["Layer", "positive", "run_on_rows"]


class Layer:
    """Base class of all layers: weights of its own, and layers inside it.

    Weights are named as in PyTorch, so state dicts go both ways. They are read as
    read-only arrays and changed by :meth:`load_state_dict` alone.
    """

    def __init__(self) -> None:
        # By name: a PackedMatrix where products read it, else a float32 array.
        self._weights: dict[str, Any] = {}

    def _children(self) -> Mapping[str, "Layer"]:
        """Give the layers inside this one by the prefix of their keys."""
        return {}

    def _read(self, name: str) -> NDArray[np.float32]:
        """Give one weight of this layer as a read-only array."""
        weight = self._weights[name]
        packed = isinstance(weight, PackedMatrix)
        array: NDArray[np.float32] = weight.unpack() if packed else weight.view()
        array.flags.writeable = False
        return array

    def _owners(self, prefix: str = "") -> Iterator[tuple[str, "Layer", str]]:
        """List all weights, here and inside: key, the layer that has it, its name."""
        for name in self._weights:
            yield prefix + name, self, name
        for inside, child in self._children().items():
            yield from child._owners(prefix + inside)

    def state_dict(self) -> dict[str, NDArray[np.float32]]:
        """Give all weights under the names that PyTorch has for them.

        Returns
        -------
        dict of str to float32 array
            Read-only arrays, in PyTorch's order.

        Examples
        --------
        >>> import fastattn as fa
        >>> list(fa.nn.Linear(4, 2).state_dict())
        ['weight', 'bias']
        """
        return {key: layer._read(name) for key, layer, name in self._owners()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace all weights; nothing is changed unless everything fits.

        Parameters
        ----------
        state : mapping of str to array_like
            A value for every weight and nothing else. Anything that NumPy reads as real
            numbers will do, PyTorch's CPU tensors among it; float16 and float64 are
            rounded to float32. Values are copied.

        Raises
        ------
        TypeError
            When `state` is not a mapping or a value does not hold real numbers.
        ValueError
            When keys are missing or unknown or shapes differ. The message names all of
            them.

        Notes
        -----
        A call that runs in another thread at the same time may see some old and some
        new weights, each of them whole.

        Examples
        --------
        >>> import fastattn as fa
        >>> layer = fa.nn.Linear(2, 1)
        >>> layer.load_state_dict({"weight": [[1, 2]], "bias": [3]})
        >>> layer([1.0, 1.0])
        array([6.], dtype=float32)
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must map names to arrays, got {type(state).__name__}")
        owners = list(self._owners())
        known = {key for key, _, _ in owners}
        faults = [f"{key!r} is missing" for key in known.difference(state)]
        faults += [f"{key!r} is unknown" for key in state if key not in known]
        fresh = []
        for key, layer, name in owners:
            if key in state:
                array, old = _real(state[key], key), layer._weights[name]
                if array.shape == old.shape:
                    fresh.append((layer, name, _like(old, array)))
                else:
                    faults.append(f"{key!r} has shape {array.shape}, not {old.shape}")
        if faults:
            raise ValueError(
                f"the state dict does not fit this {type(self).__name__}: "
                f"{'; '.join(sorted(faults))}"
            )
        for layer, name, weight in fresh:
            layer._weights[name] = weight

    def __repr__(self) -> str:
        """Show the settings of the layer."""
        settings = ", ".join(
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if isinstance(value, int | float | str)
        )
        return f"{type(self).__name__}({settings})"


def run_on_rows(
    x: ArrayLike,
    in_features: int,
    out_features: int,
    steps: Callable[[Program, NDArray[np.float32], NDArray[np.float32]], None],
) -> NDArray[np.float32]:
    """Call a layer that works on each vector by itself: (..., in) -> (..., out)."""
    vectors = as_float32(x, "x")
    if vectors.shape[-1:] != (in_features,):
        raise ValueError(f"x must have shape (..., {in_features}), got {vectors.shape}")
    rows = vectors.reshape(-1, in_features)
    out = np.empty((len(rows), out_features), np.float32)
    program = Program()
    steps(program, rows, out)
    program.run()
    return out.reshape(*vectors.shape[:-1], out_features)


def positive(value: int, name: str) -> int:
    """Check a size."""
    try:
        size = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if size < 1:
        raise ValueError(f"{name} must be at least 1, got {size}")
    return size


def _real(value: Any, key: str) -> NDArray[np.float32]:
    """Read a value as float32, without a copy where it is that already."""
    try:
        array = as_array(value, key)
    except TypeError as error:
        raise TypeError(f"NumPy cannot read the value of {key!r}: {error}") from error
    # Rounding takes digits off a float64; of a complex number it would take meaning.
    if not np.can_cast(array.dtype, np.float32, "same_kind"):
        raise TypeError(f"{key!r} must hold real numbers, got an array of {array.dtype}")
    return array.astype(np.float32, copy=False)


def _like(old: Any, array: NDArray[np.float32]) -> Any:
    """Store a weight in the form of the one it replaces."""
    return PackedMatrix(array) if isinstance(old, PackedMatrix) else array.copy()

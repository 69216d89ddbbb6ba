"""What all layers have in common: weights with names, and state dicts."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._packed import FORMATS, PRECISIONS, PackedMatrix, empty_packed
from .._program import Program
from ..arrays import as_choice, as_float32, as_index, as_real
from ..init import Initializer, zeros
from .recorder import program_for

__all__ = ["Layer", "draw_packed", "positive", "run_on_rows"]


class Layer:
    """Base class of all layers: weights of its own, and layers inside it.

    Weights are named as in PyTorch, so state dicts go both ways. They are read as
    read-only arrays and changed by :meth:`load_state_dict` alone.
    """

    compute = "float32"
    # Do the same columns of what its products read stand out in most rows?
    _uneven = True

    def __init__(self) -> None:
        # By name: a PackedMatrix where products read it, else a float32 array.
        self._weights: dict[str, Any] = {}
        self._stamp = uuid4().hex

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
            numbers will do, and PyTorch's CPU tensors, bfloat16 too; float64 is rounded to
            float32. Values are copied, into the format of those that they replace.

        Raises
        ------
        TypeError
            When `state` is not a mapping or a value does not hold real numbers.
        ValueError
            When keys are missing or unknown or shapes differ, the message names all of
            them; or when a value is too large for float32 or the format.

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
                array, old = as_real(state[key], repr(key)), layer._weights[name]
                if array.shape == old.shape:
                    fresh.append((layer, name, _like(old, array, key)))
                else:
                    faults.append(f"{key!r} has shape {array.shape}, not {old.shape}")
        if faults:
            raise ValueError(
                f"the state dict does not fit this {type(self).__name__}: "
                f"{'; '.join(sorted(faults))}"
            )
        _put(fresh)

    def store_weights_as(self, format: str) -> None:
        """Store the matrices of all dense layers, here and inside, in another format.

        Parameters
        ----------
        format : str
            How a number of a matrix is stored, "float32" or "int8" for example: the table
            in docs/accuracy.md has all formats, and what they store of a number. Biases,
            norms and embedding tables stay float32.

        Raises
        ------
        ValueError
            When there is no such format, or a number is too large for it, infinite or
            NaN; the message names its key. Nothing is changed then.

        Notes
        -----
        Everything is computed in float32, as with the float32 matrices that
        :meth:`state_dict` gives, to the bit. What it saves is memory, and time where
        tokens are few and a product waits for its weights. Going back to float32 brings
        no digits back.

        Examples
        --------
        >>> import fastattn as fa
        >>> layer = fa.nn.Linear(384, 1536)
        >>> layer.nbytes
        2365440
        >>> layer.store_weights_as("int8")
        >>> layer.nbytes
        602112
        """
        as_choice(format, "format", FORMATS)
        fresh = []
        for key, layer, name in self._owners():
            weight = layer._weights[name]
            if not isinstance(weight, PackedMatrix):
                continue
            if weight.precision != "float32":
                raise ValueError(
                    f"{key!r} is stored in {weight.precision}, in which it is computed "
                    "with: compute_in('float32') first"
                )
            if weight.format != format:
                fresh.append((layer, name, _packed(weight.unpack(), key, format=format)))
        _put(fresh)

    def compute_in(
        self, precision: str, factors: Mapping[str, ArrayLike] | None = None
    ) -> None:
        """Take the products of all dense layers, here and inside, in another precision.

        Parameters
        ----------
        precision : str
            "float32", "int8", "int16" or "bfloat16". Biases, norms, activations, attention
            and what enters and leaves a layer stay float32.
        factors : mapping of str to array_like of float32 (in_features,), optional
            By the key of a matrix: its columns are multiplied with these numbers before
            they are rounded, and what they are multiplied with is divided by them (Xiao et
            al. 2023, "SmoothQuant"), so that no channel is much larger than the others. Of
            each number 8 bits count. Without, they are 1.

        Raises
        ------
        ValueError
            When there is no such precision, or a matrix is too large for it, infinite or
            NaN; when `factors` name no matrix or do not fit theirs, or come with "float32".
            The message names the key, and nothing is changed then.

        Notes
        -----
        int8: 192 numbers of a vector are ``scale * (q - zero)``, q from 0 to 254, with the
        scale of the smallest and largest of them; 192 of a row of the matrix are
        ``scale * w``, w from -127 to 127, with two neighbours of one sign at most 129
        together, so that no instruction saturates. int16: the same with 384 numbers, 12
        bits and zero = 0. Sums of such blocks are exact, and added up in float32. A vector
        that is not finite gives NaN, and no other does. bfloat16: both are rounded to it,
        products are exact and sums float32. The bits are the same on every machine;
        `fastattn.reference.linear_in` is the definition.

        Matrices are stored as they are computed with, and :meth:`state_dict` gives the
        float32 numbers that these stand for. Going back to float32 brings no digits back.

        Examples
        --------
        >>> import numpy as np
        >>> import fastattn as fa
        >>> layer = fa.nn.Linear(384, 1536, rng=0)
        >>> x = np.linspace(-1, 2, 384, dtype=np.float32)
        >>> exact = layer(x)
        >>> layer.compute_in("int8")
        >>> layer.nbytes
        620544
        >>> bool(np.abs(layer(x) - exact).max() < 0.02)
        True

        A channel that is much larger than the others is evened out:

        >>> layer = fa.nn.Linear(384, 1536, rng=0)
        >>> x[7], factors = 1000, np.ones(384, np.float32)
        >>> exact, factors[7] = layer(x), 100
        >>> layer.compute_in("int8", {"weight": factors})
        >>> bool(np.abs(layer(x) - exact).max() < 1)
        True
        """
        as_choice(precision, "precision", PRECISIONS)
        given = {} if factors is None else dict(factors)
        if given and precision == "float32":
            raise ValueError("factors are for other precisions than float32")
        fresh = []
        for key, layer, name in self._owners():
            weight = layer._weights[name]
            if not isinstance(weight, PackedMatrix):
                continue
            of_weight = given.pop(key, None)
            if weight.precision != precision or of_weight is not None:
                if of_weight is not None:
                    of_weight = as_float32(of_weight, f"factors[{key!r}]")
                options = {"precision": precision, "factors": of_weight}
                fresh.append((layer, name, _packed(weight.unpack(), key, **options)))
        if given:
            raise ValueError(f"factors name no matrix of the layer: {sorted(given)}")
        _put(fresh)
        for layer, _, _ in fresh:
            layer.compute = precision
        self.compute = precision

    @property
    def nbytes(self) -> int:
        """Bytes that the weights take, here and inside, in the formats they have."""
        return sum(layer._weights[name].nbytes for _, layer, name in self._owners())

    def __repr__(self) -> str:
        """Show the settings of the layer."""
        settings = ", ".join(
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if isinstance(value, int | float | str) and name[0] != "_"
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
    program = program_for(len(rows))
    steps(program, rows, out)
    program.run()
    return out.reshape(*vectors.shape[:-1], out_features)


def positive(value: int, name: str) -> int:
    """Check a size."""
    return as_index(value, name, 1)


def draw_packed(
    draw: Initializer, shape: tuple[int, int], rng: np.random.Generator
) -> PackedMatrix:
    """Draw a weight and pack it. Zeros, which will be replaced, take no memory yet."""
    return empty_packed(*shape) if draw is zeros else PackedMatrix(draw(shape, rng))


def _put(fresh: Iterable[tuple[Layer, str, Any]]) -> None:
    """Put weights into their layers, and stamp these: no others have what they have now."""
    for layer, name, weight in fresh:
        layer._weights[name] = weight
        layer._stamp = uuid4().hex


def _like(old: Any, array: NDArray[np.float32], key: str) -> Any:
    """Store a weight in the form of the one it replaces."""
    return _named(key, old.like, array) if isinstance(old, PackedMatrix) else array.copy()


def _packed(array: NDArray[np.float32], key: str, **options: Any) -> PackedMatrix:
    packed: PackedMatrix = _named(key, PackedMatrix, array, **options)
    return packed


def _named(key: str, make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Make something of a weight; an error says of which."""
    try:
        return make(*args, **options)
    except ValueError as error:
        raise ValueError(f"{key!r}: {error}") from None

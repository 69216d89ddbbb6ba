"""From token ids to vectors, and what tells the vectors where they stand."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _rowwise
from .._program import Program
from ..arrays import as_float32, as_integers, as_number
from ..init import Seed, initializer, torch_embedding
from ..keywords import in_our_words
from ..positions import sinusoidal_positions
from .layer import Layer, positive
from .norm import Norm
from .torch_modules import attributes

__all__ = ["Embedding", "PositionalEncoding"]


class Embedding(Layer):
    """A table of vectors, one for each token id.

    Parameters
    ----------
    num_embeddings : int
        Number of ids: they go from 0 to ``num - 1``.
    dim : int
        Size of a vector.
    init : str, optional
        How the table is drawn, as for :class:`Linear`. By default from a normal
        distribution with deviation 1, as torch does.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or a seed for one.

    Raises
    ------
    TypeError, ValueError
        When a size is not a positive integer or `init` is unknown.

    Examples
    --------
    >>> import fastattn as fa
    >>> layer = fa.nn.Embedding(100, 8, rng=0)
    >>> layer([[1, 2, 3], [4, 5, 6]]).shape
    (2, 3, 8)
    """

    @in_our_words
    def __init__(
        self,
        num_embeddings: int,
        dim: int,
        *,
        init: str | None = None,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = positive(num_embeddings, "num_embeddings")
        self.dim = positive(dim, "dim")
        draw = torch_embedding if init is None else initializer(init)
        table = draw((self.num_embeddings, self.dim), np.random.default_rng(rng))
        self._weights["weight"] = table

    @property
    def weight(self) -> NDArray[np.float32]:
        """The table (num, dim), read-only."""
        return self._read("weight")

    @property
    def table_for_lookup(self) -> NDArray[np.float32]:
        """The table itself, for a step that looks up rows of several tables."""
        table: NDArray[np.float32] = self._weights["weight"]
        return table

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Make the layer that computes what a ``torch.nn.Embedding`` computes.

        Parameters
        ----------
        module : torch.nn.Embedding
            Its sizes and its table are read; torch is not imported.

        Returns
        -------
        Embedding
            With a copy of the table.

        Raises
        ------
        TypeError
            When `module` is something else.
        ValueError
            When it has a `max_norm`, which changes the table as it is read.
        """
        num, dim, max_norm = attributes(
            module, "Embedding", "num_embeddings", "embedding_dim", "max_norm"
        )
        if max_norm is not None:
            raise ValueError(f"max_norm={max_norm} cannot be carried over")
        layer = cls(num, dim, init="zeros")
        layer.load_state_dict(module.state_dict())
        return layer

    @classmethod
    def from_table(cls, table: NDArray[np.float32]) -> Self:
        """Make the layer of a table (num_embeddings, dim), which is not copied.

        So it may be a file that is mapped into memory.
        """
        layer = cls(*table.shape, init="zeros")
        layer._weights["weight"] = table.view()
        layer._weights["weight"].flags.writeable = False
        return layer

    def __call__(self, ids: ArrayLike) -> NDArray[np.float32]:
        """Look up the vectors of token ids.

        Parameters
        ----------
        ids : array_like of int, any shape
            Token ids.

        Returns
        -------
        float32 array (*ids.shape, dim)
            A copy of the row of each id.

        Raises
        ------
        TypeError
            When `ids` does not hold integers.
        IndexError
            When an id is negative or not less than `num_embeddings`.
        """
        indices = as_integers(ids, "ids")
        out = np.empty((indices.size, self.dim), np.float32)
        program = Program()
        self.steps(program, indices.reshape(-1), out)
        program.run()
        return out.reshape(*np.shape(ids), self.dim)

    def steps(
        self,
        program: Program,
        ids: NDArray[np.int64],
        out: NDArray[np.float32],
        *,
        norm: Norm | None = None,
    ) -> None:
        """Add out[t] = norm(weight[ids[t]]) to a program: ids (tokens,), out 2-D."""
        _rowwise.embed(program, [self._weights["weight"]], [ids], out, norm=norm)


class PositionalEncoding(Layer):
    """Add the sinusoidal position table to vectors. There is nothing to learn in it.

    Parameters
    ----------
    dim : int
        Size of a vector, odd sizes too.
    max_length : int, default 5000
        Longest sequence.
    base : float, default 10000.0
        As for :func:`fastattn.sinusoidal_positions`.

    Raises
    ------
    TypeError, ValueError
        When a size is not a positive integer or `base` is out of range.

    References
    ----------
    Vaswani et al., "Attention Is All You Need" (2017), section 3.5.

    Examples
    --------
    Before it is added, the paper multiplies the embedding by ``sqrt(dim)`` (its section
    3.4), so that positions do not drown it:

    >>> import math
    >>> import numpy as np
    >>> import fastattn as fa
    >>> embedding = fa.nn.Embedding(100, 8, init="xavier_normal", rng=0)
    >>> x = embedding([[1, 2, 3]]) * np.float32(math.sqrt(8))
    >>> fa.nn.PositionalEncoding(8, max_length=512)(x).shape
    (1, 3, 8)
    """

    @in_our_words
    def __init__(self, dim: int, max_length: int = 5000, *, base: float = 10000.0) -> None:
        super().__init__()
        self.dim = positive(dim, "dim")
        self.max_length = positive(max_length, "max_length")
        self.base = as_number(base, "base")
        self._table = sinusoidal_positions(self.max_length, self.dim, base=self.base)

    def __call__(self, x: ArrayLike) -> NDArray[np.float32]:
        """Add to each vector the encoding of its position.

        Parameters
        ----------
        x : array_like of float32 (..., length, dim)
            Sequences; the first vector of each has position 0.

        Returns
        -------
        float32 array (..., length, dim)
            ``x + sinusoidal_positions(length, dim)``.

        Raises
        ------
        TypeError
            When `x` is an array of another dtype.
        ValueError
            When its last dimension is not `dim`, or `length` exceeds `max_length`.
        """
        vectors = as_float32(x, "x")
        if vectors.ndim < 2 or vectors.shape[-1] != self.dim:
            raise ValueError(
                f"x must have shape (..., length, {self.dim}), got {vectors.shape}"
            )
        length = vectors.shape[-2]
        if length > self.max_length:
            raise ValueError(
                f"x has {length} positions and max_length is {self.max_length}: "
                f"cut it (x[..., :{self.max_length}, :]) or make the layer longer"
            )
        return vectors + self._table[:length]

"""Vectors that are mostly zero: which values there are, and where, row by row."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy import float32, float64, int64
from numpy.typing import NDArray

from .arrays import as_choice

Row = tuple[NDArray[int64], NDArray[float32]]
Wide = NDArray[float64]


class Function(NamedTuple):
    """One way to compare vectors a and b, in float64.

    Attributes
    ----------
    term : callable
        The values of a, and those of b in their columns -> what is added up.
    size : callable
        The values of a vector -> what is added up for it alone.
    finish : callable
        The sums of terms (n, m), and of sizes (n,) and (m,) -> how alike.
    """

    term: Callable[[NDArray[Any], Wide], Wide]
    size: Callable[[Wide], Wide]
    finish: Callable[[Wide, Wide, Wide], Wide]


def _cosines(dots: Wide, of_a: Wide, of_b: Wide) -> Wide:
    lengths = np.sqrt(np.outer(of_a, of_b))
    lengths[lengths == 0] = 1
    cosines: Wide = dots / lengths
    return cosines


# Of a distance, what b has where a has nothing is all of b but the columns of a. Zero minus
# a length, for -length would show a zero as -0.
FUNCTIONS = {
    "cosine": Function(np.multiply, np.square, _cosines),
    "dot": Function(np.multiply, np.square, lambda dots, of_a, of_b: dots),
    "euclidean": Function(
        lambda a, b: np.square(a - b) - np.square(b),
        np.square,
        lambda sums, of_a, of_b: 0 - np.sqrt(np.maximum(sums + of_b, 0)),
    ),
    "manhattan": Function(
        lambda a, b: np.abs(a - b) - np.abs(b),
        np.abs,
        lambda sums, of_a, of_b: 0 - np.maximum(sums + of_b, 0),
    ),
}


class SparseVectors:
    """Vectors in compressed rows (CSR): their values that are not zero, and where.

    :meth:`fastattn.SparseEncoder.encode` makes them.

    Attributes
    ----------
    indptr : array (n + 1,) int64
        Where the values of each vector start.
    indices : array (values,) int64
        The column of each value, ascending in each vector.
    values : array (values,) float32
        The values.
    shape : tuple of int
        (n, dim), or (dim,) for one vector.

    Examples
    --------
    >>> import numpy as np
    >>> from fastattn import SparseVectors
    >>> vectors = SparseVectors([0, 2, 3], [0, 2, 1], np.float32([1, 2, 3]), (2, 4))
    >>> vectors.toarray()
    array([[1., 0., 2., 0.],
           [0., 3., 0., 0.]], dtype=float32)
    """

    def __init__(
        self,
        indptr: Any,
        indices: Any,
        values: NDArray[float32],
        shape: tuple[int, ...],
    ) -> None:
        self.indptr = np.asarray(indptr, int64)
        self.indices = np.asarray(indices, int64)
        self.values = values
        self.shape = shape

    @classmethod
    def of_rows(cls, rows: Sequence[Row], dim: int, *, single: bool = False) -> Self:
        """Make vectors of the indices and values of each; with `single` of just one."""
        indptr = np.cumsum([0, *(len(indices) for indices, _ in rows)])
        indices = np.concatenate([np.empty(0, int64), *(row[0] for row in rows)])
        values = np.concatenate([np.empty(0, float32), *(row[1] for row in rows)])
        return cls(indptr, indices, values, (dim,) if single else (len(rows), dim))

    def __len__(self) -> int:
        """Count the vectors; of one, count its columns, as NumPy does."""
        return self.shape[0]

    def __iter__(self) -> Iterator[Row]:
        """Give the indices and values of each vector."""
        for start, stop in pairwise(self.indptr):
            yield self.indices[start:stop], self.values[start:stop]

    def __repr__(self) -> str:
        """Show the shape, and how many values there are."""
        return f"SparseVectors(shape={self.shape}, values={len(self.values)})"

    def toarray(self) -> NDArray[float32]:
        """Write the vectors out.

        Returns
        -------
        array (n, dim) or (dim,) float32
            With zeros where there is no value.
        """
        dense = np.zeros((len(self.indptr) - 1, self.shape[-1]), float32)
        rows = np.repeat(np.arange(len(dense)), np.diff(self.indptr))
        dense[rows, self.indices] = self.values
        return dense.reshape(self.shape)

    def to_scipy(self) -> Any:
        """Give a ``scipy.sparse.csr_array`` (n, dim), which shares the memory.

        Raises
        ------
        ImportError
            If scipy is not installed.
        """
        try:
            from scipy.sparse import csr_array
        except ImportError:
            raise ImportError("to_scipy needs the package scipy") from None
        shape = (len(self.indptr) - 1, self.shape[-1])
        return csr_array((self.values, self.indices, self.indptr), shape=shape)

    def dot(self, other: "SparseVectors") -> NDArray[float32]:
        """Multiply each vector with each of others.

        Parameters
        ----------
        other : SparseVectors (m, dim) or (dim,)
            The others.

        Returns
        -------
        array (n, m) float32
            ``self[i] . other[j]``, added up in float64.

        Raises
        ------
        TypeError
            If `other` is something else.
        ValueError
            If it has another number of columns.
        """
        return self.compare("dot", other)

    def compare(self, function: str, other: "SparseVectors") -> NDArray[float32]:
        """Compare each vector with each of others.

        Parameters
        ----------
        function : {"cosine", "dot", "euclidean", "manhattan"}
            Those of :meth:`fastattn.TextEncoder.similarity`.
        other : SparseVectors (m, dim) or (dim,)
            The others.

        Returns
        -------
        array (n, m) float32
            How alike ``self[i]`` and ``other[j]`` are, computed in float64.

        Raises
        ------
        TypeError
            If `other` is something else.
        ValueError
            If it has another number of columns, or there is no such function.
        """
        as_choice(function, "function", FUNCTIONS)
        if not isinstance(other, SparseVectors):
            raise TypeError(f"vectors must be SparseVectors, got {type(other).__name__}")
        if other.shape[-1] != self.shape[-1]:
            raise ValueError(
                f"vectors must have the same dim, got {self.shape} and {other.shape}"
            )
        term, size, finish = FUNCTIONS[function]
        sums = np.zeros((len(self.indptr) - 1, len(other.indptr) - 1))
        dense = np.zeros(self.shape[-1])
        for column, (indices, values) in enumerate(other):
            dense[indices] = values
            sums[:, column] = self._sums(term(self.values, dense[self.indices]))
            dense[indices] = 0
        sizes = (rows._sums(size(rows.values.astype(float64))) for rows in (self, other))
        with np.errstate(over="ignore"):
            return finish(sums, *sizes).astype(float32)

    def _sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """Add up what there is of each vector."""
        filled = np.flatnonzero(np.diff(self.indptr))
        sums = np.zeros(len(self.indptr) - 1)
        if len(filled):
            sums[filled] = np.add.reduceat(values, self.indptr[filled])
        return sums

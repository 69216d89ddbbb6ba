"""What scores learn of distances: biases (T5, MPNet), or vectors (DeBERTa)."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from .._distances import DistanceVectors
from .._packed import PANEL
from .._program import Program
from .layer import Layer, positive
from .linear import Linear
from .norm import LayerNorm
from .projection import project_queries_and_keys
from .recorder import recording

if TYPE_CHECKING:
    from .attention import MultiHeadAttention

__all__ = ["RelativeAttention", "RelativeBias", "RelativePositions", "buckets_of"]

Array = NDArray[np.float32]

# What is multiplied by a vector of distances: the query, or the key.
TERMS = ("c2p", "p2c")


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

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again."""
        return vars(self) | {"_made": None}

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


class RelativePositions(Layer):
    """A vector for how far a key is before or behind a query, of which layers make two.

    The attention layers of a model share one, and it belongs to the model: their state
    dicts do not have it.

    Parameters
    ----------
    hidden_size : int
        Size of a vector.
    rows : int array (2 * m + 1,)
        By distance, query minus key, from -m to m: the row of the weight, which stays or
        grows with the distance. No sequence may be longer than m + 1.
    num_rows : int
        Rows of the weight (num_rows, hidden_size).
    norm : LayerNorm, optional
        What the vectors go through.
    terms : collection of {"c2p", "p2c"}
        Which products come to a score: of the query with what a layer makes of the vector
        as it makes keys ("content to position"), of the key with what it makes of it as
        queries ("position to content").
    shared : bool, default True
        Whether layers make both by their projections to queries and keys. Otherwise they
        have projections for that alone.

    References
    ----------
    He, Liu, Gao and Chen, "DeBERTa: Decoding-enhanced BERT with Disentangled Attention"
    (2021), section 3.1.
    """

    def __init__(
        self,
        hidden_size: int,
        rows: NDArray[np.int64],
        num_rows: int,
        *,
        norm: LayerNorm | None = None,
        terms: tuple[str, ...] = TERMS,
        shared: bool = True,
    ) -> None:
        super().__init__()
        self.hidden_size = positive(hidden_size, "hidden_size")
        self.terms = terms
        self.shared = shared
        self._norm = norm
        # Rows that no distance has are left out, so that buckets are numbered one by one.
        self._rows, self.buckets = np.unique(rows, return_inverse=True)
        self._weights["weight"] = np.zeros((num_rows, hidden_size), np.float32)

    def _children(self) -> Mapping[str, Layer]:
        return {} if self._norm is None else {"norm.": self._norm}

    def vectors(self) -> Array:
        """Give the vector (buckets, hidden_size) of each bucket."""
        rows: Array = self._weights["weight"][self._rows]
        return rows if self._norm is None else self._norm(rows)


class RelativeAttention(Layer):
    """What an attention layer makes of the vectors of distances.

    Parameters
    ----------
    positions : RelativePositions
        The vectors.
    num_heads, head_dim : int
        The heads of the layer, of keys too.
    """

    def __init__(self, positions: RelativePositions, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.positions = positions
        self._heads = num_heads, head_dim
        self._projections: dict[str, Linear] = {}
        if not positions.shared:
            sizes = positions.hidden_size, num_heads * head_dim
            self._projections = {
                term: Linear(*sizes, init="zeros") for term in positions.terms
            }
        self._made: tuple[list[Any], DistanceVectors] | None = None

    @classmethod
    def of(
        cls,
        positions: RelativePositions | None,
        layer: "MultiHeadAttention",
    ) -> Self | None:
        """Prepare for a layer, by its sizes; None for nothing."""
        if positions is None:
            return None
        sizes = layer.hidden_size, layer.source_size
        heads = layer.num_heads, layer.num_kv_heads
        if set(sizes) != {positions.hidden_size} or heads[0] != heads[1]:
            raise ValueError(
                "relative needs a layer with as many heads of keys as of queries, whose "
                f"hidden_size and source_size are {positions.hidden_size} as those of its "
                f"vectors, got {heads[0]} and {heads[1]} heads and sizes {sizes}"
            )
        return cls(positions, layer.num_heads, layer.head_dim)

    def _children(self) -> Mapping[str, Layer]:
        names = {"c2p": "pos_key_proj.", "p2c": "pos_query_proj."}
        return {names[term]: layer for term, layer in self._projections.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again."""
        return vars(self) | {"_made": None}

    def tables(self, projections: Mapping[str, Any]) -> DistanceVectors:
        """Give what attention takes, by the projections of the layer.

        It is made once for the weights there are, and kept.
        """
        owners = [*self.positions._owners(), *self._owners()]
        weights = [*projections.values(), *(own._weights[name] for _, own, name in owners)]
        made = self._made
        if made is None or any(a is not b for a, b in zip(made[0], weights, strict=True)):
            with recording(None):
                made = weights, self._make(projections)
            self._made = made
        return made[1]

    def _make(self, projections: Mapping[str, Any]) -> DistanceVectors:
        """Make the tables: what is a key, and what is a query, of each distance."""
        positions, (heads, head_dim) = self.positions, self._heads
        vectors = positions.vectors()
        tables = {}
        if positions.shared:
            program = Program()
            width = 2 * heads * head_dim
            rows = project_queries_and_keys(program, projections, vectors, width)
            program.run()
            tables = dict(zip(("p2c", "c2p"), np.split(rows, 2, axis=1), strict=True))
        for term, projection in self._projections.items():
            tables[term] = projection(vectors)
        keys, queries = (
            _packed(tables[term], heads) if term in positions.terms else None
            for term in TERMS
        )
        return DistanceVectors(keys, queries, positions.buckets, heads, head_dim)


def _packed(table: Array, heads: int) -> Array:
    """Pack a table (buckets, heads * head_dim) for each head, in panels of buckets."""
    panels = -(-len(table) // PANEL)
    padded = np.zeros((panels * PANEL, table.shape[1]), np.float32)
    padded[: len(table)] = table
    by_head = padded.reshape(panels, PANEL, heads, -1).transpose(2, 0, 3, 1)
    return np.ascontiguousarray(by_head).ravel()

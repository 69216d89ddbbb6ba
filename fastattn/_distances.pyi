"""What queries and keys are to the distance between them, besides each other."""

from typing import Any, final

from numpy import float32, int64
from numpy.typing import NDArray

__pyx_capi__: dict[str, object]  # what attention uses

@final
class DistanceVectors:
    """Vectors of keys and of queries for distances, which are checked and kept.

    To the product of a query and a key come those of the query with a vector of `keys` and
    of the key with a vector of `queries`: that of the bucket of their distance. Tables are
    packed (num_heads, panels, head_dim, PANEL), the vectors of PANEL buckets side by side,
    and flat; None adds nothing. `buckets` are by distance, query minus key, from -m to m:
    0, and then what stays or grows by 1.
    """

    keys: NDArray[float32] | None
    queries: NDArray[float32] | None
    buckets: NDArray[int64]
    num_heads: int
    head_dim: int

    def __init__(
        self,
        keys: NDArray[float32] | None,
        queries: NDArray[float32] | None,
        buckets: NDArray[int64],
        num_heads: int,
        head_dim: int,
    ) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

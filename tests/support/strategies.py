"""Arrays and sizes at which kernels go wrong: tile edges, strides, odd values."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

# Around the multiples of every micro-tile (2, 6 and 14 rows, 16 and 32 columns) and of
# every block of rows (54, 56), queries and keys (64).
TILE_EDGES = [0, 1, 2, 3, 5, 13, 14, 15, 16, 17, 27, 28, 29, 31, 32, 33]
TILE_EDGES += [55, 56, 57, 63, 64, 65, 127, 128, 129]
# Around the sums that a product is cut into.
SUM_EDGES = [0, 1, 2, 17, 383, 384, 385, 767, 768, 769]

tile_edges = st.sampled_from(TILE_EDGES)
sum_edges = st.sampled_from(SUM_EDGES)
seeds = st.integers(0, 2**32 - 1)


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Draw float32 numbers of unit variance."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


VALUES = {
    "normal": lambda x: x,
    # Products of two and their sums stay finite.
    "large": lambda x: x * np.float32(1e15),
    "tiny": lambda x: x * np.float32(1e-15),
    "subnormal": lambda x: x * np.float32(1e-39),
    "far from zero": lambda x: x + np.float32(100),
    "equal rows": lambda x: np.broadcast_to(x[:1], x.shape).copy(),
    "equal columns": lambda x: np.broadcast_to(x[..., :1], x.shape).copy(),
    "zeros of both signs": lambda x: np.copysign(np.float32(0), x),
}


def _wider(x: NDArray[Any]) -> NDArray[Any]:
    """Rows inside longer ones, with NaN around them that nobody may read."""
    wide = np.full((*x.shape[:-1], x.shape[-1] + 7), np.nan, x.dtype)
    wide[..., 3:-4] = x
    return wide[..., 3:-4]


def _shifted(x: NDArray[Any]) -> NDArray[Any]:
    """One element behind a 64-byte boundary."""
    room = np.zeros(x.size + 32, x.dtype)
    start = -room.ctypes.data // room.itemsize % 16 + 1
    shifted = room[start : start + x.size].reshape(x.shape)
    shifted[...] = x
    return shifted


def _read_only(x: NDArray[Any]) -> NDArray[Any]:
    x = x.copy()
    x.setflags(write=False)
    return x


# Where the elements lie; the kernels read all of these in place.
LAYOUTS = {
    "contiguous": lambda x: x,
    "wider rows": _wider,
    "shifted": _shifted,
    "every other row": lambda x: np.repeat(x, 2, 0)[::2],
    "reversed rows": lambda x: x[::-1].copy()[::-1],
    "read-only": _read_only,
}

layouts = st.sampled_from(sorted(LAYOUTS))


@st.composite
def matrices(
    draw: st.DrawFn,
    shape: tuple[int, ...],
    values: tuple[str, ...] = tuple(VALUES),
) -> NDArray[np.float32]:
    """Draw a float32 array of this shape: values of some kind in some layout."""
    x = normal(*shape, seed=draw(seeds))
    x = VALUES[draw(st.sampled_from(values))](x)
    return LAYOUTS[draw(layouts)](x)


@contextmanager
def guarded(*shape: int) -> Iterator[NDArray[np.float32]]:
    """Lend an output inside a larger array that must not change around it."""
    sentinel = np.float32(1.25e30)
    room = np.full((*(size + 2 for size in shape[:-1]), shape[-1] + 9), sentinel)
    inside = (*(slice(1, -1) for _ in shape[:-1]), slice(4, -5))
    yield room[inside]
    around = room.copy()
    around[inside] = sentinel
    np.testing.assert_array_equal(around, sentinel)
    assert not (room[inside] == sentinel).any(), "elements were not written"

"""How close vectors are to others, as docs/accuracy.md tells of it."""

import numpy as np
import pytest
from support.strategies import normal

from fastattn.comparison import NEIGHBOURS, closeness


def test_equal_vectors_of_any_length_are_as_close_as_can_be():
    vectors = normal(30, 8)
    close = closeness(3 * vectors, vectors)
    assert close[:3] == pytest.approx([1, 1, 1])
    assert close.neighbours == 1


def test_cosines_are_those_of_each_pair():
    expected = np.tile(np.float32([1, 0]), (100, 1))
    vectors = expected.copy()
    vectors[7] = [0.6, 0.8]
    close = closeness(vectors, expected)
    assert close.mean == pytest.approx((99 + 0.6) / 100)
    assert close.worst == pytest.approx(0.6)
    assert 0.6 < close.percentile < 1


def test_neighbours_are_those_of_each_vector_but_itself():
    angles = np.arange(12) / 20
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    moved = circle.copy()
    moved[0] = -circle[0]  # nobody's neighbour any more, and its own are the others' ends
    assert closeness(circle, circle).neighbours == 1
    found = closeness(moved, circle).neighbours
    # Of eleven others each sees all but the furthest: at most one of ten is another.
    assert (NEIGHBOURS - 1) / NEIGHBOURS <= found < 1
    assert closeness(circle[:3], circle[:3]).neighbours == 1

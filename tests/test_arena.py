"""The memory of packed weights."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bits import assert_same_bits
from support.processes import printed
from support.strategies import normal, tile_edges

from fastattn import _packed, arena


def test_takes_lie_side_by_side_and_are_zero():
    arena.take(arena.ARENA_SIZE)  # all that there is: the next is a new arena
    sizes = [100, 0, 7, 3 * arena.ARENA_SIZE, 64, 1]
    taken = [arena.take(nbytes) for nbytes in sizes]
    for part, nbytes in zip(taken, sizes, strict=True):
        assert len(part) == nbytes
        assert not any(part[:200])
        part[:] = b"x" * nbytes
    assert taken[0].obj is taken[1].obj is taken[2].obj
    assert all(part == b"x" * len(part) for part in taken)


def test_refuses_what_nobody_has():
    for nbytes in (2**62, 2**70):
        with pytest.raises(MemoryError):
            arena.take(nbytes)
    assert len(arena.take(10)) == 10


@given(shapes=st.lists(st.tuples(tile_edges, st.integers(0, 40)), max_size=9))
def test_weights_keep_theirs_beside_others(shapes):
    weights = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    formats = itertools.cycle(_packed.FORMATS)
    wanted = list(zip(weights, formats, strict=False))
    alone = [_packed.PackedMatrix(w, format=f).unpack() for w, f in wanted]
    packed = [_packed.PackedMatrix(w, format=f) for w, f in wanted]
    for matrix, expected in zip(packed, alone, strict=True):
        assert_same_bits(matrix.unpack(), expected)


@pytest.mark.memory
@pytest.mark.parametrize("side", [500, 3000], ids=["shared", "an arena of its own"])
def test_memory_is_given_back(side):
    script = f"""
        import resource
        import numpy as np
        from fastattn import _packed

        weight = np.ones(({side}, {side}), np.float32)
        _packed.PackedMatrix(weight)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(100):
            packed = [_packed.PackedMatrix(weight)]
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(after - before < 80 * 2**10)
    """
    assert printed(script) == "True"

"""Equality to the bit, and what a result may not depend on."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastattn import _cpu

THREADS = (1, 2, 3, 8)

# The tables that promise each other's bits: the others multiply and add without fusing.
FMA_ISAS = [isa for isa in _cpu.available_isas() if isa not in ("sse2", "portable")]


def assert_same_bits(actual: NDArray[Any], expected: NDArray[Any]) -> None:
    """Hold two float32 arrays to equality, the sign of zero included.

    NaN equals NaN: its sign and payload are outside the promise.
    """
    assert actual.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(actual, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[number]), np.signbit(expected[number]))


@contextlib.contextmanager
def using_isa(isa: str) -> Iterator[None]:
    """Compute with the kernels of one instruction set inside of a with statement."""
    before = _cpu.get_isa()
    _cpu.set_isa(isa)
    try:
        yield
    finally:
        _cpu.set_isa(before)


def computed_on_fma_isas(compute: Callable[[], Any]) -> list[Any]:
    """Return what `compute` gives on every instruction set that has FMA."""
    results = []
    for isa in FMA_ISAS:
        with using_isa(isa):
            results.append(compute())
    return results


def assert_same_on_fma_isas(compute: Callable[[], NDArray[Any]]) -> None:
    """Hold `compute` to the same bits on every instruction set that has FMA."""
    results = computed_on_fma_isas(compute)
    for result in results[1:]:
        assert_same_bits(result, results[0])

"""The criterion that every numerical result is held to."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Compute = Callable[[type], NDArray[Any]]


def ulp(scale: float, bits: int = 23, lowest: int = -126) -> float:
    """Return the distance of neighbours at `scale` among numbers of so many fraction bits,
    whose smallest normal exponent is `lowest`: of float32 by default."""
    exponent = math.frexp(scale)[1] - 1 if scale else lowest
    return math.ldexp(1.0, max(exponent, lowest) - bits)


def assert_accurate(actual: NDArray[Any], compute: Compute) -> None:
    """Hold `actual` to the float64 result of `compute(dtype)`.

    Its largest error may be twice that of the same formula in float32, plus 4 ulp of the
    largest magnitude of the result. NaN and infinities must stand where they stand in
    float64.
    """
    with np.errstate(all="ignore"):
        exact, plain = compute(np.float64), compute(np.float32)
    assert actual.shape == exact.shape
    assert actual.dtype == np.float32
    special = ~np.isfinite(exact)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(exact))
    np.testing.assert_array_equal(actual[special], exact[special].astype(np.float32))
    if special.all():
        return
    actual, exact, plain = actual[~special], exact[~special], plain[~special]
    allowed = 2 * np.abs(plain - exact).max() + 4 * ulp(float(np.abs(exact).max()))
    error = np.abs(actual - exact).max()
    assert error <= allowed, f"error {error:.3g} where {allowed:.3g} is allowed"

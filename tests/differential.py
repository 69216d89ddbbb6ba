"""Attention with random keywords, shapes, layouts and dtypes, held to float64.

`python tests/differential.py --count 20000` tries that many calls and prints the worst;
with `--onnxruntime`, ONNX Runtime's Attention in float64 says what is right instead of our
own reference, for the keywords that it knows.

The criterion: the largest error of a result may be twice that of the same formula in
float32 NumPy, plus 4 ulp, in the dtype of the result, of the largest magnitude in it. Two
things make that a fair question:

- NumPy's error depends on the order of its sums, and its largest is often that of a single
  element, one of two large scores that are nearly equal: now it is rounded well, now 4
  times worse. So what counts is the largest error of ORDERS orders of summation, over the
  dimensions of a head and over the keys, none better than another: the formula as it
  stands, and where that does not allow the error, the others.
- lse = m + log(l), where m is the largest score of the row. The two may cancel, and lse
  inherits the rounding of m: m is one of the magnitudes that its ulp is taken of.

A row that sees no key must be 0 and its lse -infinity, and NaN and infinities must stand
where they stand in float64.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from support.attention_calls import Array, Call, draw
from support.criterion import ulp

from fastattn import reference

ORDERS = 16
# Fraction bits and smallest normal exponent.
PRECISION = {"float32": (23, -126), "float16": (10, -14), "bfloat16": (7, -126)}

Oracle = Callable[[Call], Array]


def formula(
    call: Call, dtype: type, dims: Any = slice(None), keys: Any = slice(None)
) -> tuple[Array, Array]:
    """Return out and lse in `dtype`, summed over dimensions and keys in their order."""
    scores = call.scores(dtype, dims)[..., keys]
    value = call.operands(dtype)[2][..., keys, :]
    # Operands whose scores are 0, and the scores as a mask that is added to them.
    q = np.zeros((*scores.shape[:-1], 1), dtype)
    k = np.zeros((*value.shape[:-1], 1), dtype)
    special = ~np.isfinite(value)
    out = reference.attention(q, k, np.where(special, 0, value).astype(dtype), scores)
    if special.any():
        # A value that is not seen is not there, where the formula multiplies it by 0.
        met = reference.attention(q, k, special, np.where(scores == -np.inf, scores, 0))
        out[met != 0] = np.nan
    return out, reference.attention_lse(q, k, scores)


def errors_of_float32(call: Call, exact: tuple[Array, Array], orders: int) -> list[float]:
    """Return the largest errors of out and lse in float32, over orders of summation."""
    rng = np.random.default_rng(0)
    dim, seqlen_k = call.key.shape[-1], call.key.shape[-2]
    errors = [0.0, 0.0]
    for i in range(orders):
        order = (rng.permutation(dim), rng.permutation(seqlen_k)) if i else ()
        for j, plain in enumerate(formula(call, np.float32, *order)):
            error = largest(plain - exact[j], np.isfinite(exact[j]))
            errors[j] = max(errors[j], error)
    return errors


def largest(x: Array, where: Array) -> float:
    return float(np.abs(x).max(where=where, initial=0))


def compare(actual: Array, exact: Array, allowed: float) -> tuple[float, str]:
    """Return the largest error as a part of what is allowed, and where it is not one."""
    if actual.shape != exact.shape:
        return math.inf, "the shape of "
    finite = np.isfinite(exact)
    special = exact[~finite]
    if not np.array_equal(actual[~finite], special, equal_nan=True):
        return math.inf, "a NaN or infinity that is missing in "
    if not np.isfinite(actual[finite]).all():
        return math.inf, "a NaN or infinity that is too much in "
    return largest(actual - np.where(finite, exact, 0), finite) / allowed, ""


def judge(call: Call, oracle: Oracle | None = None, orders: int = 1) -> tuple[float, str]:
    """Return the error of a call as a part of what is allowed, and what it is the error of.

    `oracle` says what the right output is; the reference by default.
    """
    out, lse = call.run()
    if out.dtype != call.query.dtype or lse.dtype != np.float32:
        return math.inf, "the dtype of a result"
    with np.errstate(all="ignore"):
        exact = formula(call, np.float64)
        plain = errors_of_float32(call, exact, orders)
        top = call.scores(np.float64).max(axis=-1, initial=-np.inf)
    scales = [largest(array, np.isfinite(array)) for array in exact]
    scales[1] = max(scales[1], largest(top, np.isfinite(top)))
    if oracle:
        exact = oracle(call), exact[1]
    worst = 0.0, ""
    for i, (name, result) in enumerate((("out", out), ("lse", lse))):
        allowed = 2 * plain[i] + 4 * ulp(scales[i], *PRECISION[result.dtype.name])
        result = result if call.query.ndim > 2 else result[None]
        ratio, what = compare(result.astype(np.float64), exact[i], allowed)
        worst = max(worst, (ratio, what + name))
    if worst[0] < math.inf and out[lse == -np.inf].any():
        return math.inf, "a row that sees no key, which is not 0,"
    if 1 < worst[0] < math.inf and orders < ORDERS:
        return judge(call, oracle, ORDERS)
    return worst


def main() -> int:
    """Try calls and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="calls to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="N", help="try the call of this number")
    parser.add_argument("--onnxruntime", action="store_true", help="as the oracle")
    options = parser.parse_args()
    drawn, oracle, switch = draw, None, ""
    if options.onnxruntime:
        from support import onnx_attention

        drawn, oracle = onnx_attention.draw, onnx_attention.attention
        switch = " --onnxruntime"
    numbers = range(options.count) if options.only is None else [options.only]
    worst, offenders, start = (0.0, "", ""), 0, time.perf_counter()
    for number in numbers:
        call = drawn(options.seed, number)
        ratio, what = judge(call, oracle)
        again = f"--seed {options.seed} --only {number}{switch}"
        worst = max(worst, (ratio, f"{what} of {call}", again))
        if ratio > 1 or options.only is not None:
            print(f"{ratio:.3f}  {again}\n    {what} of {call}", flush=True)
        offenders += ratio > 1
    print(
        f"{len(numbers)} calls in {time.perf_counter() - start:.0f} s, {offenders} beyond "
        f"what is allowed; the worst reaches {worst[0]:.3f} of it:\n    {worst[1]}\n"
        f"    python tests/differential.py {worst[2]}"
    )
    return int(offenders > 0)


if __name__ == "__main__":
    sys.exit(main())

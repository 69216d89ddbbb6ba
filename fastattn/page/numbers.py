"""What a page knows of a layer, in as few bytes as its digits need.

Numbers are whole: hundredths of queries, keys, values, products q . k, scores and
contexts, ten-thousandths of weights. A number that follows from others is stored as its
difference from what follows, mostly 0, which compresses to almost nothing; so each
number on the page is the one of the trace, rounded. numbers.js is the other half of this.
"""

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from ..tracing import Trace

__all__ = ["packed_layer"]

SCALE = 100
WEIGHT_SCALE = 10000
KINDS = ("int8", "int16", "int32")
# Hundredths of it fit into 32 bits, and so do those of scores times the root of any dim.
LARGEST = 1e5

Array = NDArray[np.float64]


def packed_layer(layer: Trace) -> dict[str, dict[str, str]]:
    """Pack the queries, keys, values, scores, weights and contexts of a layer."""
    traced = {name: value.astype(np.float64) for name, value in layer.items()}
    hidden = traced["scores"] == -np.inf
    traced["scores"][hidden] = 0
    if not all((np.abs(value) < LARGEST).all() for value in traced.values()):
        raise ValueError(f"the model computes numbers that are not below {LARGEST:.0e}")
    # Nothing that is shown is so low, and the weight of it is 0.
    traced["scores"][hidden] = -LARGEST
    heads, _, dim = traced["queries"].shape
    for name in ("keys", "values"):
        # Heads of queries may share them.
        shared = heads // len(traced[name])
        traced[name] = np.repeat(traced[name], shared, axis=0)
    queries, keys, values = (
        np.rint(SCALE * traced[name]) for name in ("queries", "keys", "values")
    )
    products = np.rint(SCALE * (traced["queries"] @ traced["keys"].swapaxes(1, 2)))
    scores = np.rint(SCALE * traced["scores"])
    weights = np.rint(WEIGHT_SCALE * traced["weights"])
    contexts = np.rint(SCALE * traced["context"])
    powers = np.exp((scores - scores.max(axis=-1, keepdims=True)) / SCALE)
    shares = WEIGHT_SCALE * powers / powers.sum(axis=-1, keepdims=True)
    numbers = {
        "queries": queries,
        "keys": keys,
        "values": values,
        "products": products - _rounded(queries @ keys.swapaxes(1, 2) / SCALE),
        "scores": scores - _rounded(products / np.sqrt(dim)),
        "weights": weights - _rounded(shares),
        "contexts": contexts - _rounded(weights @ values / WEIGHT_SCALE),
    }
    return {name: _packed(number) for name, number in numbers.items()}


def _rounded(x: Array) -> Array:
    """Round as JavaScript does it in numbers.js."""
    return np.floor(x + 0.5)


def _packed(numbers: Array) -> dict[str, str]:
    """Compress whole numbers."""
    largest = np.abs(numbers).max(initial=0)
    kind = next(kind for kind in KINDS if largest <= np.iinfo(kind).max)
    compressed = zlib.compress(numbers.astype(f"<{np.dtype(kind).str[1:]}").tobytes())
    return {"kind": kind, "base64": base64.b64encode(compressed).decode()}

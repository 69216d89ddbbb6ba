"""What may stand in for an argument of a right call."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from support.calls import CALLS, Array
from support.strategies import LAYOUTS, seeds


def misaligned(x: Array) -> Array:
    """Put the elements one byte behind where they should be."""
    room = np.zeros(x.nbytes + 1, np.uint8)
    moved = room[1:].view(x.dtype).reshape(x.shape)
    moved[...] = x
    return moved


def with_payloads(x: Array) -> Array:
    """Put NaN of both signs, signalling ones and others, into some places."""
    if x.dtype != np.float32 or not x.size:
        return x
    x = x.copy()
    payloads = np.array([0x7F800001, 0xFFC12345, 0x7FFFFFFF], np.uint32)
    x.reshape(-1).view(np.uint32)[: x.size // 7] = np.resize(payloads, x.size // 7)
    return x


# The same values, or some of them, lying in other ways.
FORMS = {
    **LAYOUTS,
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1],
    "transposed": lambda x: x.T.copy().T,
    "zero strides": lambda x: np.broadcast_to(x[..., :1], x.shape),
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "misaligned": misaligned,
    "matrix": lambda x: x.view(np.matrix) if x.ndim == 2 else x,
    "record array": lambda x: x.view(np.recarray),
    "list": lambda x: x.tolist(),
    "NaN payloads": with_payloads,
    "overlapping": lambda x: np.lib.stride_tricks.as_strided(
        x, x.shape, [stride // 2 // x.itemsize * x.itemsize for stride in x.strides]
    ),
}

# Shapes and dtypes that do not fit, or only just.
CHANGES = {
    "float64": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "long double": lambda x: x.astype(np.longdouble),
    "complex": lambda x: x.astype(np.complex64),
    "int8": lambda x: x.astype(np.int8),
    "uint64": lambda x: x.astype(np.int64).astype(np.uint64),
    "bool": lambda x: x > 0,
    "object": lambda x: x.astype(object),
    "text": lambda x: x.astype(str),
    "structured": lambda x: x.astype([("a", x.dtype)]),
    "dates": lambda x: x.astype(np.int64).view("M8[s]"),
    "masked": lambda x: np.ma.array(x, mask=np.zeros(x.shape, bool)),
    "one dimension more": lambda x: x[None],
    "one dimension less": lambda x: x[0],
    "one element": lambda x: x.reshape(-1)[:1],
    "shorter": lambda x: x[..., :-1],
    "shorter at first": lambda x: x[:-1],
    "empty": lambda x: x[..., :0],
    "many": lambda x: np.broadcast_to(x[..., :1], (*x.shape[:-1], 2**40)),
    "many of them": lambda x: np.broadcast_to(x[None], (2**40, *x.shape)),
    "far too many": lambda x: np.broadcast_to(x.reshape(-1)[0], (2**58,)),
    "many of nothing": lambda x: np.broadcast_to(x[..., :0], (2**40, *x.shape[:-1], 0)),
    "beyond the range": lambda x: x * 100,
    "below the range": lambda x: 0 - x,
    "decreasing": lambda x: x[::-1],
}

NUMBERS = [True, -1, 0, 1, 3, 2**31, 2**63, 2**70, 10**400, -(2**70), 0.5, -0.0]
NUMBERS += [float("nan"), float("inf"), 1e-320, 1e300, 1j, np.float64(2), np.int8(-1)]
OTHERS = [None, "", "gelu", b"x", [], [[]], [[1, 2], [3]], {}, set(), object(), print]
OTHERS += [(1,), (1, 2, 3), (0, 2**70), ("a", 1), np.array(None), np.array("x"), range(3)]


class Hostile(NamedTuple):
    """A call with some of its arguments replaced."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    replaced: dict[str, str]

    def __repr__(self) -> str:
        return f"{self.function} with {self.replaced}"


@st.composite
def hostile_calls(draw: st.DrawFn, name: str) -> Hostile:
    """Draw a call in which one to three arguments are not what they should be."""
    function, right = CALLS[name]
    arguments = right(np.random.default_rng(draw(seeds)))
    names = sorted(arguments)
    replaced = {}
    for name in draw(st.sets(st.sampled_from(names), min_size=1, max_size=3)):
        old, array = arguments[name], isinstance(arguments[name], np.ndarray)
        changes = FORMS | (CHANGES if draw(st.booleans()) else {})
        if array and draw(st.integers(0, 5)):
            how = draw(st.sampled_from(sorted(changes)))
            with np.errstate(all="ignore"):
                arguments[name] = changes[how](old)
        elif name == "out" and draw(st.booleans()):
            how = "the memory of " + draw(st.sampled_from(names))
            arguments["out"] = arguments[how.rpartition(" ")[2]]
        else:
            arguments[name] = draw(st.sampled_from(NUMBERS + OTHERS))
            how = f"{arguments[name]!r:.40}"
        replaced[name] = how
    return Hostile(function, arguments, replaced)

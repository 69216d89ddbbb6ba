"""Calls of every public function on arrays, and what may stand in for an argument."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from folders import TINY
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray
from strategies import LAYOUTS, seeds

import fastattn as fa

MODEL = fa.load(TINY)
Array = NDArray[Any]


def normal(rng: Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, np.float32)


def few(rng: Generator, most: int = 4) -> int:
    return int(rng.integers(1, most + 1))


def starts(rng: Generator, tokens: int) -> Array:
    return np.array([0, *np.sort(rng.integers(0, tokens + 1, 2)), tokens])


def of_attention(rng: Generator) -> dict[str, Any]:
    batch, kv_heads, dim = few(rng), few(rng, 2), few(rng, 40)
    heads, queries, keys = kv_heads * few(rng, 2), few(rng, 80), few(rng, 80)
    return {
        "query": normal(rng, batch, heads, queries, dim),
        "key": normal(rng, batch, kv_heads, keys, dim),
        "value": normal(rng, batch, kv_heads, keys, 5),
        "mask": rng.random((batch, 1, queries, keys)) < 0.8,
        "causal": bool(rng.integers(2)),
        "query_offset": rng.integers(-3, 9, batch),
        "window": (int(rng.integers(-1, 50)), None),
        "scale": 0.3,
        "softcap": 20.0,
        "alibi_slopes": rng.random(heads, np.float32),
        "distance_bias": normal(rng, heads, 7),
        "key_lengths": rng.integers(0, keys + 1, batch),
        "return_lse": bool(rng.integers(2)),
        "num_threads": few(rng, 3),
        "out": np.zeros((batch, heads, queries, 5), np.float32),
    }


def of_varlen(rng: Generator) -> dict[str, Any]:
    arguments = of_attention(rng)
    heads, queries, dim = arguments["query"].shape[1:]
    kv_heads, keys = arguments["key"].shape[1:3]
    del arguments["mask"], arguments["key_lengths"]
    return arguments | {
        "query": normal(rng, queries, heads, dim),
        "key": normal(rng, keys, kv_heads, dim),
        "value": normal(rng, keys, kv_heads, 5),
        "cu_seqlens_q": starts(rng, queries),
        "cu_seqlens_k": starts(rng, keys),
        "query_offset": rng.integers(-3, 9, 3),
        "out": np.zeros((queries, heads, 5), np.float32),
    }


def of_weights(rng: Generator) -> dict[str, Any]:
    arguments = of_attention(rng)
    del arguments["value"], arguments["return_lse"]
    shape = (*arguments["query"].shape[:-1], arguments["key"].shape[-2])
    return arguments | {"out": np.zeros(shape, np.float32)}


def of_linear(rng: Generator) -> dict[str, Any]:
    rows, k, n = few(rng, 40), few(rng, 40), few(rng, 40)
    return {
        "x": normal(rng, rows, k),
        "weight": normal(rng, n, k),
        "bias": normal(rng, n),
        "activation": "gelu",
        "out": np.zeros((rows, n), np.float32),
    }


def of_matmul(rng: Generator) -> dict[str, Any]:
    batch, m, k, n = few(rng), few(rng, 40), few(rng, 40), few(rng, 40)
    out = np.zeros((batch, m, n), np.float32)
    return {"a": normal(rng, batch, m, k), "b": normal(rng, k, n), "out": out}


def of_rows(rng: Generator, **more: Any) -> dict[str, Any]:
    x = normal(rng, few(rng), few(rng, 20), few(rng, 40))
    return {"x": x, "out": np.zeros_like(x), **more}


def of_norm(rng: Generator) -> dict[str, Any]:
    arguments = of_rows(rng, eps=1e-3)
    return arguments | {"weight": normal(rng, arguments["x"].shape[-1])}


def of_layer_norm(rng: Generator) -> dict[str, Any]:
    arguments = of_norm(rng)
    return arguments | {"bias": normal(rng, arguments["x"].shape[-1])}


def of_rotary(rng: Generator) -> dict[str, Any]:
    length, half = few(rng, 40), few(rng, 20)
    cos, sin = normal(rng, 2, length, half)
    x = normal(rng, few(rng), length, 2 * half)
    return {"x": x, "cos": cos, "sin": sin, "interleaved": bool(rng.integers(2))}


def of_ids(rng: Generator) -> dict[str, Any]:
    shape = few(rng), few(rng, 64)
    return {
        "input_ids": rng.integers(0, MODEL.config.vocab_size, shape),
        "attention_mask": rng.random(shape) < 0.8,
        "token_type_ids": rng.integers(0, 2, shape),
    }


# By name: a public function and the arguments of a call that is right.
CALLS: dict[str, tuple[Callable[..., Any], Callable[[Generator], dict[str, Any]]]] = {
    "attention": (fa.attention, of_attention),
    "attention_varlen": (fa.attention_varlen, of_varlen),
    "attention_weights": (fa.attention_weights, of_weights),
    "linear": (fa.linear, of_linear),
    "matmul": (fa.matmul, of_matmul),
    "softmax": (fa.softmax, lambda rng: of_rows(rng, axis=few(rng, 3) - 1)),
    "gelu": (fa.gelu, lambda rng: of_rows(rng, approximate="tanh")),
    "layer_norm": (fa.layer_norm, of_layer_norm),
    "rms_norm": (fa.rms_norm, of_norm),
    "apply_rotary": (fa.apply_rotary, of_rotary),
    "rotary_positions": (
        fa.rotary_positions,
        lambda rng: {"length": few(rng, 9), "dim": 8, "base": 100.0, "offset": few(rng)},
    ),
    "sinusoidal_positions": (
        fa.sinusoidal_positions,
        lambda rng: {"length": few(rng, 9), "dim": few(rng, 9), "base": 100.0},
    ),
    "encoder": (MODEL.encoder, of_ids),
}


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

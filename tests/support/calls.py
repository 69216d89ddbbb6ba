"""Calls of every public function and layer, as they should be."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

import fastattn as fa
from fastattn import nn
from support.folders import TINY

MODEL = fa.load(TINY)
HIDDEN, SOURCE = 24, 10
# One for each way into a layer: vectors, sequences, a source, a cache.
FEED_FORWARD = nn.FeedForward(HIDDEN, 40, "gelu", gated=True, rng=0)
EMBEDDING = nn.Embedding(100, 8, rng=0)
ENCODER = nn.Encoder(HIDDEN, 3, 40, 2, norm="rms", rotary=100.0, rng=0)
SELF_ATTENTION = nn.MultiHeadAttention(HIDDEN, 4, num_kv_heads=2, alibi=True, rng=0)
CROSS_ATTENTION = nn.MultiHeadAttention(HIDDEN, 3, source_size=SOURCE, rng=0)
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
        "input_ids": rng.integers(0, MODEL.model.vocab_size, shape),
        "attention_mask": rng.random(shape) < 0.8,
        "token_type_ids": rng.integers(0, 2, shape),
    }


def of_vectors(rng: Generator) -> dict[str, Any]:
    return {"x": normal(rng, few(rng), few(rng, 20), HIDDEN)}


def padded(rng: Generator, batch: int, length: int) -> dict[str, Any]:
    if rng.integers(2):
        return {"padding_mask": rng.random((batch, length)) < 0.8}
    return {"lengths": rng.integers(0, length + 1, batch)}


def of_indices(rng: Generator) -> dict[str, Any]:
    shape = few(rng), few(rng, 20)
    return {"ids": rng.integers(0, EMBEDDING.num_embeddings, shape)}


def of_sequences(rng: Generator) -> dict[str, Any]:
    arguments = of_vectors(rng)
    batch, length = arguments["x"].shape[:2]
    return {
        **arguments,
        **padded(rng, batch, length),
        "mask": rng.random((batch, 1, length, length)) < 0.8,
        "causal": bool(rng.integers(2)),
    }


def of_self_attention(rng: Generator) -> dict[str, Any]:
    weights = bool(rng.integers(2))
    return {**of_sequences(rng), "source": None, "cache": None, "return_weights": weights}


def of_cross_attention(rng: Generator) -> dict[str, Any]:
    arguments = of_vectors(rng)
    (batch, queries), keys = arguments["x"].shape[:2], few(rng, 20)
    return {
        **arguments,
        **padded(rng, batch, keys),
        "source": normal(rng, batch, keys, SOURCE),
        "mask": normal(rng, batch, 3, queries, keys),
        "causal": bool(rng.integers(2)),
    }


def of_cache(rng: Generator) -> dict[str, Any]:
    arguments = of_vectors(rng)
    past = normal(rng, len(arguments["x"]), few(rng, 20), HIDDEN)
    return {**arguments, "past": past, "causal": bool(rng.integers(2))}


def continued(past: Array, x: Array, causal: bool) -> Array:
    """Attend from x to what is in a cache and to x."""
    cache = nn.KeyValueCache()
    SELF_ATTENTION(past, causal=causal, cache=cache)
    result: Array = SELF_ATTENTION(x, causal=causal, cache=cache)
    return result


# By name: a public function or a layer, and the arguments of a call that is right.
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
    "alibi_slopes": (fa.alibi_slopes, lambda rng: {"num_heads": few(rng, 40)}),
    "similarity": (
        MODEL.similarity,
        lambda rng: {"a": normal(rng, few(rng), 9), "b": normal(rng, few(rng), 9)},
    ),
    "EncoderModel": (MODEL.model, of_ids),
    "Linear": (nn.Linear(HIDDEN, 10, rng=0), of_vectors),
    "LayerNorm": (nn.LayerNorm(HIDDEN), of_vectors),
    "RMSNorm": (nn.RMSNorm(HIDDEN), of_vectors),
    "FeedForward": (FEED_FORWARD, of_vectors),
    "PositionalEncoding": (nn.PositionalEncoding(HIDDEN, 20), of_vectors),
    "Embedding": (EMBEDDING, of_indices),
    "Encoder": (ENCODER, of_sequences),
    "MultiHeadAttention": (SELF_ATTENTION, of_self_attention),
    "MultiHeadAttention, source": (CROSS_ATTENTION, of_cross_attention),
    "MultiHeadAttention, cache": (continued, of_cache),
}

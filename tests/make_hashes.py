"""Write tests/data/hashes.json: the bits that kernels, layers and MiniLM promise to keep.

    python tests/make_hashes.py

Inputs and weights come from an integer formula, so nothing but fastattn decides the bits.
They may change between releases, as a line of CHANGELOG.md.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

import fastattn as fa
from fastattn import nn
from fastattn._rowwise import ACTIVATIONS

HASHES = Path(__file__).parent / "data" / "hashes.json"


def numbers(*shape, seed=1):
    """Give multiples of 2^-15 from -1 to 1, by integer arithmetic alone."""
    n = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) + np.uint64(seed << 32)
    n = n * np.uint64(0x9E3779B97F4A7C15)
    n = (n ^ (n >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (n >> np.uint64(48)).astype(np.int64) - 2**15
    return (x.astype(np.float32) * np.float32(2**-15)).reshape(shape)


def weighted(layer):
    """Give a layer weights by the formula."""
    state = layer.state_dict()
    layer.load_state_dict(
        {
            name: numbers(*weight.shape, seed=i) * np.float32(0.25)
            for i, (name, weight) in enumerate(state.items())
        }
    )
    return layer


def attention_cases():
    q, k, v = (numbers(2, 4, n, 40, seed=n) for n in (70, 600, 601))
    v = v[:, :, :600]
    seen = numbers(70, 600) > -0.5
    keywords = {
        "plain": {},
        "causal": {"causal": True, "query_offset": 500},
        "window": {"window": (100, 3), "query_offset": [0, 530]},
        "bool mask": {"mask": seen},
        "float mask": {"mask": numbers(70, 600)},
        "key_lengths": {"key_lengths": [513, 64]},
        "softcap": {"softcap": 5.0, "scale": 1.0},
        "alibi": {"alibi_slopes": fa.alibi_slopes(4)},
        "distance_bias": {"distance_bias": numbers(4, 65)},
    }
    for name, options in keywords.items():
        out, lse = fa.attention(q, k, v, return_lse=True, **options)
        yield f"attention, {name}", np.append(out, lse)
    half = fa.attention(*(x.astype(np.float16) for x in (q, k, v)))
    yield "attention, float16", half.astype(np.float32)
    yield "attention, one query", fa.attention(q[:, :, :1], k[:, :2], v[:, :2])
    packed = (numbers(90, 4, 40, seed=i) for i in range(3))
    yield "attention_varlen", fa.attention_varlen(*packed, [0, 1, 65, 65, 90])


def kernel_cases():
    x, weight, bias = numbers(33, 400), numbers(50, 400, seed=2), numbers(50, seed=3)
    yield "matmul", fa.matmul(x, weight.T)
    for activation in (None, *ACTIVATIONS):
        yield f"linear, {activation}", fa.linear(x, weight, bias, activation=activation)
    yield "softmax", fa.softmax(x * np.float32(9))
    yield "layer_norm", fa.layer_norm(x, weight[0], weight[1])
    yield "rms_norm", fa.rms_norm(x, weight[0])
    yield "gelu", fa.gelu(x * np.float32(9))
    yield "gelu, tanh", fa.gelu(x * np.float32(9), approximate="tanh")
    yield "sinusoidal_positions", fa.sinusoidal_positions(100, 65)
    cos, sin = fa.rotary_positions(33, 100, offset=1000)
    yield "rotary_positions", np.append(cos, sin)
    yield "apply_rotary", fa.apply_rotary(x, cos, sin)
    yield "alibi_slopes", fa.alibi_slopes(12)


def layer_cases():
    x, lengths = numbers(3, 40, 48), [40, 7, 19]
    layers = {
        "post-norm": nn.Encoder(48, 3, 80, 2, activation="gelu"),
        "pre-norm": nn.Encoder(48, 3, 80, 2, norm_first=True, final_norm=True),
        "rotary, grouped": nn.MultiHeadAttention(48, 3, num_kv_heads=1, rotary=1e4),
        "positions": nn.PositionalEncoding(48, 40),
    }
    for name, layer in layers.items():
        options = {} if name == "positions" else {"lengths": lengths}
        yield f"layer, {name}", weighted(layer)(x, **options)
    for precision in ("int8", "int16", "bfloat16"):
        layer = weighted(nn.Encoder(48, 3, 770, 2, activation="gelu"))
        layer.compute_in(precision)
        yield f"layer, {precision}", layer(x, lengths=lengths)


def minilm_cases():
    ids = (1000 + np.arange(3 * 130) * 7919 % 20000).reshape(3, 130)
    mask = np.arange(130) < np.array([130, 64, 1])[:, None]
    model = fa.load("all-MiniLM-L6-v2")
    yield "MiniLM, hidden states", model.model(ids, mask)


def hashes():
    """Compute every case with the present instruction set and threads."""
    return {
        name: hashlib.sha256(np.ascontiguousarray(result, "<f4").tobytes()).hexdigest()[:32]
        for cases in (kernel_cases, attention_cases, layer_cases, minilm_cases)
        for name, result in cases()
    }


if __name__ == "__main__":
    HASHES.write_text(json.dumps(hashes(), indent=1) + "\n")

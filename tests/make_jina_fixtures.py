"""Make the fixtures of JinaBERT, which transformers does not have.

What is expected was computed by the forward pass below, in NumPy, written from the
description of the model and not by its own code: the paper (Günther et al. 2023,
"Jina Embeddings 2", section 3; Press, Smith and Lewis 2022 for the slopes) and the order of
operations that its folders are served with. Run as

    python tests/make_jina_fixtures.py

It writes what make_family_fixtures.py writes, with NumPy's float32 in place of torch's.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent / "data" / "families"
LENGTHS = (1, 4, 25, 13, 2)

CONFIG = {
    "architectures": ["JinaBertModel"],
    "model_type": "bert",
    "position_embedding_type": "alibi",
    "feed_forward_type": "geglu",
    "hidden_act": "gelu",
    "hidden_size": 24,
    "intermediate_size": 34,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 25,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 67,
}
E, F, HEADS, V = 24, 34, 3, 67

Array = NDArray[Any]


def shapes(qk_norm: bool) -> dict[str, tuple[int, ...]]:
    """Give names and shapes of the weights."""
    names: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (V, E),
        "embeddings.token_type_embeddings.weight": (2, E),
        **norm("embeddings.LayerNorm"),
        "pooler.dense.weight": (E, E),
        "pooler.dense.bias": (E,),
    }
    for i in range(CONFIG["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            names |= {
                f"{layer}attention.{part}.weight": (E, E),
                f"{layer}attention.{part}.bias": (E,),
            }
        names |= norm(f"{layer}attention.output.LayerNorm")
        gate, down = ("gated_layers", "wo")
        if qk_norm:
            gate, down = ("up_gated_layer", "down_layer")
            for part in ("attention.self.layer_norm_q", "attention.self.layer_norm_k"):
                names |= norm(layer + part)
            names |= norm(f"{layer}layer_norm_1") | norm(f"{layer}layer_norm_2")
        else:
            names |= norm(f"{layer}mlp.layernorm")
        names |= {
            f"{layer}mlp.{gate}.weight": (2 * F, E),
            f"{layer}mlp.{down}.weight": (E, F),
            f"{layer}mlp.{down}.bias": (E,),
        }
    return names


def norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (E,), f"{name}.bias": (E,)}


class Model:
    """The forward pass of one sequence, in one dtype."""

    def __init__(self, weights: dict[str, Array], qk_norm: bool, dtype: DTypeLike) -> None:
        self.weights = {name: array.astype(dtype) for name, array in weights.items()}
        self.qk_norm = qk_norm
        self.dtype = np.dtype(dtype)

    def __call__(self, ids: Array, types: Array) -> Array:
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.token_type_embeddings.weight"][types]
        x = self.normalize("embeddings.LayerNorm", x)
        for i in range(CONFIG["num_hidden_layers"]):
            x = self.layer(f"encoder.layer.{i}.", x)
        return x

    def layer(self, name: str, x: Array) -> Array:
        attended = self.dense(f"{name}attention.output.dense", self.attention(name, x))
        h = self.normalize(f"{name}attention.output.LayerNorm", attended + x)
        if not self.qk_norm:
            both = h @ self.weights[f"{name}mlp.gated_layers.weight"].T
            gated = gelu(both[:, :F]) * both[:, F:]
            return self.normalize(
                f"{name}mlp.layernorm", self.dense(f"{name}mlp.wo", gated) + h
            )
        h = self.normalize(f"{name}layer_norm_1", h + x)
        both = h @ self.weights[f"{name}mlp.up_gated_layer.weight"].T
        gated = both[:, :F] * gelu(both[:, F:])
        return self.normalize(
            f"{name}layer_norm_2", self.dense(f"{name}mlp.down_layer", gated) + h
        )

    def attention(self, name: str, x: Array) -> Array:
        q, k, v = (
            self.dense(f"{name}attention.self.{part}", x)
            for part in ("query", "key", "value")
        )
        if self.qk_norm:
            q = self.normalize(f"{name}attention.self.layer_norm_q", q)
            k = self.normalize(f"{name}attention.self.layer_norm_k", k)
        q, k, v = (part.reshape(len(x), HEADS, -1).swapaxes(0, 1) for part in (q, k, v))
        distance = np.abs(np.arange(len(x))[:, None] - np.arange(len(x)))
        bias = slopes(HEADS)[:, None, None].astype(self.dtype) * distance
        scores = q @ k.swapaxes(1, 2) / self.dtype.type(math.sqrt(E // HEADS))
        scores = scores - bias.astype(self.dtype)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ v).swapaxes(0, 1).reshape(x.shape)

    def dense(self, name: str, x: Array) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normalize(self, name: str, x: Array) -> Array:
        y = x - x.mean(axis=-1, keepdims=True)
        variance = (y * y).mean(axis=-1, keepdims=True)
        y = y / np.sqrt(variance + self.dtype.type(CONFIG["layer_norm_eps"]))
        return y * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def gelu(x: Array) -> Array:
    erf = np.vectorize(math.erf)(x / math.sqrt(2))
    return x * x.dtype.type(0.5) * (1 + erf).astype(x.dtype)


def slopes(heads: int) -> Array:
    """Give the slopes of ALiBi: for a power of 2, 2 ** (-8 i / heads) from i = 1 on.

    Otherwise those of the next lower power, and every other one of the next higher.
    """
    power = 2 ** int(math.log2(heads))
    own = [2.0 ** (-8 * i / power) for i in range(1, power + 1)]
    more = [2.0 ** (-8 * i / (2 * power)) for i in range(1, 2 * power + 1)]
    return np.array(own + more[0::2][: heads - power])


def make(name: str, qk_norm: bool) -> None:
    """Write the folder and the file of one form."""
    rng = np.random.default_rng(21)
    weights = {}
    for key, shape in shapes(qk_norm).items():
        center = 1.0 if len(shape) == 1 and key.endswith("weight") else 0.0
        spread = 0.3 if len(shape) == 1 else 1.4 * shape[-1] ** -0.5
        weights[key] = np.float32(center + spread * rng.standard_normal(shape))
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    save_file(weights, folder / "model.safetensors")
    mask = (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.int64)
    inputs = {
        "input_ids": rng.integers(0, V, mask.shape) * mask,
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, 2, mask.shape) * mask,
    }
    expected = {}
    for dtype in ("float32", "float64"):
        model = Model(weights, qk_norm, dtype)
        states = np.zeros((*mask.shape, E), dtype)
        for row, length in enumerate(LENGTHS):
            ids, types = inputs["input_ids"], inputs["token_type_ids"]
            states[row, :length] = model(ids[row, :length], types[row, :length])
        expected[dtype] = states
    np.savez_compressed(FOLDER / f"{name}.npz", **inputs, **expected)
    error = np.abs(expected["float32"] - expected["float64"]).max()
    print(f"{name}: NumPy's float32 is {error:.2g} off")


if __name__ == "__main__":
    make("jina_bert", qk_norm=False)
    make("jina_bert_normed", qk_norm=True)

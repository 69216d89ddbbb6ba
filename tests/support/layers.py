"""Layers for the tests, and what they must compute: the formulas, for any dtype."""

import numpy as np

from fastattn import nn, reference
from support.criterion import assert_accurate

HIDDEN, HEADS, INTERMEDIATE = 48, 3, 80
BATCH, LENGTH = 4, 19
LENGTHS = np.array([19, 7, 0, 12])
RIGHT = np.arange(LENGTH) < LENGTHS[:, None]
GAPS = np.random.default_rng(5).random((BATCH, LENGTH)) < 0.6
ACTIVATIONS = {
    "relu": reference.relu,
    "gelu": reference.gelu,
    "gelu_tanh": reference.gelu_tanh,
    "silu": reference.silu,
}


def randomized(layer, seed=0):
    """Give every weight of a layer, norms and biases too, values of its own."""
    rng = np.random.default_rng(seed)
    layer.load_state_dict(
        {
            key: weight + 0.1 * rng.standard_normal(weight.shape)
            for key, weight in layer.state_dict().items()
        }
    )
    return layer


def batch(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


X = batch(BATCH, LENGTH, HIDDEN)
SEQUENCE_LAYERS = {
    "post-norm": lambda: nn.Encoder(HIDDEN, HEADS, INTERMEDIATE, 2, rng=0),
    "pre-norm": lambda: nn.Encoder(
        HIDDEN, HEADS, 160, 2, norm_first=True, final_norm=True, rng=0
    ),
    "layer": lambda: nn.EncoderLayer(HIDDEN, HEADS, INTERMEDIATE, rng=0),
    "attention": lambda: nn.MultiHeadAttention(HIDDEN, HEADS, rng=0),
    "rotary": lambda: nn.MultiHeadAttention(HIDDEN, HEADS, rotary=100.0, rng=0),
    "alibi": lambda: nn.MultiHeadAttention(HIDDEN, HEADS, alibi=True, rng=0),
    "swiglu, rms, rotary": lambda: nn.Encoder(
        HIDDEN,
        HEADS,
        INTERMEDIATE,
        2,
        activation="silu",
        gated=True,
        norm="rms",
        norm_first=True,
        final_norm=True,
        rotary=100.0,
        rotary_dim=10,
        bias=False,
        rng=0,
    ),
    "geglu, alibi": lambda: nn.Encoder(
        HIDDEN,
        HEADS,
        INTERMEDIATE,
        2,
        activation="gelu",
        gated=True,
        norm="rms",
        alibi=[0.5, 0.1, 0.0],
        rng=0,
    ),
    "multi-query": lambda: nn.MultiHeadAttention(HIDDEN, HEADS, num_kv_heads=1, rng=0),
}


class Weights:
    """The weights of a layer in one dtype, by their names, below a prefix."""

    def __init__(self, state, dtype, prefix=""):
        self.state, self.dtype, self.prefix = state, dtype, prefix

    def below(self, prefix):
        return Weights(self.state, self.dtype, f"{self.prefix}{prefix}.")

    def __getitem__(self, name):
        weight = self.state.get(self.prefix + name)
        return None if weight is None else weight.astype(self.dtype)


def linear(w, x):
    return reference.linear(x, w["weight"], w["bias"])


def norm(w, x, layer):
    if isinstance(layer, nn.RMSNorm):
        return reference.rms_norm(x, w["weight"], layer.eps)
    return reference.layer_norm(x, w["weight"], w["bias"], layer.eps)


def feed_forward(layer, w, x):
    activation = ACTIVATIONS[layer.activation]
    if not layer.gated:
        return linear(w.below("linear2"), activation(linear(w.below("linear1"), x)))
    gate = activation(linear(w.below("gate_proj"), x))
    return linear(w.below("down_proj"), gate * linear(w.below("up_proj"), x))


def rotated(x, base, interleaved, dim):
    """Turn pairs of columns of (..., length, dim) by the angles of their positions."""
    x, rest = x[..., :dim], x[..., dim:]
    length = x.shape[-2]
    columns = np.arange(dim)
    if interleaved:
        pairs, partner = columns // 2, columns ^ 1
    else:
        pairs, partner = columns % (dim // 2), (columns + dim // 2) % dim
    angles = np.arange(length)[:, None] / base ** (2 * pairs / dim)
    sign = np.where(partner > columns, -1, 1)
    turned = np.cos(angles).astype(x.dtype) * x
    turned += (sign * np.sin(angles)).astype(x.dtype) * x[..., partner]
    return np.concatenate([turned, rest], axis=-1)


def projected(layer, w, x, source=None):
    """Compute queries, keys and values (batch, heads, length, dim)."""
    source = x if source is None else source
    head_dim = layer.hidden_size // layer.num_heads
    ends = layer.hidden_size + layer.num_kv_heads * head_dim * np.arange(2)

    def parts(name):
        whole = w[f"in_proj_{name}"]
        return [None] * 3 if whole is None else np.split(whole, ends)

    weights = parts("weight")
    if weights[0] is None:
        weights = [w[f"{letter}_proj_weight"] for letter in "qkv"]
    for i, rows in enumerate((x, source, source)):
        y = reference.linear(rows, weights[i], parts("bias")[i])
        y = y.reshape(*y.shape[:2], -1, head_dim).swapaxes(1, 2)
        turned = layer.rotary is not None and i < 2
        rotary = layer.rotary, layer.rotary_interleaved, layer.rotary_dim
        yield rotated(y, *rotary) if turned else y


def attention(layer, w, x, source=None, **masks):
    slopes = {"alibi_slopes": layer.alibi_slopes}
    heads = reference.attention(*projected(layer, w, x, source), **masks, **slopes)
    return linear(w.below("out_proj"), heads.swapaxes(1, 2).reshape(x.shape))


def encoder_layer(layer, w, x, **masks):
    def attend(x):
        return attention(layer.self_attn, w.below("self_attn"), x, **masks)

    def norms(name, x):
        return norm(w.below(name), x, layer.norm1)

    if layer.norm_first:
        h = x + attend(norms("norm1", x))
        return h + feed_forward(layer.feed_forward, w, norms("norm2", h))
    h = norms("norm1", x + attend(x))
    return norms("norm2", h + feed_forward(layer.feed_forward, w, h))


def forward(layer, w, x, **masks):
    """Compute any of the layers that look along a sequence, padding included."""
    if isinstance(layer, nn.MultiHeadAttention):
        return attention(layer, w, x, **masks)
    if isinstance(layer, nn.EncoderLayer):
        return encoder_layer(layer, w, x, **masks)
    for i, inner in enumerate(layer.layers):
        x = encoder_layer(inner, w.below(f"layers.{i}"), x, **masks)
    return x if layer.norm is None else norm(w.below("norm"), x, layer.norm)


def combined(real, mask):
    """Combine the padding of the keys (batch, length) with a mask of the scores."""
    if real is None:
        return mask
    keys = real[:, None, None, :]
    if mask is None or mask.dtype == bool:
        return keys if mask is None else keys & mask
    return np.where(keys, mask, np.array(-np.inf, np.float32))


def assert_layer_accurate(actual, layer, x, real=None, mask=None, causal=False):
    """Hold a layer to the formulas; `mask` is (..., length, length)."""
    seen = combined(real, mask)

    def compute(dtype):
        weights = Weights(layer.state_dict(), dtype)
        y = forward(layer, weights, x.astype(dtype), mask=seen, causal=causal)
        return y if real is None else np.where(real[..., None], y, 0)

    assert_accurate(actual, compute)

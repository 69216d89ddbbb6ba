"""Layers for the tests, and what they must compute: the formulas, for any dtype."""

import numpy as np

from fastattn import nn, reference
from fastattn.nn.relative import RelativePositions
from fastattn.scores import FAR
from support.criterion import assert_accurate

HIDDEN, HEADS, INTERMEDIATE = 48, 3, 80
BATCH, LENGTH = 4, 19
LENGTHS = np.array([19, 7, 0, 12])
RIGHT = np.arange(LENGTH) < LENGTHS[:, None]
GAPS = np.random.default_rng(5).random((BATCH, LENGTH)) < 0.6


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


def relative_positions(hidden, length, **settings):
    """Give each near distance a vector, and far ones one for three of them."""
    distances = np.arange(1 - length, length)
    far = np.sign(distances) * (6 + np.abs(distances) // 3)
    rows = np.where(np.abs(distances) < 9, distances, far)
    return RelativePositions(hidden, rows - rows[0], 2 * rows[-1] + 2, **settings)


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
    "scores": lambda: nn.MultiHeadAttention(
        HIDDEN,
        HEADS,
        head_dim=20,
        scale=0.3,
        window=(4, 2),
        softcap=1.5,
        distance_bias=batch(HEADS, 7, seed=6),
        out_bias=False,
        rng=0,
    ),
    "norms of heads": lambda: nn.MultiHeadAttention(
        HIDDEN, HEADS, head_dim=8, qk_norm="rms", rotary=(0.5 ** np.arange(4), 1.25), rng=0
    ),
    "norms of rows": lambda: nn.MultiHeadAttention(
        HIDDEN, HEADS, head_dim=8, qk_norm=(nn.LayerNorm(24), nn.LayerNorm(24)), rng=0
    ),
    "vectors of distances": lambda: nn.MultiHeadAttention(
        HIDDEN,
        HEADS,
        relative=randomized(relative_positions(HIDDEN, LENGTH)),
        rng=0,
    ),
    "layers that differ": lambda: nn.Encoder.from_layers(
        [
            first := nn.EncoderLayer.from_parts(
                nn.MultiHeadAttention(HIDDEN, HEADS, head_dim=6, window=(3, 3), rng=0),
                nn.FeedForward(HIDDEN, 20, "gelu", bias=False, out_bias=True, rng=0),
                before=(None, nn.RMSNorm(HIDDEN)),
                inside=(nn.RMSNorm(HIDDEN), None),
            ),
            nn.EncoderLayer(
                HIDDEN, HEADS, 90, num_kv_heads=1, rotary=9.0, norm="rms", rng=1
            ),
            first,
            nn.EncoderLayer.from_parts(
                nn.MultiHeadAttention(HIDDEN, HEADS, alibi=True, rng=0),
                nn.FeedForward(HIDDEN, 30, gated=True, rng=0),
                before=(nn.LayerNorm(HIDDEN), nn.RMSNorm(HIDDEN)),
                inside=(nn.RMSNorm(HIDDEN), nn.LayerNorm(HIDDEN)),
                after=(None, nn.LayerNorm(HIDDEN)),
            ),
        ],
        nn.LayerNorm(HIDDEN),
    ),
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
    activation = getattr(reference, layer.activation)
    if not layer.gated:
        return linear(w.below("linear2"), activation(linear(w.below("linear1"), x)))
    gate = activation(linear(w.below("gate_proj"), x))
    return linear(w.below("down_proj"), gate * linear(w.below("up_proj"), x))


def rotated(x, rotary):
    """Turn pairs of columns of (..., length, dim) by the angles of their positions."""
    dim, interleaved = rotary.dim, rotary.interleaved
    x, rest = x[..., :dim], x[..., dim:]
    length = x.shape[-2]
    columns = np.arange(dim)
    if interleaved:
        pairs, partner = columns // 2, columns ^ 1
    else:
        pairs, partner = columns % (dim // 2), (columns + dim // 2) % dim
    frequencies = rotary.frequencies or rotary.base ** (-2 * np.arange(dim // 2) / dim)
    angles = np.arange(length)[:, None] * np.asarray(frequencies)[pairs]
    sign = np.where(partner > columns, -1, 1)
    cosines, sines = rotary.factor * np.cos(angles), rotary.factor * sign * np.sin(angles)
    turned = cosines.astype(x.dtype) * x + sines.astype(x.dtype) * x[..., partner]
    return np.concatenate([turned, rest], axis=-1)


def projected(layer, w, x, source=None):
    """Compute queries, keys and values (batch, heads, length, dim)."""
    source = x if source is None else source
    head_dim = layer.head_dim
    ends = layer.num_heads * head_dim + layer.num_kv_heads * head_dim * np.arange(2)

    def parts(name):
        whole = w[f"in_proj_{name}"]
        return [None] * 3 if whole is None else np.split(whole, ends)

    weights = parts("weight")
    if weights[0] is None:
        weights = [w[f"{letter}_proj_weight"] for letter in "qkv"]
    for i, rows in enumerate((x, source, source)):
        y = reference.linear(rows, weights[i], parts("bias")[i])
        normed = (layer.q_norm, layer.k_norm, None)[i]
        if normed is not None:
            width = y.shape[-1] if normed.dim != head_dim else head_dim
            y = norm(w.below("qk"[i] + "_norm"), y.reshape(*y.shape[:2], -1, width), normed)
        y = y.reshape(*y.shape[:2], -1, head_dim).swapaxes(1, 2)
        turned = layer.rotary is not None and i < 2
        yield rotated(y, layer.rotary) if turned else y


def keywords(layer):
    """Give what fa.attention takes for the scores of a layer."""
    scores = layer.scores
    window = [None if side == FAR else side for side in (scores.left, scores.right)]
    return {
        "window": tuple(window),
        "scale": scores.scale,
        "softcap": scores.softcap or None,
        "alibi_slopes": layer.alibi_slopes,
        "distance_bias": scores.distance_bias,
    }


def relative(layer, w):
    """Give the vectors of buckets that the reference takes, or None."""
    if layer._relative is None:
        return None
    positions = layer._relative.positions
    own = Weights(positions.state_dict(), w.dtype)
    vectors = own["weight"][positions._rows]
    if positions._norm is not None:
        vectors = norm(own.below("norm"), vectors, positions._norm)
    made = {}
    for i, term in enumerate(("p2c", "c2p")):
        if term not in positions.terms:
            made[term] = None
        elif positions.shared:
            weight, bias = w["in_proj_weight"], w["in_proj_bias"]
            made[term] = reference.linear(
                vectors, np.split(weight, 3)[i], np.split(bias, 3)[i]
            )
        else:
            name = {"p2c": "pos_query_proj", "c2p": "pos_key_proj"}[term]
            made[term] = linear(w.below(name), vectors)
    keys, queries = (
        None if x is None else x.reshape(len(x), layer.num_heads, -1).swapaxes(0, 1)
        for x in (made["c2p"], made["p2c"])
    )
    return keys, queries, positions.buckets


def attention(layer, w, x, source=None, **masks):
    options = {**masks, **keywords(layer), "relative": relative(layer, w)}
    heads = reference.attention(*projected(layer, w, x, source), **options)
    context = heads.swapaxes(1, 2).reshape(*x.shape[:2], -1)
    return linear(w.below("out_proj"), context)


def encoder_layer(layer, w, x, **masks):
    def attend(x):
        return attention(layer.self_attn, w.below("self_attn"), x, **masks)

    def network(x):
        return feed_forward(layer.feed_forward, w, x)

    for number, part in ((1, attend), (2, network)):
        before, inside, after, twice = layer.norms[number - 1]
        last = "norm" if before is None else "post_norm"
        y = part(x if before is None else norm(w.below(f"norm{number}"), x, before))
        y = x + y if twice else y
        y = y if inside is None else norm(w.below(f"inner_norm{number}"), y, inside)
        x = x + y
        x = x if after is None else norm(w.below(f"{last}{number}"), x, after)
    return x


def forward(layer, w, x, **masks):
    """Compute any of the layers that look along a sequence, padding included."""
    if isinstance(layer, nn.MultiHeadAttention):
        return attention(layer, w, x, **masks)
    if isinstance(layer, nn.EncoderLayer):
        return encoder_layer(layer, w, x, **masks)
    for inner in layer.layers:
        x = encoder_layer(inner, w.below(f"layers.{layer.layers.index(inner)}"), x, **masks)
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

"""The NumPy that the kernels are measured against: float32, in place where it can be.

Not :mod:`fastattn.reference`, which is written to be read: here no temporary is made
that can be avoided, and passes run over blocks of rows that stay in the cache.
"""

import math

import numpy as np

# Rows that an elementwise chain takes at once: 64 of 1536 floats are 384 KB.
BLOCK_ROWS = 64


def linear(x, weight, bias):
    """A dense layer on the rows of a matrix."""
    y = x @ weight.T
    y += bias
    return y


def softmax_(x):
    """Softmax of the last axis, in place."""
    x -= x.max(axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=-1, keepdims=True)
    return x


def softmax(x):
    """Softmax of each row of a matrix, block by block."""
    out = np.empty_like(x)
    for start in range(0, len(x), BLOCK_ROWS):
        rows = out[start : start + BLOCK_ROWS]
        rows[...] = x[start : start + BLOCK_ROWS]
        softmax_(rows)
    return out


def layer_norm_(x, weight, bias, eps):
    """Layer normalisation of each row of a matrix, in place."""
    x -= x.mean(axis=-1, keepdims=True)
    variance = np.einsum("ij,ij->i", x, x)[:, None] / np.float32(x.shape[-1])
    x /= np.sqrt(variance + np.float32(eps))
    x *= weight
    x += bias
    return x


def gelu_(x):
    """Exact GELU of a matrix, in place.

    The error function is formula 7.1.26 of Abramowitz and Stegun, "Handbook of
    Mathematical Functions", 1964: 1.5e-7 absolute, all that float32 can use here.
    """
    for start in range(0, len(x), BLOCK_ROWS):
        rows = x[start : start + BLOCK_ROWS]
        z = np.abs(rows)
        z *= np.float32(math.sqrt(0.5))
        t = z * np.float32(0.3275911)
        t += np.float32(1)
        np.reciprocal(t, out=t)
        tail = t * np.float32(1.061405429)
        for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            tail += np.float32(coefficient)
            tail *= t
        z *= z
        np.negative(z, out=z)
        tail *= np.exp(z, out=z)  # erfc(|x| / sqrt(2))
        np.subtract(1, tail, out=tail)
        np.copysign(tail, rows, out=tail)
        tail += np.float32(1)
        rows *= tail
        rows *= np.float32(0.5)
    return x


def attention(query, key, value, bias=None):
    """Attention of (batch, heads, length, dim), by head, so that scores fit a cache.

    `bias` (length, keys) is added to the scores of every head.
    """
    out = np.empty_like(query)
    scale = np.float32(query.shape[-1] ** -0.5)
    for head in np.ndindex(query.shape[:2]):
        scores = (query[head] * scale) @ key[head].T
        if bias is not None:
            scores += bias
        np.matmul(softmax_(scores), value[head], out=out[head])
    return out


def encoder_layer(x, state, num_heads, eps=1e-5):
    """A post-norm layer with GELU on (batch, length, hidden); torch's names."""
    batch, length, hidden = x.shape
    x = x.reshape(-1, hidden)

    def dense(x, name):
        return linear(x, state[f"{name}weight"], state[f"{name}bias"])

    def add_and_norm(y, residual, name):
        y += residual
        return layer_norm_(y, state[f"{name}.weight"], state[f"{name}.bias"], eps)

    qkv = dense(x, "self_attn.in_proj_").reshape(batch, length, 3, num_heads, -1)
    context = attention(*qkv.transpose(2, 0, 3, 1, 4)).swapaxes(1, 2)
    attended = dense(context.reshape(-1, hidden), "self_attn.out_proj.")
    x = add_and_norm(attended, x, "norm1")
    y = dense(gelu_(dense(x, "linear1.")), "linear2.")
    return add_and_norm(y, x, "norm2").reshape(batch, length, hidden)


def bert(tensors, layers, config, input_ids):
    """The hidden states of a BERT whose input has no padding.

    `tensors` are those of its file, `layers` what :func:`layer_states` made of them.
    """
    names = ("word", "position", "token_type")
    words, positions, types = (
        tensors[f"embeddings.{name}_embeddings.weight"] for name in names
    )
    norm = [tensors[f"embeddings.LayerNorm.{kind}"] for kind in ("weight", "bias")]
    eps = config.layer_norm_eps
    x = words[input_ids] + (positions[: input_ids.shape[1]] + types[0])
    layer_norm_(x.reshape(-1, x.shape[-1]), *norm, eps)
    for state in layers:
        x = encoder_layer(x, state, config.num_attention_heads, eps)
    return x


def layer_states(tensors, num_layers):
    """The tensors of each layer, named as torch names them."""
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    states = []
    for index in range(num_layers):
        prefix = f"encoder.layer.{index}."
        state = {}
        for kind in ("weight", "bias"):
            state[f"self_attn.in_proj_{kind}"] = np.concatenate(
                [
                    tensors[f"{prefix}attention.self.{part}.{kind}"]
                    for part in ("query", "key", "value")
                ]
            )
            for ours, theirs in names.items():
                state[f"{ours}.{kind}"] = tensors[f"{prefix}{theirs}.{kind}"]
        states.append(state)
    return states

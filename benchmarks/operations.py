"""Floating-point operations of what is measured: a multiply-add counts 2.

A softmax inside attention, a norm or an activation counts nothing.
"""


def linear_flops(rows, in_features, out_features):
    """Count those of a dense layer."""
    return 2 * rows * in_features * out_features


def attention_flops(batch, heads, length, dim, keys=None):
    """Count those of attention of `length` queries over as many keys, or over `keys`."""
    return 4 * batch * heads * length * (length if keys is None else keys) * dim


def encoder_layer_flops(batch, length, hidden, intermediate, *, gated=False):
    """Count those of an encoder layer without padding; a gate is a third matrix."""
    dense = 4 * hidden**2 + (2 + gated) * hidden * intermediate
    return batch * length * (2 * dense + 4 * length * hidden)

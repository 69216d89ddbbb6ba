"""A tutorial on self-attention, step by step through our public functions.

First the worked example: three inputs of four numbers, weights of small integers, one
head, scores that are not scaled. Then what a transformer puts around it: embedding,
positions, truncating, masking, several heads, residuals and layer normalisation.
"""

import math

import numpy as np
import pytest
from support.criterion import assert_accurate

import fastattn as fa
from fastattn import nn, reference

# Step 1: prepare inputs.
INPUTS = np.array([[1, 0, 1, 0], [0, 2, 0, 2], [1, 1, 1, 1]], np.float32)

# Step 2: initialise weights.
KEY_WEIGHT = np.array([[0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 0]], np.float32)
QUERY_WEIGHT = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 1]], np.float32)
VALUE_WEIGHT = np.array([[0, 2, 0], [0, 3, 0], [1, 0, 3], [1, 1, 0]], np.float32)

# Step 3: derive key, query and value.
KEYS = np.array([[0, 1, 1], [4, 4, 0], [2, 3, 1]], np.float32)
QUERIES = np.array([[1, 0, 2], [2, 2, 2], [2, 1, 3]], np.float32)
VALUES = np.array([[1, 2, 3], [2, 8, 0], [2, 6, 3]], np.float32)

# Step 4: attention scores, not scaled.
SCORES = np.array([[2, 4, 4], [4, 16, 12], [4, 12, 10]], np.float32)

# Step 5: softmax, as the tutorial rounds it "for readability".
ROUNDED_WEIGHTS = np.array([[0, 0.5, 0.5], [0, 1, 0], [0, 0.9, 0.1]], np.float32)

# Steps 6 and 7, computed by the tutorial from the rounded softmax.
ROUNDED_WEIGHTED_VALUES = np.array(
    [
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[1, 4, 0], [2, 8, 0], [1.8, 7.2, 0]],
        [[1, 3, 1.5], [0, 0, 0], [0.2, 0.6, 0.3]],
    ]
)
ROUNDED_OUTPUTS = np.array([[2, 7, 1.5], [2, 8, 0], [2, 7.8, 0.3]])

# Steps 5 and 7 without the rounding, to four digits.
EXACT_WEIGHTS = np.array(
    [[0.0634, 0.4683, 0.4683], [0.0, 0.982, 0.018], [0.0003, 0.8805, 0.1192]]
)
EXACT_OUTPUTS = np.array(
    [[1.9366, 6.6831, 1.5951], [2.0, 7.964, 0.054], [1.9997, 7.7599, 0.3584]]
)


# ---- The worked example -------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "expected"),
    # The tutorial's line for the query says weights_Value: its numbers are those of
    # the query's weights, as it should be.
    [(KEY_WEIGHT, KEYS), (VALUE_WEIGHT, VALUES), (QUERY_WEIGHT, QUERIES)],
    ids=["key", "value", "query"],
)
def test_derive_key_value_and_query(weight, expected):
    np.testing.assert_array_equal(fa.matmul(INPUTS, weight), expected)
    # A layer has its weight the other way round, (out_features, in_features).
    np.testing.assert_array_equal(fa.linear(INPUTS, weight.T), expected)
    layer = nn.Linear(4, 3, bias=False)
    layer.load_state_dict({"weight": weight.T})
    np.testing.assert_array_equal(layer(INPUTS), expected)


def test_calculate_attention_scores():
    np.testing.assert_array_equal(fa.matmul(QUERIES, KEYS.T), SCORES)
    for query, scores in zip(QUERIES, SCORES, strict=True):
        np.testing.assert_array_equal(fa.matmul(query[None], KEYS.T)[0], scores)


def test_calculate_softmax():
    weights = fa.softmax(SCORES)
    np.testing.assert_array_equal(weights.round(4), EXACT_WEIGHTS.astype(np.float32))
    assert_accurate(weights, lambda dtype: reference.softmax(SCORES.astype(dtype)))
    # What the tutorial loses by its rounding: the first weight of query 1 at the most.
    loss = np.abs(weights - ROUNDED_WEIGHTS)
    assert loss.max() == loss[0, 0] == weights[0, 0]


def test_the_weights_in_one_call():
    weights = fa.attention_weights(QUERIES, KEYS, scale=1)
    assert_accurate(weights, lambda dtype: reference.softmax(SCORES.astype(dtype)))


def test_multiply_scores_with_values():
    rounded = VALUES[:, None] * ROUNDED_WEIGHTS.T[:, :, None]
    np.testing.assert_array_equal(
        rounded.round(4), ROUNDED_WEIGHTED_VALUES.astype(np.float32)
    )
    exact = VALUES[:, None] * fa.softmax(SCORES).T[:, :, None]
    np.testing.assert_array_equal(exact.sum(axis=0).round(4), EXACT_OUTPUTS.astype("f4"))


def test_sum_weighted_values():
    # With the tutorial's rounded softmax, and without the rounding.
    rounded = fa.matmul(ROUNDED_WEIGHTS, VALUES)
    np.testing.assert_array_equal(rounded.round(4), ROUNDED_OUTPUTS.astype("f4"))
    exact = fa.matmul(fa.softmax(SCORES), VALUES)
    np.testing.assert_array_equal(exact.round(4), EXACT_OUTPUTS.astype("f4"))


def test_outputs_of_inputs_one_to_three():
    outputs = fa.attention(QUERIES, KEYS, VALUES, scale=1)
    np.testing.assert_array_equal(outputs.round(4), EXACT_OUTPUTS.astype("f4"))
    assert_accurate(
        outputs,
        lambda dtype: reference.attention(
            *(array[None].astype(dtype) for array in (QUERIES, KEYS, VALUES)), scale=1
        )[0],
    )
    # Steps 4 to 7 for one input after the other.
    for i in range(3):
        alone = fa.attention(QUERIES[i : i + 1], KEYS, VALUES, scale=1)
        np.testing.assert_array_equal(alone[0], outputs[i])


# ---- Inputs: embedding, positions, truncating, masking ------------------------------

VOCABULARY, DIM, HEADS, MAX_LENGTH = 50, 24, 4, 8
TEXTS = [[4, 8, 15, 16, 23, 42], [7], list(range(20)), [9, 9, 9]]


def prepared(texts, embedding):
    """Truncate, pad and embed texts: vectors and lengths."""
    lengths = [min(len(text), MAX_LENGTH) for text in texts]
    ids = np.zeros((len(texts), max(lengths)), int)
    for row, text, length in zip(ids, texts, lengths, strict=True):
        row[:length] = text[:length]
    # The paper scales the embedding before it adds the positions.
    vectors = embedding(ids) * np.float32(math.sqrt(DIM))
    return nn.PositionalEncoding(DIM, MAX_LENGTH)(vectors), lengths


def test_inputs_are_embedded_and_positioned():
    embedding = nn.Embedding(VOCABULARY, DIM, init="xavier_normal", rng=0)
    x, lengths = prepared(TEXTS, embedding)
    assert lengths == [6, 1, 8, 3]
    table = fa.sinusoidal_positions(MAX_LENGTH, DIM)
    expected = embedding.weight[23] * np.float32(math.sqrt(DIM)) + table[4]
    np.testing.assert_array_equal(x[0, 4], expected)
    # One word three times: three vectors, because it stands at three positions.
    assert len(np.unique(x[3, :3], axis=0)) == 3


def test_truncating_and_masking_before_the_layers():
    embedding = nn.Embedding(VOCABULARY, DIM, init="xavier_normal", rng=0)
    encoder = nn.Encoder(DIM, HEADS, 2 * DIM, 2, rng=1)
    x, lengths = prepared(TEXTS, embedding)
    y = encoder(x, lengths=lengths)
    for row, (text, length) in enumerate(zip(TEXTS, lengths, strict=True)):
        alone, _ = prepared([text[:MAX_LENGTH]], embedding)
        np.testing.assert_array_equal(y[row, :length], encoder(alone)[0])
        assert not y[row, length:].any()
    mask = np.arange(x.shape[1]) < np.array(lengths)[:, None]
    np.testing.assert_array_equal(encoder(x, padding_mask=mask), y)


def test_positions_are_all_that_tells_words_apart():
    """Without positions, attention gives equal words equal vectors, in any order."""
    embedding = nn.Embedding(VOCABULARY, DIM, rng=0)
    encoder = nn.Encoder(DIM, HEADS, 2 * DIM, 1, rng=1)
    positions = nn.PositionalEncoding(DIM, MAX_LENGTH)
    bare = embedding([9, 9, 9])
    np.testing.assert_array_equal(encoder(bare)[0], encoder(bare)[2])
    placed = encoder(positions(bare))
    assert not np.array_equal(placed[0], placed[2])


# ---- Several heads, residuals, layer normalisation ----------------------------------


def split_heads(x, num_heads):
    """Cut the columns into heads: (length, hidden) -> (heads, length, head_dim)."""
    return x.reshape(len(x), num_heads, -1).swapaxes(0, 1)


def join_heads(x):
    """Put the heads side by side again."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


def test_several_heads_are_heads_one_by_one():
    rng = np.random.default_rng(0)
    query, key, value = rng.standard_normal((3, 10, DIM), np.float32)
    heads = [split_heads(x, HEADS) for x in (query, key, value)]
    together = fa.attention(*heads)
    assert together.shape == (HEADS, 10, DIM // HEADS)
    size = DIM // HEADS
    for head in range(HEADS):
        columns = slice(head * size, (head + 1) * size)
        alone = fa.attention(query[:, columns], key[:, columns], value[:, columns])
        np.testing.assert_array_equal(together[head], alone)
        np.testing.assert_array_equal(join_heads(together)[:, columns], alone)


def multi_head_attention(ops, weights, x):
    """Write self-attention out: project, split, attend, join, project."""
    projected = ops.linear(
        x, weights["self_attn.in_proj_weight"], weights["self_attn.in_proj_bias"]
    )
    query, key, value = (split_heads(y, HEADS) for y in np.split(projected, 3, axis=-1))
    context = join_heads(ops.attention(query, key, value))
    return ops.linear(
        context,
        weights["self_attn.out_proj.weight"],
        weights["self_attn.out_proj.bias"],
    )


def encoder_layer(ops, weights, x):
    """Write an encoder layer out, with the functions of `ops`."""

    def norm(name, y):
        return ops.layer_norm(y, weights[f"{name}.weight"], weights[f"{name}.bias"])

    h = norm("norm1", x + multi_head_attention(ops, weights, x))
    inner = ops.linear(h, weights["linear1.weight"], weights["linear1.bias"])
    y = ops.linear(ops.gelu(inner), weights["linear2.weight"], weights["linear2.bias"])
    return norm("norm2", h + y)


@pytest.mark.parametrize("written_out", [True, False])
def test_an_encoder_layer_is_attention_residuals_and_norms(written_out):
    layer = nn.EncoderLayer(DIM, HEADS, 4 * DIM, activation="gelu", rng=0)
    weights = layer.state_dict()
    x = np.random.default_rng(1).standard_normal((13, DIM), np.float32)

    def compute(dtype):
        wide = {name: weight.astype(dtype) for name, weight in weights.items()}
        return encoder_layer(reference, wide, x.astype(dtype))

    assert_accurate(encoder_layer(fa, weights, x) if written_out else layer(x), compute)

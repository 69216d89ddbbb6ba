"""Vectors of distances (DeBERTa), to which queries and keys are compared."""

import pickle

import numpy as np
import pytest
from support.bits import assert_same_bits, assert_same_on_fma_isas
from support.criterion import assert_accurate
from support.layers import (
    Weights,
    assert_layer_accurate,
    attention,
    batch,
    randomized,
    relative_positions,
)

import fastattn as fa
from fastattn import nn
from fastattn.nn.relative import RelativePositions

HEADS = 2
# As many tokens as some blocks of queries and keys have, and more than one chunk.
LENGTHS = (1, 2, 63, 64, 65, 150, 530)


def made(hidden, length, **settings):
    positions = randomized(relative_positions(hidden, length, **settings), seed=3)
    layer = nn.MultiHeadAttention(hidden, HEADS, relative=positions, scale=0.2, rng=0)
    return randomized(layer)


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths(length, isa):
    layer = made(16, length)
    x = batch(1, length, 16)
    assert_layer_accurate(layer(x), layer, x)


# Heads of more dimensions than one sum has.
@pytest.mark.parametrize(
    ("hidden", "settings"),
    [
        (10, {"terms": ("c2p",)}),
        (10, {"terms": ("p2c",)}),
        (10, {"shared": False}),
        (10, {"shared": False, "terms": ("p2c",)}),
        (140, {"norm": True}),
    ],
)
def test_forms(hidden, settings):
    if "norm" in settings:
        settings = {"norm": nn.LayerNorm(hidden, 1e-3)}
    layer = made(hidden, 90, **settings)
    x = batch(1, 90, hidden)
    assert_layer_accurate(layer(x), layer, x)


def test_positions_that_are_far_apart():
    """Of all places only some are real: a block has more distances than it has keys."""
    layer, length = made(16, 1000), 1000
    real = np.arange(length) % 7 == 3
    x = batch(1, length, 16)
    out = layer(x, padding_mask=real[None])
    assert_layer_accurate(out, layer, x, real[None])
    # The same distances, without what is before the first.
    assert_same_bits(layer(x[:, 3:], padding_mask=real[None, 3:]), out[:, 3:])


def test_a_source():
    layer = made(16, 100)
    x, source = batch(1, 70, 16), batch(1, 100, 16, seed=2)
    found = layer(x, source=source)

    def compute(dtype):
        weights = Weights(layer.state_dict(), dtype)
        return attention(layer, weights, x.astype(dtype), source.astype(dtype))

    assert_accurate(found, compute)


def test_same_bits():
    layer = made(16, 200)
    x = batch(3, 200, 16)
    lengths = [200, 130, 1]
    assert_same_on_fma_isas(lambda: layer(x, lengths=lengths))
    with fa.num_threads(1):
        expected = layer(x, lengths=lengths)
    assert_same_bits(layer(x, lengths=lengths), expected)
    for row, length in enumerate(lengths):
        assert_same_bits(layer(x[row, :length]), expected[row, :length])
    # As far as a token sees, the rest makes no difference.
    causal = layer(x, causal=True)
    assert_same_bits(layer(x[:, :90], causal=True), causal[:, :90])
    assert_same_bits(pickle.loads(pickle.dumps(layer))(x, causal=True), causal)
    vectors = layer.scores.relative
    twin = pickle.loads(pickle.dumps(vectors))
    assert (twin.num_heads, twin.head_dim) == (vectors.num_heads, vectors.head_dim)
    assert_same_bits(twin.keys, vectors.keys)


def test_weights_of_keys():
    layer = made(16, 70)
    x = batch(70, 16)
    out, weights = layer(x, return_weights=True)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    assert_same_bits(layer(x), out)


def test_traced():
    layer = made(16, 40)
    trace = fa.trace(layer, batch(40, 16))
    products = 0.2 * trace["queries"] @ trace["keys"].swapaxes(-1, -2)
    np.testing.assert_allclose(
        products + trace["relative_scores"], trace["scores"], rtol=1e-5, atol=1e-5
    )


def test_new_weights_hold():
    layer, positions = made(16, 20), randomized(relative_positions(16, 20), seed=8)
    x = batch(20, 16)
    before = layer(x)
    layer._relative.positions.load_state_dict(positions.state_dict())
    after = layer(x)
    assert (before != after).any()
    assert_layer_accurate(after[None], layer, x[None])
    layer.store_weights_as("float16")
    assert_layer_accurate(layer(x)[None], layer, x[None])


def test_distances_that_have_no_vector():
    layer = made(16, 20)
    layer(batch(20, 16))
    with pytest.raises(ValueError, match="vectors of distances up to 19, got 20"):
        layer(batch(21, 16))
    with pytest.raises(ValueError, match="vectors of distances up to 19, got 21"):
        layer(batch(1, 22, 16), padding_mask=[[1, *20 * [0], 1]])


def test_what_it_does_not_go_with():
    positions = relative_positions(16, 4)
    for sizes in ({"num_kv_heads": 1}, {"source_size": 8}):
        with pytest.raises(ValueError, match="relative needs a layer with as many heads"):
            nn.MultiHeadAttention(16, 2, relative=positions, **sizes)
    with pytest.raises(ValueError, match="relative needs"):
        nn.MultiHeadAttention(8, 2, relative=positions)


def test_rows_that_no_distance_has():
    """They make no difference, whatever they hold."""
    rows = np.array([0, 3, 3, 7, 9])
    positions = RelativePositions(8, rows, 12)
    weight = batch(12, 8)
    positions.load_state_dict({"weight": weight})
    layer = randomized(nn.MultiHeadAttention(8, 2, relative=positions))
    expected = layer(batch(3, 8))
    weight[np.isin(np.arange(12), rows, invert=True)] = np.nan
    positions.load_state_dict({"weight": weight})
    assert_same_bits(layer(batch(3, 8)), expected)

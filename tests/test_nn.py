"""Layers: the numbers they compute, whatever the padding, masks and inputs."""

import numpy as np
import pytest
from support.criterion import assert_accurate
from support.layers import (
    BATCH,
    GAPS,
    HEADS,
    HIDDEN,
    LENGTH,
    RIGHT,
    SEQUENCE_LAYERS,
    Weights,
    X,
    assert_layer_accurate,
    batch,
    feed_forward,
    linear,
    norm,
    randomized,
)

import fastattn as fa
from fastattn import nn
from fastattn._rowwise import ACTIVATIONS


@pytest.fixture(params=SEQUENCE_LAYERS)
def layer(request):
    """Every kind of layer that looks along a sequence."""
    return randomized(SEQUENCE_LAYERS[request.param]())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (33, 5), (2, 3, 5), (0, 5), (2, 0, 5)])
def test_linear(shape, bias):
    layer = randomized(nn.Linear(5, 17, bias, rng=0))
    x = batch(*shape)
    if 0 in shape:
        assert layer(x).shape == (*shape[:-1], 17)
    else:
        assert_accurate(
            layer(x),
            lambda dtype: linear(Weights(layer.state_dict(), dtype), x.astype(dtype)),
        )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("eps", [1e-5, 1e-12, 0.1])
def test_layer_norm(bias, eps):
    layer = randomized(nn.LayerNorm(37, eps, bias))
    x = batch(2, 9, 37)
    assert_accurate(
        layer(x),
        lambda dtype: norm(Weights(layer.state_dict(), dtype), x.astype(dtype), layer),
    )


@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_rms_norm(eps):
    layer = randomized(nn.RMSNorm(37, eps))
    x = batch(2, 9, 37)
    assert list(layer.state_dict()) == ["weight"]
    assert_accurate(
        layer(x),
        lambda dtype: norm(Weights(layer.state_dict(), dtype), x.astype(dtype), layer),
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_feed_forward(activation, gated, bias):
    layer = nn.FeedForward(20, 70, activation, gated=gated, bias=bias, rng=0)
    x = batch(3, 11, 20)

    def compute(dtype):
        w = Weights(layer.state_dict(), dtype)
        return feed_forward(layer, w, x.astype(dtype))

    assert_accurate(randomized(layer)(x), compute)


@pytest.mark.parametrize("gated", [True, False])
def test_a_vector_alone_and_among_others(gated):
    layer = randomized(nn.FeedForward(48, 170, "silu", gated=gated, rng=0))
    x = batch(40, 48)
    with fa.num_threads(1):
        expected = layer(x)
    for threads in (2, 3, 8):
        with fa.num_threads(threads):
            np.testing.assert_array_equal(layer(x), expected)
    for i in range(0, 40, 7):
        np.testing.assert_array_equal(layer(x[i]), expected[i])


def test_embedding_copies_rows():
    layer = nn.Embedding(11, 6, rng=0)
    ids = np.array([[0, 10, 3], [3, 3, 1]], np.int32)
    np.testing.assert_array_equal(layer(ids), layer.weight[ids])
    assert layer(4).shape == (6,)
    assert layer([]).shape == (0, 6)


def test_positional_encoding_adds_the_table():
    x = batch(2, 7, 5)
    layer = nn.PositionalEncoding(5, max_length=7)
    np.testing.assert_array_equal(layer(x), x + fa.sinusoidal_positions(7, 5))
    np.testing.assert_array_equal(layer(x[0, :3]), layer(x)[0, :3])
    assert layer.state_dict() == {}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padding", [None, RIGHT, GAPS])
def test_layers(layer, padding, causal):
    actual = layer(X, padding_mask=padding, causal=causal)
    assert_layer_accurate(actual, layer, X, padding, causal=causal)


@pytest.mark.parametrize("padding", [None, RIGHT, GAPS])
@pytest.mark.parametrize(
    "shape", [(LENGTH, LENGTH), (BATCH, 1, 1, LENGTH), (BATCH, HEADS, LENGTH, LENGTH)]
)
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_masks(layer, padding, shape, kind):
    mask = batch(*shape, seed=2)
    mask = mask > -0.5 if kind == "bool" else np.where(mask > -0.5, mask, -np.inf)
    actual = layer(X, padding_mask=padding, mask=mask)
    assert_layer_accurate(actual, layer, X, padding, mask)


def test_mask_and_causal_combine(layer):
    mask = batch(LENGTH, LENGTH, seed=2) > -0.5
    actual = layer(X, padding_mask=GAPS, mask=mask, causal=True)
    assert_layer_accurate(actual, layer, X, GAPS, mask, causal=True)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_encoder_options(norm_first, activation, bias, kind):
    layer = nn.Encoder(
        32,
        2,
        24,
        2,
        final_norm=True,
        activation=activation,
        norm=kind,
        norm_first=norm_first,
        norm_eps=0.01,
        bias=bias,
        rng=0,
    )
    x = batch(2, 9, 32)
    assert_layer_accurate(randomized(layer)(x), layer, x)


@pytest.mark.parametrize(("hidden", "heads"), [(1, 1), (5, 5), (6, 2), (21, 3), (96, 1)])
@pytest.mark.parametrize("length", [1, 2, 65])
def test_sizes(hidden, heads, length):
    layer = randomized(nn.EncoderLayer(hidden, heads, 2 * hidden + 1, rng=0))
    x = batch(2, length, hidden)
    assert_layer_accurate(layer(x), layer, x)


# ---- Padding and empty things -------------------------------------------------------


@pytest.mark.parametrize("padding", [RIGHT, GAPS])
def test_padding_is_neither_read_nor_written(layer, padding):
    poisoned = np.where(padding[..., None], X, np.float32(np.nan))
    result = layer(poisoned, padding_mask=padding)
    np.testing.assert_array_equal(result, layer(X, padding_mask=padding))
    assert not result[~padding].any()


def test_an_empty_batch_and_empty_sequences(layer):
    assert layer(X[:0]).shape == (0, LENGTH, HIDDEN)
    assert layer(X[:0], lengths=[]).shape == (0, LENGTH, HIDDEN)
    assert layer(X[:, :0]).shape == (BATCH, 0, HIDDEN)
    assert layer(X[0, :0]).shape == (0, HIDDEN)
    for mask in (None, np.ones((LENGTH, LENGTH), bool)):
        result = layer(X, lengths=[0] * BATCH, mask=mask)
        np.testing.assert_array_equal(result, np.zeros_like(X))
    empty = np.ones((0, 0), bool)
    assert layer(X[:, :0], mask=empty).shape == (BATCH, 0, HIDDEN)


def test_a_token_that_sees_nothing_gets_zeros_from_attention():
    layer = randomized(nn.MultiHeadAttention(HIDDEN, HEADS, rng=0))
    mask = np.ones((LENGTH, LENGTH), bool)
    mask[3] = False
    result = layer(X, mask=mask)
    bias = layer.state_dict()["out_proj.bias"]
    np.testing.assert_array_equal(result[:, 3], np.broadcast_to(bias, (BATCH, HIDDEN)))


def test_inputs_of_every_kind(layer):
    expected = layer(X)
    read_only = X.copy()
    read_only.flags.writeable = False
    strided = np.repeat(np.repeat(X, 2, axis=-1), 3, axis=1)[:, ::3, ::2]
    for same in (read_only, strided, np.asfortranarray(X), X.tolist()):
        np.testing.assert_array_equal(layer(same), expected)
    np.testing.assert_array_equal(read_only, X)

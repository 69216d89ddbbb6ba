"""Layers: how they are built, and what they refuse."""

import numpy as np
import pytest
from support.layers import (
    BATCH,
    HEADS,
    HIDDEN,
    LENGTH,
    LENGTHS,
    RIGHT,
    SEQUENCE_LAYERS,
    X,
    batch,
    randomized,
)

from fastattn import nn


@pytest.fixture(params=SEQUENCE_LAYERS)
def layer(request):
    """Every kind of layer that looks along a sequence."""
    return randomized(SEQUENCE_LAYERS[request.param]())


# ---- Construction -------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda rng, init: nn.Linear(8, 6, init=init, rng=rng),
        lambda rng, init: nn.Embedding(8, 6, init=init, rng=rng),
        lambda rng, init: nn.MultiHeadAttention(8, 2, init=init, rng=rng),
        lambda rng, init: nn.FeedForward(8, 6, init=init, rng=rng),
        lambda rng, init: nn.Encoder(8, 2, 6, 2, init=init, rng=rng),
    ],
)
@pytest.mark.parametrize("init", [None, "kaiming_normal"])
def test_one_seed_gives_one_layer(build, init):
    first = build(3, init).state_dict()
    again = build(np.random.default_rng(3), init).state_dict()
    other = build(4, init).state_dict()
    for key, weight in first.items():
        np.testing.assert_array_equal(again[key], weight)
        if weight.std() > 0:
            assert not np.array_equal(other[key], weight), key


def test_default_weights_are_torchs():
    layer = nn.EncoderLayer(64, 4, 128, rng=0)
    state = layer.state_dict()
    bounds = {
        "self_attn.in_proj_weight": np.sqrt(6 / (64 + 3 * 64)),
        "self_attn.in_proj_bias": 0,
        "self_attn.out_proj.weight": 64**-0.5,
        "self_attn.out_proj.bias": 0,
        "linear1.weight": 64**-0.5,
        "linear1.bias": 64**-0.5,
        "linear2.weight": 128**-0.5,
        "linear2.bias": 128**-0.5,
        "norm1.bias": 0,
        "norm2.bias": 0,
    }
    for key, bound in bounds.items():
        largest = np.abs(state.pop(key)).max()
        assert 0.9 * bound <= largest <= np.float32(bound), key
    assert sorted(state) == ["norm1.weight", "norm2.weight"]
    assert all((weight == 1).all() for weight in state.values())


def test_a_chosen_init_draws_the_weights_and_leaves_biases_at_zero():
    state = nn.EncoderLayer(64, 4, 128, init="normal", rng=0).state_dict()
    for key, weight in state.items():
        if "norm" in key:
            continue
        spread = 0 if "bias" in key else 0.02
        assert abs(weight.std() - spread) <= 0.1 * spread, key


def test_layers_of_an_encoder_differ():
    state = nn.Encoder(8, 2, 6, 2, rng=0).state_dict()
    first, second = (state[f"layers.{i}.linear1.weight"] for i in range(2))
    assert not np.array_equal(first, second)


def test_layers_show_their_settings():
    assert repr(nn.Linear(3, 4)) == "Linear(in_features=3, out_features=4)"
    assert "intermediate_size=6" in repr(nn.EncoderLayer(4, 2, 6))


# ---- Refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: nn.Linear(0, 3), ValueError, "in_features must be at least 1, got 0"),
        (lambda: nn.Linear(3, 2.5), TypeError, "out_features must be an int.*2.5"),
        (lambda: nn.Linear(3, 4, init="best"), ValueError, "init.*'best'"),
        (lambda: nn.LayerNorm(0), ValueError, "dim must be at least 1"),
        (lambda: nn.LayerNorm(4, eps=-1.0), ValueError, "eps.*-1"),
        (lambda: nn.RMSNorm(4, eps=-1.0), ValueError, "eps.*-1"),
        (lambda: nn.LayerNorm(4, eps="small"), TypeError, "eps.*small"),
        (lambda: nn.Embedding(3, 0), ValueError, "dim must be at least 1"),
        (lambda: nn.PositionalEncoding(4, 0), ValueError, "max_length must be"),
        (lambda: nn.PositionalEncoding(4, base=0.1), ValueError, "base.*0.1"),
        (lambda: nn.MultiHeadAttention(10, 3), ValueError, "multiple.*10 and 3"),
        (
            lambda: nn.MultiHeadAttention(12, 6, num_kv_heads=4),
            ValueError,
            "num_heads must be a multiple of num_kv_heads, got 6 and 4",
        ),
        (
            lambda: nn.MultiHeadAttention(12, 4, rotary=100.0),
            ValueError,
            "must be even and at most the size of a head, 3, got 3",
        ),
        (
            lambda: nn.MultiHeadAttention(12, 3, rotary=100.0, rotary_dim=6),
            ValueError,
            "at most the size of a head, 4, got 6",
        ),
        (
            lambda: nn.MultiHeadAttention(12, 3, rotary=0.5),
            ValueError,
            "rotary must be at least 1, got 0.5",
        ),
        (
            lambda: nn.MultiHeadAttention(12, 3, alibi=[1.0, 2.0]),
            ValueError,
            r"alibi must be True or have shape \(3,\), got \(2,\)",
        ),
        (lambda: nn.MultiHeadAttention(12, 3, alibi="steep"), TypeError, "alibi"),
        (
            lambda: nn.EncoderLayer(4, 2, 6, norm="batch"),
            ValueError,
            "'layer', 'rms'.*batch",
        ),
        (
            lambda: nn.MultiHeadAttention(12, 6, source_size=0),
            ValueError,
            "source_size must be at least 1",
        ),
        (lambda: nn.FeedForward(4, 6, "swish"), ValueError, "'relu', 'gelu'.*'swish'"),
        (lambda: nn.EncoderLayer(4, 2, 6, activation=None), ValueError, "got None"),
        (lambda: nn.Encoder(4, 2, 6, 0), ValueError, "num_layers must be at least 1"),
    ],
)
def test_bad_settings_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    "call",
    [
        nn.Linear(HIDDEN, 3),
        nn.LayerNorm(HIDDEN),
        nn.RMSNorm(HIDDEN),
        nn.FeedForward(HIDDEN, 3),
        nn.PositionalEncoding(HIDDEN),
        nn.EncoderLayer(HIDDEN, HEADS, 3),
    ],
    ids=repr,
)
def test_wrong_inputs_are_named(call):
    with pytest.raises(TypeError, match=r"x must be float32, got float64.*astype"):
        call(X.astype(np.float64))
    with pytest.raises(ValueError, match=rf"\(.*{HIDDEN}\).*got \({BATCH}, {LENGTH}, 5"):
        call(X[:, :, :5])
    with pytest.raises(TypeError, match="x must be"):
        call("text")
    with pytest.raises(ValueError, match=r"got \(\)"):
        call(1.0)


def test_wrong_calls_are_named(layer):
    with pytest.raises(ValueError, match=r"x must have shape.*got \(48,\)"):
        layer(X[0, 0])
    with pytest.raises(ValueError, match="one of them"):
        layer(X, padding_mask=RIGHT, lengths=LENGTHS)
    with pytest.raises(ValueError, match=r"padding_mask must have shape.*in mask"):
        layer(X, padding_mask=np.ones((LENGTH, LENGTH), bool))
    with pytest.raises(ValueError, match=r"\(4, 19\) does not broadcast"):
        layer(X, mask=RIGHT)
    with pytest.raises(TypeError, match=r"mask must be bool.*int64.*astype"):
        layer(X, mask=np.ones((LENGTH, LENGTH), np.int64))
    with pytest.raises(TypeError, match=r"mask must be float32.*float64"):
        layer(X, mask=np.zeros((LENGTH, LENGTH)))


def test_wrong_ids_are_named():
    layer = nn.Embedding(5, 3)
    with pytest.raises(TypeError, match="ids must be integers"):
        layer([0.5])
    for wrong in (-1, 5):
        with pytest.raises(IndexError, match=f"0 to 4, got {wrong}"):
            layer([[0, wrong]])


def test_sequences_beyond_the_table_are_named():
    with pytest.raises(ValueError, match=r"8 positions and max_length is 7"):
        nn.PositionalEncoding(5, max_length=7)(batch(2, 8, 5))

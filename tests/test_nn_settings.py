"""Layers: how they are built, and what they refuse."""

import numpy as np
import pytest
from support.bits import assert_same_bits
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

import fastattn as fa
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


# ---- Layers of parts ----------------------------------------------------------------


def test_norms_have_torchs_names_and_others_beside_them():
    norms = {name: (nn.RMSNorm(8), nn.RMSNorm(8)) for name in ("before", "inside", "after")}
    parts = nn.MultiHeadAttention(8, 2, bias=False), nn.FeedForward(8, 6, bias=False)
    layer = nn.EncoderLayer.from_parts(*parts, **norms)
    names = [key for key in layer.state_dict() if "norm" in key]
    first = ["norm1.weight", "inner_norm1.weight", "post_norm1.weight"]
    assert names == first + [name.replace("1", "2") for name in first]


def test_a_layer_that_returns_has_one_place():
    layer = nn.EncoderLayer(8, 2, 6, rng=0)
    encoder = nn.Encoder.from_layers([layer] * 3)
    assert {key.split(".")[1] for key in encoder.state_dict()} == {"0"}
    assert encoder.nbytes == layer.nbytes
    state = nn.EncoderLayer(8, 2, 6, rng=1).state_dict()
    encoder.load_state_dict({f"layers.0.{key}": value for key, value in state.items()})
    x = batch(2, 5, 8)
    assert_same_bits(encoder(x), layer(layer(layer(x))))


def test_layers_of_other_heads_share_a_mask():
    layers = [nn.EncoderLayer(HIDDEN, heads, 20, rng=heads) for heads in (2, 4)]
    mask = batch(BATCH, 1, LENGTH, LENGTH)
    expected = layers[1](layers[0](X, mask=mask), mask=mask)
    encoder = nn.Encoder.from_layers(layers)
    assert_same_bits(encoder(X, mask=mask), expected)
    with pytest.raises(ValueError, match="does not broadcast"):
        encoder(X, mask=np.ones((BATCH, 2, LENGTH, LENGTH), bool))


def test_frequencies_stand_for_a_base():
    angles = fa.rotary_positions(40, 8, base=50.0, offset=3)
    frequencies = 50.0 ** (-np.arange(4) / 4)
    others = fa.rotary_positions(40, 8, offset=3, frequencies=frequencies)
    for one, other in zip(angles, others, strict=True):
        assert np.abs(one - other).max() <= 2.0**-22
    with pytest.raises(ValueError, match="frequencies must be 4 numbers from 0 to 1"):
        fa.rotary_positions(40, 8, frequencies=[1.0, 0.5])
    for wrong in ([1.0, 0.5, 0.1, 1.5], [1.0, 0.5, 0.1, -0.1], [1.0, 0.5, 0.1, np.nan]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            fa.rotary_positions(40, 8, frequencies=wrong)
        with pytest.raises(ValueError, match="from 0 to 1"):
            nn.MultiHeadAttention(16, 2, rotary=wrong)
    for kind in (complex, bool, str, object):
        wrong = np.ones(4, kind)
        with pytest.raises(TypeError, match=r"frequencies must be .* real numbers"):
            fa.rotary_positions(40, 8, frequencies=wrong)
        with pytest.raises(TypeError, match=r"rotary must be .* real numbers"):
            nn.MultiHeadAttention(16, 2, rotary=wrong)


SMALL = nn.MultiHeadAttention(8, 2), nn.FeedForward(8, 6)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: nn.Encoder.from_layers([]), ValueError, "at least one EncoderLayer"),
        (lambda: nn.Encoder.from_layers(SMALL), TypeError, "got MultiHeadAttention"),
        (
            lambda: nn.Encoder.from_layers(
                [nn.EncoderLayer(8, 2, 6), nn.EncoderLayer(4, 2, 6)]
            ),
            ValueError,
            r"one size, got \[4, 8\]",
        ),
        (
            lambda: nn.EncoderLayer.from_parts(*SMALL, after=(nn.LayerNorm(4), None)),
            ValueError,
            "self_attn has size 8 and after has size 4",
        ),
        (
            lambda: nn.EncoderLayer.from_parts(*SMALL, before=nn.LayerNorm(8)),
            TypeError,
            "before must be a pair",
        ),
        (
            lambda: nn.EncoderLayer.from_parts(*SMALL, twice=(True, False)),
            ValueError,
            "twice needs a norm inside",
        ),
        (
            lambda: nn.EncoderLayer.from_parts(*SMALL[::-1]),
            TypeError,
            "self_attn must be a MultiHeadAttention, got FeedForward",
        ),
        (
            lambda: nn.EncoderLayer.from_parts(SMALL[0], nn.FeedForward(4, 6)),
            ValueError,
            "feed_forward has size 4",
        ),
        (
            lambda: nn.EncoderLayer.from_parts(
                nn.MultiHeadAttention(8, 2, source_size=4), SMALL[1]
            ),
            ValueError,
            "source of size 4",
        ),
        (
            lambda: nn.MultiHeadAttention(8, 2, qk_norm=(nn.LayerNorm(3),) * 2),
            ValueError,
            "size of a head, 4, or of all, 8, got 3",
        ),
        (lambda: nn.MultiHeadAttention(8, 2, qk_norm=True), TypeError, "qk_norm must be"),
        (
            lambda: nn.MultiHeadAttention(8, 2, rotary=[0.5, 0.5, 0.5]),
            ValueError,
            r"rotary must be 2 numbers from 0 to 1, got shape \(3,\)",
        ),
        (lambda: nn.MultiHeadAttention(8, 2, window=3), TypeError, "window must be"),
    ],
)
def test_parts_that_do_not_fit_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()


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
    with pytest.raises(ValueError, match=r"\(4, 19\) has a row for each seq.*padding_mask"):
        layer(X, mask=RIGHT)
    with pytest.raises(ValueError, match=r"\(3, 19\) does not broadcast"):
        layer(X, mask=RIGHT[:3])
    with pytest.raises(TypeError, match=r"mask must be bool.*int64.*padding_mask.*astype"):
        layer(X, mask=np.ones((LENGTH, LENGTH), np.int64))
    with pytest.raises(TypeError, match=r"mask must be float32.*float64"):
        layer(X, mask=np.zeros((LENGTH, LENGTH)))


def test_masks_of_torch_are_told(layer):
    inverted = np.arange(LENGTH) >= [[5], [7], [1], [12]]
    with pytest.warns(UserWarning, match=r"pass ~key_padding_mask"):
        layer(X, padding_mask=inverted)
    inverted[0] = True  # a row without padding: padding may well be on the left
    layer(X, padding_mask=inverted)
    square = np.tri(BATCH, dtype=bool)
    with pytest.warns(UserWarning, match=r"pass mask\[None, None\]"):
        by_shape = layer(X[:, :BATCH], mask=square)
    assert_same_bits(by_shape, layer(X[:, :BATCH], mask=square[None, None]))
    layer(X[0, :BATCH], mask=square)
    by_head = np.ones((HEADS, LENGTH, LENGTH), bool)
    with pytest.warns(UserWarning, match=r"pass mask\[None\] if so, mask\[:, None\]"):
        layer(X[:HEADS], mask=by_head)
    layer(X, mask=by_head)
    joined = np.ones((BATCH * HEADS, LENGTH, LENGTH), bool)
    with pytest.raises(ValueError, match=r"attn_mask: pass mask.reshape\(4, 3, "):
        layer(X, mask=joined)


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

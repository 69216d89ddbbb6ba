"""Multi-head attention to a source, with shared heads, and the weights it gives."""

import numpy as np
import pytest
from support.criterion import assert_accurate
from support.layers import (
    BATCH,
    GAPS,
    HEADS,
    HIDDEN,
    LENGTH,
    LENGTHS,
    RIGHT,
    Weights,
    X,
    assert_layer_accurate,
    attention,
    batch,
    combined,
    projected,
    randomized,
)

import fastattn as fa
from fastattn import nn, reference

# Queries of another number than keys, and vectors of another size.
QUERIES, OTHER = 11, 20
Y = batch(BATCH, QUERIES, HIDDEN, seed=3)
SOURCES = {HIDDEN: X, OTHER: batch(BATCH, LENGTH, OTHER, seed=4)}
# A source of which every query sees something, one with padding, one with gaps.
PADDINGS = {"none": None, "right": RIGHT, "gaps": GAPS}


@pytest.fixture(params=[(HIDDEN, HEADS), (OTHER, HEADS), (HIDDEN, 1), (OTHER, 1)])
def layer(request):
    """Layers with sources of their own size or not, with heads that share keys or not."""
    size, heads = request.param
    sizes = {"source_size": size, "num_kv_heads": heads}
    return randomized(nn.MultiHeadAttention(HIDDEN, HEADS, rng=0, **sizes))


@pytest.fixture
def source(layer):
    return SOURCES[layer.source_size]


def assert_cross_accurate(actual, layer, source, real=None, mask=None, causal=False):
    seen = combined(real, mask)
    assert_accurate(
        actual,
        lambda dtype: attention(
            layer,
            Weights(layer.state_dict(), dtype),
            Y.astype(dtype),
            source.astype(dtype),
            mask=seen,
            causal=causal,
        ),
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
def test_source(layer, source, padding, causal):
    real = PADDINGS[padding]
    actual = layer(Y, source=source, padding_mask=real, causal=causal)
    assert_cross_accurate(actual, layer, source, real, causal=causal)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", [(QUERIES, LENGTH), (BATCH, HEADS, QUERIES, LENGTH)])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_masks(layer, source, padding, shape, kind):
    mask, real = batch(*shape, seed=2), PADDINGS[padding]
    mask = mask > -0.5 if kind == "bool" else np.where(mask > -0.5, mask, -np.inf)
    actual = layer(Y, source=source, padding_mask=real, mask=mask)
    assert_cross_accurate(actual, layer, source, real, mask)


@pytest.mark.parametrize("size", SOURCES)
def test_without_bias(size):
    layer = nn.MultiHeadAttention(HIDDEN, HEADS, source_size=size, bias=False, rng=0)
    assert_cross_accurate(layer(Y, source=SOURCES[size]), layer, SOURCES[size])


@pytest.mark.parametrize(("hidden", "heads"), [(20, 5), (36, 3), (15, 3)])
def test_a_source_reads_rows_that_start_within_a_panel(hidden, heads):
    layer = randomized(nn.MultiHeadAttention(hidden, heads, rng=0))
    x = batch(2, 9, hidden)
    np.testing.assert_array_equal(layer(x, source=x), layer(x))


def test_a_source_that_is_the_input(layer):
    if layer.source_size == HIDDEN:
        np.testing.assert_array_equal(layer(X, source=X), layer(X))
        np.testing.assert_array_equal(
            layer(X, source=X, padding_mask=RIGHT)[RIGHT],
            layer(X, padding_mask=RIGHT)[RIGHT],
        )


def test_new_weights_hold_for_a_source_too(layer, source):
    before = layer(Y, source=source)
    twin = nn.MultiHeadAttention(
        HIDDEN,
        HEADS,
        num_kv_heads=layer.num_kv_heads,
        source_size=layer.source_size,
    )
    twin(Y, source=source)
    twin.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(twin(Y, source=source), before)


def test_lengths_and_padding_of_the_source(layer, source):
    expected = layer(Y, source=source, padding_mask=RIGHT)
    np.testing.assert_array_equal(layer(Y, source=source, lengths=LENGTHS), expected)
    poisoned = np.where(RIGHT[..., None], source, np.float32(np.nan))
    np.testing.assert_array_equal(layer(Y, source=poisoned, padding_mask=RIGHT), expected)
    for row, length in enumerate(LENGTHS):
        alone = layer(Y[row], source=source[row, :length])
        np.testing.assert_array_equal(alone, expected[row])


def test_threads(layer, source):
    with fa.num_threads(1):
        expected = layer(Y, source=source, padding_mask=GAPS)
    with fa.num_threads(3):
        np.testing.assert_array_equal(layer(Y, source=source, padding_mask=GAPS), expected)


def test_no_queries_and_no_keys(layer, source):
    assert layer(Y[:, :0], source=source).shape == (BATCH, 0, HIDDEN)
    assert layer(Y[:0], source=source[:0]).shape == (0, QUERIES, HIDDEN)
    bias = layer.state_dict()["out_proj.bias"]
    np.testing.assert_array_equal(layer(Y, source=source[:, :0]), np.tile(bias, (4, 11, 1)))


# ---- Positions -----------------------------------------------------------------------


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dim", [None, 6])
def test_rotary_positions(padding, interleaved, dim):
    layer = nn.MultiHeadAttention(
        *(HIDDEN, HEADS),
        rotary=50.0,
        rotary_dim=dim,
        rotary_interleaved=interleaved,
        rng=0,
    )
    real = PADDINGS[padding]
    actual = randomized(layer)(X, padding_mask=real, causal=True)
    assert_layer_accurate(actual, layer, X, real, causal=True)
    source = SOURCES[HIDDEN]
    assert_cross_accurate(layer(Y, source=source, padding_mask=real), layer, source, real)


def test_rotary_positions_are_relative():
    layer = nn.MultiHeadAttention(HIDDEN, HEADS, rotary=50.0, rng=0)
    shifted = np.roll(X[:2], 5, axis=1)
    left = np.arange(LENGTH) >= [[5], [0]]
    np.testing.assert_allclose(
        layer(shifted, padding_mask=left)[:1, 5:], layer(X[:1, :-5]), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("slopes", [True, [1.0, 0.25, -0.1]])
def test_alibi(padding, masked, slopes):
    layer = randomized(nn.MultiHeadAttention(HIDDEN, HEADS, alibi=slopes, rng=0))
    real, source = PADDINGS[padding], SOURCES[HIDDEN]
    mask = batch(BATCH, 1, LENGTH, LENGTH, seed=2) > -0.5 if masked else None
    actual = layer(X, padding_mask=real, mask=mask, causal=True)
    assert_layer_accurate(actual, layer, X, real, mask, causal=True)
    mask = None if mask is None else mask[:, :, :QUERIES]
    actual = layer(Y, source=source, padding_mask=real, mask=mask)
    assert_cross_accurate(actual, layer, source, real, mask)


def test_alibi_is_relative():
    layer = nn.MultiHeadAttention(HIDDEN, HEADS, alibi=True, rng=0)
    shifted = np.roll(X[:2], 5, axis=1)
    left = np.arange(LENGTH) >= [[5], [0]]
    np.testing.assert_array_equal(
        layer(shifted, padding_mask=left)[:1, 5:], layer(X[:1, :-5])
    )


# ---- Weights ------------------------------------------------------------------------


def assert_weights_accurate(weights, layer, x, source, **masks):
    def compute(dtype):
        w = Weights(layer.state_dict(), dtype)
        arrays = (None if a is None else a.astype(dtype) for a in (x, source))
        query, key, _ = projected(layer, w, *arrays)
        slopes = layer.alibi_slopes
        return reference.attention_weights(query, key, **masks, alibi_slopes=slopes)

    assert_accurate(weights, compute)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("masked", [False, True])
def test_weights(layer, source, padding, masked, causal):
    real = PADDINGS[padding]
    mask = batch(BATCH, 1, QUERIES, LENGTH, seed=2) > -0.5 if masked else None
    options = {"mask": mask, "causal": causal}
    out, weights = layer(
        Y, source=source, padding_mask=real, return_weights=True, **options
    )
    np.testing.assert_array_equal(
        out, layer(Y, source=source, padding_mask=real, **options)
    )
    seen = combined(real, mask)
    assert_weights_accurate(weights, layer, Y, source, mask=seen, causal=causal)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("alibi", [False, True])
def test_weights_of_a_sequence_to_itself(padding, alibi):
    layer = randomized(nn.MultiHeadAttention(HIDDEN, HEADS, alibi=alibi, rng=0))
    real = PADDINGS[padding]
    _, weights = layer(X, padding_mask=real, return_weights=True)
    if real is not None:
        assert not weights[np.broadcast_to(~real[:, None], weights.shape[:3])].any()
        both = real[:, None, :, None] & real[:, None, None, :]
        assert_weights_accurate(weights, layer, X, None, mask=both)
    else:
        assert_weights_accurate(weights, layer, X, None)


def test_one_sequence_has_no_batch(layer, source):
    out, weights = layer(Y[0], source=source[0], padding_mask=RIGHT[0], return_weights=True)
    assert out.shape == (QUERIES, HIDDEN)
    assert weights.shape == (HEADS, QUERIES, LENGTH)
    np.testing.assert_array_equal(
        out, layer(Y[:1], source=source[:1], padding_mask=RIGHT[:1])[0]
    )


# ---- Settings -----------------------------------------------------------------------


def test_weights_have_the_names_of_torch():
    fused = nn.MultiHeadAttention(12, 6, num_kv_heads=2)
    assert {key: weight.shape for key, weight in fused.state_dict().items()} == {
        "in_proj_weight": (20, 12),
        "in_proj_bias": (20,),
        "out_proj.weight": (12, 12),
        "out_proj.bias": (12,),
    }
    apart = nn.MultiHeadAttention(12, 6, num_kv_heads=2, source_size=7, bias=False)
    assert {key: weight.shape for key, weight in apart.state_dict().items()} == {
        "q_proj_weight": (12, 12),
        "k_proj_weight": (4, 7),
        "v_proj_weight": (4, 7),
        "out_proj.weight": (12, 12),
    }
    assert apart.in_proj_weight is None


def test_wrong_sources_are_named():
    layer = nn.MultiHeadAttention(HIDDEN, HEADS, source_size=OTHER)
    source = SOURCES[OTHER]
    with pytest.raises(ValueError, match=r"source is needed.*size 20, and x has size 48"):
        layer(Y)
    with pytest.raises(ValueError, match=r"source must have shape \(batch, length, 20\)"):
        layer(Y, source=X)
    with pytest.raises(ValueError, match=r"same batch, got shapes \(11, 48\) and \(4, 19"):
        layer(Y[0], source=source)
    with pytest.raises(ValueError, match=r"same batch, got shapes \(4, 11.*\(3, 19"):
        layer(Y, source=source[:3])
    with pytest.raises(
        ValueError, match=r"padding_mask must have shape.*\(4, 19\), got \(4, 11\)"
    ):
        layer(Y, source=source, padding_mask=np.ones((BATCH, QUERIES), bool))
    with pytest.raises(TypeError, match="source must be float32, got float64"):
        layer(Y, source=source.astype(float))

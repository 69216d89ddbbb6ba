"""Attention that gets its tokens bit by bit: the bits of the whole."""

import pickle

import numpy as np
import pytest
from support.layers import batch, randomized

import fastattn as fa
from fastattn import nn

BATCH, LENGTH, HIDDEN, HEADS = 2, 200, 24, 4
X = batch(BATCH, LENGTH, HIDDEN)
# Where the calls end: one token, several, none, across blocks of keys and queries.
CUTS = {
    "tokens": list(range(1, LENGTH + 1)),
    "chunks": [1, 64, 64, 65, 130, 199, 200],
    "prompt": [150, 151, 152, 200],
}


@pytest.fixture(
    params=[
        {},
        {"num_kv_heads": 1},
        {"rotary": 100.0},
        {"rotary": 100.0, "rotary_dim": 4, "rotary_interleaved": True},
        {"alibi": True},
        {"window": (70, None), "softcap": 2.0, "scale": 0.4, "head_dim": 8},
        {"qk_norm": "rms", "distance_bias": batch(HEADS, 5, seed=8)},
    ],
    ids=lambda options: ", ".join(options),
)
def layer(request):
    return randomized(nn.MultiHeadAttention(HIDDEN, HEADS, **request.param))


def continued(layer, x, cuts, **options):
    """Call a layer with one part after the other."""
    cache, start = nn.KeyValueCache(), 0
    for stop in cuts:
        yield layer(x[..., start:stop, :], cache=cache, **options)
        start = stop
        assert len(cache) == stop


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("threads", [1, 3])
def test_parts_equal_the_whole(layer, cuts, threads):
    with fa.num_threads(threads):
        parts = list(continued(layer, X, CUTS[cuts], causal=True))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), layer(X, causal=True))


def test_one_sequence_has_no_batch(layer):
    parts = list(continued(layer, X[0], CUTS["chunks"], causal=True))
    np.testing.assert_array_equal(np.concatenate(parts), layer(X, causal=True)[0])


def test_what_is_not_causal_sees_its_own_part_too(layer):
    first, second = continued(layer, X, [120, LENGTH])
    np.testing.assert_array_equal(first, layer(X[:, :120]))
    np.testing.assert_array_equal(second, layer(X)[:, 120:])


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_masks_and_weights(layer, kind):
    mask = batch(BATCH, HEADS, LENGTH, LENGTH, seed=2)
    mask = mask > -0.5 if kind == "bool" else mask
    whole, weights = layer(X, mask=mask, causal=True, return_weights=True)
    cache = nn.KeyValueCache()
    first = mask[:, :, :90, :90]
    layer(X[:, :90], cache=cache, mask=first, causal=True)
    part, seen = layer(
        X[:, 90:],
        cache=cache,
        mask=mask[:, :, 90:],
        causal=True,
        return_weights=True,
    )
    np.testing.assert_array_equal(part, whole[:, 90:])
    np.testing.assert_array_equal(seen, weights[:, :, 90:])


def test_a_cache_shows_what_it_holds(layer):
    cache = nn.KeyValueCache()
    assert len(cache) == 0
    assert cache.keys is None
    assert cache.values is None
    layer(X[:, :5], cache=cache)
    layer(X[:, 5:7], cache=cache)
    state = layer.state_dict()
    dim = layer.head_dim
    ends = HEADS * dim, (HEADS + layer.num_kv_heads) * dim
    rows, bias = (np.split(state[f"in_proj_{name}"], ends) for name in ("weight", "bias"))
    for i, shown in enumerate((cache.keys, cache.values), start=1):
        expected = fa.linear(X[:, :7], rows[i], bias[i])
        expected = expected.reshape(BATCH, 7, -1, dim).swapaxes(1, 2)
        if layer.k_norm is not None and i == 1:
            expected = layer.k_norm(expected)
        if layer.rotary is not None and i == 1:
            table = fa.rotary_positions(7, layer.rotary.dim, base=layer.rotary.base)
            form = {"interleaved": layer.rotary.interleaved}
            expected = fa.apply_rotary(expected, *table, **form)
        np.testing.assert_array_equal(shown, expected)
        with pytest.raises(ValueError, match="read-only"):
            shown[...] = 0


def test_memory_grows_by_doubling(layer, monkeypatch):
    made = []
    empty = np.empty

    def counted(shape, *rest):
        made.append(shape)
        return empty(shape, *rest)

    cache = nn.KeyValueCache()
    monkeypatch.setattr("fastattn.nn.cache.np.empty", counted)
    for i in range(LENGTH):
        layer(X[:, i : i + 1], cache=cache)
    capacities = [shape[3] for shape in made if isinstance(shape, tuple) and shape[4:]]
    assert len(capacities) <= 8
    assert capacities[-1] <= 2 * LENGTH


def test_a_copy_goes_its_own_way(layer):
    cache = nn.KeyValueCache()
    layer(X[:, :3], cache=cache)
    twin = pickle.loads(pickle.dumps(cache))
    expected = layer(X[:, 3:5], cache=twin)
    assert (len(cache), len(twin)) == (3, 5)
    np.testing.assert_array_equal(layer(X[:, 3:5], cache=cache), expected)


def test_an_empty_cache_fits_every_layer(layer):
    cache = nn.KeyValueCache()
    assert layer(X[:1, :0], cache=cache).shape == (1, 0, HIDDEN)
    other = nn.MultiHeadAttention(HIDDEN, 2, rng=0)
    np.testing.assert_array_equal(other(X, cache=cache), other(X))


def test_a_call_that_fails_changes_nothing(layer):
    cache = nn.KeyValueCache()
    expected = layer(X[:, :3], causal=True)
    layer(X[:, :2], cache=cache)
    before = cache.keys.copy()
    with pytest.raises(ValueError, match=r"does not broadcast to .*1, 3\)"):
        layer(X[:, 2:3], cache=cache, mask=np.ones((1, 4), bool))
    with pytest.raises(
        ValueError, match=r"holds 2 sequences with . heads of size ., got 1"
    ):
        layer(X[:1, 2:3], cache=cache)
    with pytest.raises(ValueError, match="belongs to one layer and one batch"):
        nn.MultiHeadAttention(HIDDEN, 2)(X[:, 2:3], cache=cache)
    for padding in ({"padding_mask": np.ones((BATCH, 1), bool)}, {"lengths": [1, 1]}):
        with pytest.raises(ValueError, match="a cache, source, padding_mask and lengths"):
            layer(X[:, 2:3], cache=cache, **padding)
    with pytest.raises(ValueError, match="with a cache, source"):
        layer(X[:, 2:3], source=X, cache=cache)
    np.testing.assert_array_equal(cache.keys, before)
    result = layer(X[:, 2:3], cache=cache, causal=True)
    np.testing.assert_array_equal(result, expected[:, 2:])

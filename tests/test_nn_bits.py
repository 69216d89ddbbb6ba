"""Layers: the same bits for any threads, batch and padding, and in a copy."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.layers import (
    BATCH,
    GAPS,
    HEADS,
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
from fastattn.nn import buffers, sequence_layer
from fastattn.nn.sequences import Sequences
from fastattn.padding import packing_of


@pytest.fixture(params=SEQUENCE_LAYERS)
def layer(request):
    """Every kind of layer that looks along a sequence."""
    return randomized(SEQUENCE_LAYERS[request.param]())


def test_lengths_equal_mask(layer):
    np.testing.assert_array_equal(layer(X, lengths=LENGTHS), layer(X, padding_mask=RIGHT))
    np.testing.assert_array_equal(
        layer(X, padding_mask=RIGHT.astype(np.int64)), layer(X, padding_mask=RIGHT)
    )


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("masked", [False, True])
def test_threads(layer, threads, masked):
    mask = batch(LENGTH, LENGTH) > -0.5 if masked else None
    with fa.num_threads(1):
        alone = layer(X, lengths=LENGTHS, mask=mask)
    with fa.num_threads(threads):
        together = layer(X, lengths=LENGTHS, mask=mask)
    np.testing.assert_array_equal(together, alone)


def test_rows_of_working_memory_that_lie_apart(layer, monkeypatch):
    expected = layer(X, lengths=LENGTHS)
    monkeypatch.setattr(buffers, "PAGE", 1)
    found = layer(X, lengths=LENGTHS)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", [{}, {"causal": True}])
@pytest.mark.parametrize("padding", [None, RIGHT, GAPS, np.arange(BATCH)[:, None] == 1])
def test_a_batch_in_parts(layer, kind, padding, threads, monkeypatch):
    if padding is not None:
        padding = np.broadcast_to(padding, X.shape[:2])
    with fa.num_threads(threads):
        expected = layer(X, padding_mask=padding, **kind)
        for tokens in (1, LENGTH, 2 * LENGTH):
            monkeypatch.setattr(sequence_layer, "PART_TOKENS", tokens)
            found = layer(X, padding_mask=padding, **kind)
            np.testing.assert_array_equal(found, expected)


def test_a_masked_batch_is_one_part(layer, monkeypatch):
    masks = batch(BATCH, HEADS, LENGTH, LENGTH, seed=2) > -0.5
    expected = layer(X, lengths=LENGTHS, mask=masks)
    monkeypatch.setattr(sequence_layer, "PART_TOKENS", 1)
    np.testing.assert_array_equal(layer(X, lengths=LENGTHS, mask=masks), expected)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_parts_are_the_sequences_in_order(count):
    lengths = [3, 0, 8, 1, 0, 0, 5, 9]
    packing = packing_of(len(lengths), 9, lengths=lengths)
    parts = list(Sequences(packing, packing).parts(count))
    tokens = np.arange(sum(lengths))
    np.testing.assert_array_equal(
        np.concatenate([tokens[rows] for rows, _ in parts]), tokens
    )
    found = np.concatenate([np.diff(part.queries.cu_seqlens) for _, part in parts])
    np.testing.assert_array_equal(found[found > 0], [n for n in lengths if n])
    assert len(parts) <= count
    assert max(rows.stop - rows.start for rows, _ in parts) <= -(-26 // count) + 9


def test_a_sequence_alone_in_a_batch_and_padded(layer):
    padded = layer(X, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone = layer(X[row, :length])
        np.testing.assert_array_equal(padded[row, :length], alone)
        np.testing.assert_array_equal(layer(X[row : row + 1, :length])[0], alone)


def test_a_masked_sequence_alone_in_a_batch_and_padded(layer):
    masks = batch(BATCH, HEADS, LENGTH, LENGTH, seed=2) > -0.5
    padded = layer(X, lengths=LENGTHS, mask=masks)
    for row, length in enumerate(LENGTHS):
        cut = masks[row, :, :length, :length]
        alone = layer(X[row, :length], mask=cut)
        np.testing.assert_array_equal(padded[row, :length], alone)


def test_a_mask_that_says_causal_is_causal(layer):
    mask = np.tri(LENGTH, dtype=bool)
    np.testing.assert_array_equal(
        layer(X, padding_mask=RIGHT, mask=mask), layer(X, padding_mask=RIGHT, causal=True)
    )


def test_a_mask_that_hides_nothing_is_no_mask(layer):
    np.testing.assert_array_equal(
        layer(X, padding_mask=GAPS, mask=np.ones((LENGTH, LENGTH), bool)),
        layer(X, padding_mask=GAPS),
    )


def test_many_threads_call_one_layer(layer):
    expected = [layer(X[:, :n]) for n in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            results = pool.map(lambda n: layer(X[:, :n]), range(1, 9))
            for result, right in zip(results, expected, strict=True):
                np.testing.assert_array_equal(result, right)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))]
)
def test_copies_are_equal_and_independent(layer, duplicate):
    twin = duplicate(layer)
    before = layer(X, lengths=LENGTHS)
    np.testing.assert_array_equal(twin(X, lengths=LENGTHS), before)
    randomized(twin, seed=9)
    assert not np.array_equal(twin(X, lengths=LENGTHS), before)
    np.testing.assert_array_equal(layer(X, lengths=LENGTHS), before)


@pytest.mark.parametrize(
    "twin",
    [
        nn.Linear(4, 3),
        nn.LayerNorm(4),
        nn.FeedForward(4, 3),
        nn.PositionalEncoding(4, 3),
    ],
    ids=repr,
)
def test_row_layers_pickle(twin):
    x = batch(3, 4)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(twin))(x), twin(x))


def test_a_residual_that_is_added_twice():
    parts = nn.MultiHeadAttention(8, 2, rng=0), nn.FeedForward(8, 6, rng=1)
    norms = [nn.LayerNorm(8, eps) for eps in (0.1, 0.2, 0.3, 0.4)]
    inside, after = tuple(norms[:2]), tuple(norms[2:])
    layer = nn.EncoderLayer.from_parts(
        *parts, inside=inside, after=after, twice=(True, False)
    )
    x = batch(2, 5, 8)
    h = after[0](inside[0](parts[0](x) + x) + x)
    assert_same_bits(layer(x), after[1](inside[1](parts[1](h)) + h))

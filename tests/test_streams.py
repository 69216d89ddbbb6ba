"""TextEncoder.encode_stream: order, bits, memory, errors in their place."""

import itertools
import tracemalloc
import warnings

import numpy as np
import pytest
from support.bits import assert_same_bits

import fastattn as fa
from fastattn import streams

LONG = "run " * 100


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(streams, "PART_TEXTS", 4)


def texts(count):
    return [f"{i} " + "the dog " * (i % 7) for i in range(count)]


def test_blocks_are_the_vectors_in_order(model, short_parts):
    blocks = list(model.encode_stream(iter(texts(10))))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert_same_bits(np.concatenate(blocks), model.encode(texts(10)))


def test_options_are_those_of_encode(model, short_parts):
    options = {"prompt": "one ", "truncate_dim": 7, "precision": "float16"}
    blocks = list(model.encode_stream(texts(5), **options))
    expected = model.encode(texts(5), **options)
    np.testing.assert_array_equal(np.concatenate(blocks), expected, strict=True)


def test_tokens(model, short_parts):
    states = [s for b in model.encode_stream(texts(5), output="tokens") for s in b]
    every = model.encode(texts(5), output="tokens")
    for state, expected in zip(states, every, strict=True):
        assert_same_bits(state, expected)


def test_there_need_be_no_end(model, short_parts):
    stream = model.encode_stream(f"text {i}" for i in itertools.count())
    assert [next(stream).shape for _ in range(3)] == [(4, 32)] * 3


def test_no_texts(model):
    assert list(model.encode_stream([])) == []


def test_one_text(model):
    (block,) = model.encode_stream("the cat")
    assert_same_bits(block, model.encode(["the cat"]))


def test_long_texts_fill_a_part(model, monkeypatch):
    monkeypatch.setattr(streams, "PART_CHARACTERS", len(LONG))
    blocks = model.encode_stream(["a", LONG, LONG, "b"], on_truncation="ignore")
    assert [len(block) for block in blocks] == [2, 1, 1]


class TestErrors:
    @pytest.mark.parametrize(
        ("bad", "error", "message"),
        [
            (7, TypeError, r"inputs\[5\] must be a str, got int"),
            ("\ud800", ValueError, r"inputs\[5\] is not valid Unicode"),
            (LONG, ValueError, r"inputs\[5\] has more than 48 tokens"),
        ],
    )
    def test_come_behind_what_is_before(self, model, short_parts, bad, error, message):
        stream = model.encode_stream([*texts(5), bad, *texts(5)], on_truncation="error")
        blocks = []
        with pytest.raises(error, match=message):
            for block in stream:
                blocks.append(block)  # noqa: PERF402
        assert_same_bits(np.concatenate(blocks), model.encode(texts(5)))

    def test_of_what_gives_the_texts_come_behind_them_too(self, model, short_parts):
        def lines():
            yield from texts(5)
            raise OSError("the disk is gone")

        stream = model.encode_stream(lines())
        assert [len(next(stream)), len(next(stream))] == [4, 1]
        with pytest.raises(OSError, match="the disk is gone"):
            next(stream)

    @pytest.mark.parametrize(
        ("inputs", "options", "error"),
        [
            ({"a": 1}, {}, TypeError),
            (7, {}, TypeError),
            (["a"], {"truncate_dim": 0}, ValueError),
            (["a"], {"batch_size": 3}, TypeError),
            (["a"], {"num_threads": 0}, ValueError),
            (["a"], {"show_progress": "yes"}, TypeError),
        ],
    )
    def test_about_the_call_come_at_once(self, model, inputs, options, error):
        with pytest.raises(error):
            model.encode_stream(inputs, **options)


class TestTruncation:
    def test_warns_at_the_first_and_at_the_end(self, model, short_parts):
        stream = model.encode_stream(["a", "b", LONG, "c", "d", LONG, LONG])
        with pytest.warns(fa.TruncationWarning, match=r"^inputs\[2\] cut at 48 tokens$"):
            next(stream)
        with pytest.warns(fa.TruncationWarning, match="^3 of 7 texts cut at 48 tokens$"):
            list(stream)

    def test_or_not(self, model):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            list(model.encode_stream(["a", LONG], on_truncation="ignore"))
            list(model.encode_stream(["a"]))


def test_memory_does_not_grow_with_the_texts(model):
    def peak(count):
        tracemalloc.start()
        try:
            lines = ("the cat is red" for _ in range(count))
            for _ in model.encode_stream(lines, batch_tokens=256, num_threads=1):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1100)
    assert peak(6_000) < 1.2 * peak(2_100)

"""Texts into tokens: long ones by parts, little at a time, by as many threads as asked."""

import pytest
from support.folders import TINY
from support.processes import printed
from support.tokens import Counted, tokens_of

import fastattn as fa
from fastattn.models.tokenization import SLICE_CHARACTERS, Tokenization

TEXTS = [
    "the cat",
    "",
    "the red dog, under the sky! " * 900,
    "!" * 30_000,
    "unbelievable" * 5_000,  # one word
    " " * 20_000,  # no word
    "中" * 20_000,
    "e\u0301\u0323" * 9_000,
    "the cat " * 40 + "\x00" * 20_000 + " is",  # less than max_length
]


@pytest.fixture
def tokenizer():
    return fa.load(TINY).tokenizer


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("prompt", ["", "query: ", "one of the texts " * 300])
@pytest.mark.parametrize("threads", [1, 2])
def test_long_texts(tokenizer, side, prompt, threads):
    tokenizer.enable_truncation(48, direction=side)
    found = tokens_of(Tokenization(tokenizer, prompt, threads), TEXTS)
    for text, tokens in zip(TEXTS, found, strict=True):
        whole = tokenizer.encode(prompt + text)
        assert tokens.ids.tolist() == whole.ids
        assert tokens.types.tolist() == whole.type_ids
        assert tokens.cut == bool(whole.overflowing)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_little_at_once(tokenizer, threads):
    counted = Counted(tokenizer)
    texts = ["the cat is red " * 20] * 2000 + ["the dog ! " * 100_000] * 5 + ["x"]
    found = tokens_of(Tokenization(counted, "", threads), texts)
    assert len(found) == len(texts)
    assert counted.most <= SLICE_CHARACTERS * threads + 1000


def test_of_a_long_text_little_is_tokenized(tokenizer):
    for texts in (["the cat " * 100_000], ["!" * 1_000_000] * 4):
        counted = Counted(tokenizer)
        tokens_of(Tokenization(counted, "", 1), texts)
        assert counted.most < 1000


def test_of_a_long_text_that_is_traced_little_is_tokenized():
    model, text = fa.load(TINY), "the cat " * 100_000
    whole = model.tokenizer.encode(text)
    model.tokenizer = counted = Counted(model.tokenizer)
    with pytest.warns(fa.TruncationWarning):
        encoding = fa.trace(model, text, names="embeddings").encoding
    assert counted.most < 1000
    assert encoding.tokens == whole.tokens
    assert encoding.offsets == whole.offsets


@pytest.mark.parametrize("place", [0, 100, 90_000])
def test_lone_surrogates_anywhere(place):
    texts = ["x", "é" * place + "\ud800" + "!" * 50_000]
    with pytest.raises(ValueError, match=r"inputs\[1\] is not valid Unicode"):
        fa.load(TINY).encode(texts)


IN_A_PROCESS = f"""
    import os, resource, sys
    import fastattn as fa
    model = fa.load({str(TINY)!r})
    def status(name):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name))
"""


@pytest.mark.parametrize("call", ["num_threads=1", "", "num_threads=2"])
def test_threads(call):
    threads = printed(
        IN_A_PROCESS
        + f"""
    with fa.num_threads(1):
        before = len(os.listdir("/proc/self/task"))
        model.encode(["the cat", "!" * 100_000] * 9, on_truncation="ignore", {call})
    print(len(os.listdir("/proc/self/task")) - before)
    """
    )
    assert (threads == "0") == (call != "num_threads=2")


@pytest.mark.memory
def test_memory_of_long_texts():
    grown = printed(
        IN_A_PROCESS
        + """
    texts = [part * (1_000_000 // len(part)) for part in ("!", "the cat ", "中", "'s")]
    model.encode("the cat")
    before = status("VmHWM")
    model.encode(texts, on_truncation="ignore")
    print(status("VmHWM") - before)
    """
    )
    assert int(grown) < 10_000  # KiB

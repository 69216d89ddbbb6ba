"""Pairs of texts into tokens, as the tokenizer itself puts pairs together and cuts them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.folders import TINY
from support.tokens import Counted, tokens_of
from tokenizers import Tokenizer, processors

import fastattn as fa
from fastattn.models import read_model
from fastattn.models.folder import Folder
from fastattn.models.pairs import PairTokenization, Template, encode_pair, read_template

TEMPLATES = {
    "two types": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "doubled": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]"),
    "nothing in front": ("$A [SEP]", "$A:1 [SEP] $B:1 [SEP]"),
    "nothing": ("$A", "$A $B"),
}

TEXT = st.one_of(
    st.lists(st.sampled_from(["the", "cat", "[SEP]", "é", "狐", "unbelievable"])).map(
        " ".join
    ),
    st.integers(0, 60).map(lambda n: "the cat is red. " * n),
    st.integers(0, 200).map(lambda n: "!" * n),
)


def make(template="two types"):
    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    single, pair = TEMPLATES[template]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def check(tokenizer, pairs, prompt="", threads=1):
    truncation = tokenizer.truncation
    tokenizer.no_truncation()
    template = Template.of(tokenizer)
    tokenizer.enable_truncation(**truncation)
    found = tokens_of(PairTokenization(template, tokenizer, prompt, threads), pairs)
    for (first, second), tokens in zip(pairs, found, strict=True):
        whole = tokenizer.encode(prompt + first, second)
        assert tokens.ids.tolist() == whole.ids
        assert tokens.types.tolist() == whole.type_ids
        assert tokens.cut == bool(whole.overflowing)
        traced = encode_pair(tokenizer, prompt, (first, second))
        assert bool(traced.overflowing) == tokens.cut
        for known in ("ids", "type_ids", "tokens", "special_tokens_mask", "sequence_ids"):
            assert getattr(traced, known) == getattr(whole, known)


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6),
    template=st.sampled_from(sorted(TEMPLATES)),
    length=st.integers(5, 40),
    side=st.sampled_from(["right", "left"]),
    prompt=st.sampled_from(["", "one text: "]),
    threads=st.sampled_from([1, 2]),
)
def test_as_the_tokenizer_does_it(pairs, template, length, side, prompt, threads):
    tokenizer = make(template)
    tokenizer.enable_truncation(length, direction=side)
    check(tokenizer, pairs, prompt, threads)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("length", [20, 21])
@pytest.mark.parametrize("lengths", [(8, 8), (9, 8), (30, 21), (21, 30), (200, 201)])
def test_of_an_odd_number_the_longer_text_keeps_one_more(side, length, lengths):
    tokenizer = make()
    tokenizer.enable_truncation(length, direction=side)
    first, second = ("the " * n for n in lengths)
    check(tokenizer, [(first, second), (second, first)])


def test_a_text_of_many_pairs_is_tokenized_once():
    tokenizer = make()
    template = Template.of(tokenizer)
    tokenizer.enable_truncation(16)
    counted = Counted(tokenizer)
    pairs = [("the query", f"the cat is {i}") for i in range(1000)]
    tokens_of(PairTokenization(template, counted, "a ", 1), pairs)
    assert counted.given.count("a the query") == 1
    assert len(counted.given) == 1001


def test_of_long_texts_little_is_tokenized():
    tokenizer = make()
    template = Template.of(tokenizer)
    tokenizer.enable_truncation(16)
    counted = Counted(tokenizer)
    pairs = [("the cat " * 100_000, "!"), ("a", "the dog " * 100_000)]
    tokens_of(PairTokenization(template, counted, "", 1), pairs)
    for pair in pairs:
        encode_pair(counted, "", pair)
    assert counted.most < 1000


@pytest.mark.parametrize("pair", [("\ud800", "a"), ("a", "é" * 90_000 + "\ud800")])
def test_lone_surrogates(pair):
    tokenizer = make()
    template = Template.of(tokenizer)
    tokenizer.enable_truncation(16)
    side = int("\ud800" in pair[1])
    message = rf"inputs\[2\]\[{side}\] is not valid Unicode"
    with pytest.raises(ValueError, match=message):
        tokens_of(
            PairTokenization(template, tokenizer, "", 1), [("a", "b"), ("b", "a"), pair]
        )


class TestFolders:
    """What a folder says about pairs."""

    def read(self, folder, template="two types", length=16):
        tokenizer = make(template)
        tokenizer.enable_truncation(length)
        return read_template(Folder(folder), tokenizer, read_model(Folder(folder)))

    def test_too_short_for_the_special_tokens(self):
        message = r"tokenizer\.json: adds 4 special tokens to a pair of at most 4"
        with pytest.raises(fa.ModelFormatError, match=message):
            self.read(TINY, "doubled", length=4)

    def test_a_type_without_a_vector(self, tmp_path, monkeypatch):
        monkeypatch.setitem(TEMPLATES, "three types", ("$A", "$A $B:2"))
        message = "post_processor adds the token type 2 to a pair, the model has 2"
        with pytest.raises(fa.ModelFormatError, match=message):
            self.read(TINY, "three types")

    @pytest.mark.parametrize("pair", ["$A $A $B", "$B $A", "$A"])
    def test_a_template_that_is_none(self, monkeypatch, pair):
        tokenizer = make()
        if pair == "$A":
            tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
            assert np.array_equal(Template.of(tokenizer).special[1], [3])
            return
        monkeypatch.setitem(TEMPLATES, "odd", ("$A", pair))
        with pytest.raises(fa.ModelFormatError, match="must take each of two texts"):
            self.read(TINY, "odd")

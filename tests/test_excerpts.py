"""Parts of long texts: their tokens are those of the whole texts, whatever is in them."""

import random
from functools import cache

import pytest
from support.folders import TINY
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from fastattn.models.excerpts import Excerpts

CORPUS = [
    "the cat sat on the mat, it's red; we'll see 12345 dogs!",
    "résumé naïve (unbelievable) internationalization",
    "中文字符 日本語 한국어",
]
# What texts are made of; each kind is one that some step of a tokenizer may not let be cut.
KINDS = {
    "words": ["the ", "cat ", "it's ", "we'll ", "unbelievable ", "12345 ", "dog", "X, "],
    "punctuation": ["!", "?!", "'", "''s ", "``", "...", "-_-", '"quoted" '],
    "chinese": ["中", "文字", "狐", "日本語テ", "한국어", "\u1100\u1161\u11a8"],
    "marks": ["e\u0301", "o\u0323 ", "\u0f71" * 9, "x" + "\u0301\u0323" * 20, "\u00b4"],
    "long words": ["internationalization" * 9, "a" * 50, "1" * 70, "x-" * 30, " "],
    "white space": [" ", "  ", " " * 90, "\n\n", "\t", "\u3000", "\u200b", "a ", "▁"],
    "added tokens": ["[MASK]", " <mask> ", "<ma", "New York ", "New", "aa", " " * 40],
}
KINDS["everything"] = [piece for kind in KINDS.values() for piece in kind]
ADDED = [
    AddedToken("[MASK]", special=True, normalized=False),
    AddedToken("<mask>", lstrip=True, normalized=False),
]
# They may begin in words, span spaces, take those beside them.
ODD_TOKENS = [
    AddedToken("New York", normalized=True, rstrip=True),
    AddedToken("aa", single_word=True, lstrip=True),
]


def wordpiece():
    return Tokenizer.from_file(str(TINY / "tokenizer.json"))


def bpe(**options):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(**options)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("a", 0), ("b", 1))
    return tokenizer


def unigram(normalizer, pre_tokenizer):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    trainer = trainers.UnigramTrainer(
        vocab_size=120, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def in_steps(model, *steps):
    """Change a tokenizer so that it splits at words, then otherwise."""
    tokenizer = model()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(list(steps))
    return tokenizer


SPACES = normalizers.Replace(Regex(" {2,}"), " ")
SENTENCEPIECE = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), SPACES])
ALBERT = normalizers.Sequence(
    [
        normalizers.Replace("``", '"'),
        normalizers.NFKD(),
        normalizers.StripAccents(),
        normalizers.Lowercase(),
        normalizers.Strip(),
    ]
)
TOKENIZERS = {
    "WordPiece": wordpiece,
    "BPE": lambda: bpe(add_prefix_space=False),
    "BPE with a space in front": lambda: bpe(add_prefix_space=True),
    "Unigram": lambda: unigram(SENTENCEPIECE, pre_tokenizers.Metaspace()),
    "Unigram of words": lambda: unigram(
        ALBERT,
        pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        ),
    ),
    "WordPiece of digits": lambda: in_steps(
        wordpiece, pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True)
    ),
    "WordPiece of punctuation": lambda: in_steps(
        wordpiece, pre_tokenizers.Punctuation("merged_with_previous")
    ),
}


class Backwards:
    """A step that is written in Python."""

    def pre_tokenize(self, text):
        text.split(lambda _, part: [part])


# Steps that look anywhere, so that nothing is known about a part.
UNKNOWN = {
    "regular expression": pre_tokenizers.Split(Regex("a.*b|."), "isolated"),
    "places": pre_tokenizers.FixedLength(5),
    "scripts": pre_tokenizers.UnicodeScripts(),
    "Python": pre_tokenizers.PreTokenizer.custom(Backwards()),
    "long pattern": pre_tokenizers.Split("abc", "removed"),
    "pattern with a space": pre_tokenizers.Split("a ", "removed"),
}
UNKNOWN_NORMALIZERS = {
    "regular expression": normalizers.Replace(Regex("a.*b"), "c"),
    "nothing": normalizers.Replace("a", ""),
    "white space": normalizers.Replace("a", " "),
}


@cache
def made(name):
    return TOKENIZERS[name]().to_str()


def tokenizer_of(name, added, max_length, side):
    tokenizer = Tokenizer.from_str(made(name))
    tokenizer.no_padding()
    tokenizer.add_tokens(added)
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    tokenizer.enable_truncation(max_length + special, direction=side)
    return tokenizer


def settled(tokenizer, text):
    """Count the parts of a text that settle its tokens, which must be the right ones."""
    excerpts = Excerpts(tokenizer)
    if excerpts.first_size(10**9) == 10**9:
        return 0
    whole = tokenizer.encode(text)
    count = 0
    for size in range(1, len(text), 8):
        part = excerpts.part("", text, size)
        encoding = tokenizer.encode(part)
        if excerpts.settle(part, encoding):
            count += 1
            assert encoding.ids == whole.ids, (text, size)
            assert encoding.type_ids == whole.type_ids
            assert whole.overflowing
    return count


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_of_parts(name, kind, side):
    rng = random.Random(f"{name} {kind} {side}")
    count = 0
    for added in (ADDED, ADDED + ODD_TOKENS):
        for max_length in (1, 6):
            tokenizer = tokenizer_of(name, added, max_length, side)
            pieces = rng.choices([*KINDS[kind], " "], k=200)
            count += settled(tokenizer, "".join(pieces)[:450])
    if kind == "words" and side == "right":
        assert count > 50


def takes_whole_texts(tokenizer):
    return Excerpts(tokenizer).first_size(10**9) == 10**9


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_pre_tokenizers(name):
    tokenizer = tokenizer_of("WordPiece", [], 8, "right")
    assert not takes_whole_texts(tokenizer)
    tokenizer.pre_tokenizer = UNKNOWN[name]
    assert takes_whole_texts(tokenizer)


@pytest.mark.parametrize("name", UNKNOWN_NORMALIZERS)
def test_unknown_normalizers(name):
    tokenizer = tokenizer_of("WordPiece", [], 8, "right")
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), UNKNOWN_NORMALIZERS[name]]
    )
    assert takes_whole_texts(tokenizer)


@pytest.mark.parametrize(
    "token", [*ODD_TOKENS, AddedToken("a b"), AddedToken("a", rstrip=True)]
)
def test_added_tokens_that_take_spaces_on_the_left(token):
    assert not takes_whole_texts(tokenizer_of("WordPiece", [token], 8, "right"))
    assert not takes_whole_texts(tokenizer_of("WordPiece", [], 8, "left"))
    assert takes_whole_texts(tokenizer_of("WordPiece", [token], 8, "left"))


@pytest.mark.parametrize("tokens", [1, 40])
def test_a_word_without_end_settles_nothing(tokens):
    tokenizer = tokenizer_of("BPE", [], tokens, "right")
    excerpts = Excerpts(tokenizer)
    for size in (100, 1000, 10_000):
        part = excerpts.part("the ", "cat " + "!" * 20_000, size)
        # The first words are settled; the third is not known as long as it goes on.
        assert excerpts.settle(part, tokenizer.encode(part)) == (tokens == 1)

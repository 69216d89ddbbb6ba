"""Texts into tokens, so many at once that memory and the wait for Ctrl-C have a bound."""

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy import int64
from numpy.typing import NDArray

from ..errors import ModelFormatError
from .excerpts import Excerpts
from .folder import errors_of_library

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

# Texts handed to the tokenizer at once, and their characters for each thread, which take
# some 0.1 s at worst: until it is done with them, nobody looks for signals.
SLICE_TEXTS = 256
SLICE_CHARACTERS = 2**15

SURROGATE = re.compile("[\ud800-\udfff]")


class Tokens(NamedTuple):
    """The token ids and token types of one text, and whether it was cut."""

    ids: NDArray[int64]
    types: NDArray[int64]
    cut: bool


class Tokenization:
    """How the texts of one call become tokens, with a prompt in front of each."""

    def __init__(self, tokenizer: "Tokenizer", prompt: str, threads: int) -> None:
        self._tokenizer = tokenizer
        self._excerpts = Excerpts(tokenizer)
        self._prompt = prompt
        self._threads = threads

    def slice_end(self, texts: list[str], start: int) -> int:
        """Find where the texts end that are tokenized at once, those from `start` on."""
        room = SLICE_CHARACTERS * self._threads
        for index in range(start, min(start + SLICE_TEXTS, len(texts))):
            room -= self._first_size(texts[index])
            if room <= 0:
                return index + 1
        return min(start + SLICE_TEXTS, len(texts))

    def tokens(self, texts: list[str], first: int) -> list[Tokens]:
        """Tokenize some texts, the first of which has the index `first`."""
        parts = [self._part(text, self._first_size(text)) for text in texts]
        cut = [i for i, text in enumerate(texts) if len(parts[i]) < self._length(text)]
        for index in cut:
            check_unicode(texts[index], first + index)
        try:
            with errors_of_library("tokenizer.json"):
                encodings = self._encode(parts, positions=bool(cut))
                for index in cut:
                    if not self._excerpts.settle(parts[index], encodings[index]):
                        encodings[index] = self._encode_longer(texts[index])
        except ModelFormatError:
            for index, text in enumerate(texts, first):
                check_unicode(text, index)
            raise
        return [
            Tokens(
                np.array(encoding.ids, int64),
                np.array(encoding.type_ids, int64),
                bool(encoding.overflowing),
            )
            for encoding in encodings
        ]

    def _encode_longer(self, text: str) -> "Encoding":
        """Tokenize longer parts of a text, until one settles its tokens or is the text."""
        size = 2 * self._first_size(text)
        while size < self._length(text):
            part = self._part(text, size)
            (encoding,) = self._encode([part], positions=True)
            if self._excerpts.settle(part, encoding):
                return encoding
            size *= 2
        (encoding,) = self._encode([self._prompt + text])
        return encoding

    def _encode(self, texts: list[str], positions: bool = False) -> "list[Encoding]":
        """Tokenize texts; without positions, nobody learns which words tokens are of."""
        # Together, texts are tokenized by threads of the library's own.
        if self._threads == 1:
            return [self._tokenizer.encode(text) for text in texts]
        if positions:
            return self._tokenizer.encode_batch(texts)
        return self._tokenizer.encode_batch_fast(texts)

    def _length(self, text: str) -> int:
        return len(self._prompt) + len(text)

    def _first_size(self, text: str) -> int:
        return self._excerpts.first_size(self._length(text))

    def _part(self, text: str, size: int) -> str:
        return self._excerpts.part(self._prompt, text, size)


def check_unicode(text: str, index: int) -> None:
    """Raise ValueError for a text that cannot be tokenized, by its index."""
    if has_surrogate(text):
        raise ValueError(f"inputs[{index}] is not valid Unicode: it has a lone surrogate")


def has_surrogate(text: str) -> bool:
    """Whether a str holds half of a UTF-16 pair, which no encoder of Unicode takes."""
    return not text.isascii() and SURROGATE.search(text) is not None

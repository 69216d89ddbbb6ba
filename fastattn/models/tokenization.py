"""Texts into tokens, so many at once that memory and the wait for Ctrl-C have a bound."""

import re
from collections.abc import Callable, Iterable
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
    """How the texts of one call become tokens, with a prompt in front of each.

    Without `special` they are those of the text alone, as many as with special ones.
    """

    def __init__(
        self, tokenizer: "Tokenizer", prompt: str, threads: int, *, special: bool = True
    ) -> None:
        self._tokenizer = tokenizer
        self._excerpts = Excerpts(tokenizer)
        self._prompt = prompt
        self._threads = threads
        self._special = special

    def slice_end(self, texts: list[str], start: int) -> int:
        """Find where the texts end that are tokenized at once, those from `start` on."""
        sizes = map(self.first_size, texts[start : start + SLICE_TEXTS])
        return start + slice_length(sizes, self._threads)

    def tokens(self, texts: list[str], first: int) -> list[Tokens]:
        """Tokenize some texts, the first of which has the index `first`."""
        return self.named_tokens(texts, lambda index: f"inputs[{first + index}]")

    def named_tokens(self, texts: list[str], name: Callable[[int], str]) -> list[Tokens]:
        """Tokenize some texts, each of which errors call by its name."""
        return [
            Tokens(
                np.array(encoding.ids, int64),
                np.array(encoding.type_ids, int64),
                bool(encoding.overflowing),
            )
            for encoding in self.encodings(texts, name)
        ]

    def encodings(self, texts: list[str], name: Callable[[int], str]) -> "list[Encoding]":
        """Tokenize some texts as `named_tokens`, and give all that the library says.

        Where a text is cut on the left, offsets count from where it was cut.
        """
        parts = [self._part(text, self.first_size(text)) for text in texts]
        cut = [i for i, text in enumerate(texts) if len(parts[i]) < self._length(text)]
        for index in cut:
            check_unicode(texts[index], name(index))
        try:
            with errors_of_library("tokenizer.json"):
                encodings = self._encode(parts, positions=bool(cut))
                for index in cut:
                    if not self._excerpts.settle(parts[index], encodings[index]):
                        size = 2 * self.first_size(texts[index])
                        _, encodings[index] = self._settled(texts[index], size)
        except ModelFormatError:
            for index, text in enumerate(texts):
                check_unicode(text, name(index))
            raise
        return encodings

    def count(self, text: str) -> int:
        """Count all tokens of a text, however many are kept."""
        (encoding,) = self._encode([self._prompt + text])
        return len(encoding) + sum(map(len, encoding.overflowing))

    def excerpt(self, text: str, name: str) -> tuple[str, bool]:
        """Get a part of a text with all tokens that are kept, and say if there are more."""
        check_unicode(text, name)
        with errors_of_library("tokenizer.json"):
            part, encoding = self._settled(text, self.first_size(text))
        return part, bool(encoding.overflowing)

    def _settled(self, text: str, size: int) -> "tuple[str, Encoding]":
        """Tokenize parts of a text, of a size or longer, until one settles its tokens."""
        while size < self._length(text):
            part = self._part(text, size)
            (encoding,) = self._encode([part], positions=True)
            if self._excerpts.settle(part, encoding):
                return part, encoding
            size *= 2
        whole = self._prompt + text
        return whole, self._encode([whole])[0]

    def _encode(self, texts: list[str], positions: bool = False) -> "list[Encoding]":
        """Tokenize texts; without positions, nobody learns which words tokens are of."""
        # Together, texts are tokenized by threads of the library's own.
        if self._threads == 1:
            encode = self._tokenizer.encode
            return [encode(text, add_special_tokens=self._special) for text in texts]
        if positions:
            encode_batch = self._tokenizer.encode_batch
        else:
            encode_batch = self._tokenizer.encode_batch_fast
        return encode_batch(texts, add_special_tokens=self._special)

    def _length(self, text: str) -> int:
        return len(self._prompt) + len(text)

    def first_size(self, text: str) -> int:
        """Tell how many characters of a text, and of the prompt, are tokenized at first."""
        return self._excerpts.first_size(self._length(text))

    def _part(self, text: str, size: int) -> str:
        return self._excerpts.part(self._prompt, text, size)


def slice_length(sizes: Iterable[int], threads: int) -> int:
    """Tell how many texts are tokenized at once, by the characters of each."""
    room, length = SLICE_CHARACTERS * threads, 0
    for size in sizes:
        room, length = room - size, length + 1
        if room <= 0:
            break
    return length


def check_unicode(text: str, name: str) -> None:
    """Raise ValueError for a text that cannot be tokenized, by its name."""
    if has_surrogate(text):
        raise ValueError(f"{name} is not valid Unicode: it has a lone surrogate")


def has_surrogate(text: str) -> bool:
    """Whether a str holds half of a UTF-16 pair, which no encoder of Unicode takes."""
    return not text.isascii() and SURROGATE.search(text) is not None

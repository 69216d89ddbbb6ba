"""Texts that may have no end, a part at a time."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .arrays import as_text
from .models.tokenization import check_unicode

# Texts of a part, and their characters. A part fills several batches, so that texts of
# similar length are found for each; its characters bound the memory for its tokens.
PART_TEXTS = 2**10
PART_CHARACTERS = 2**20


class Part(NamedTuple):
    """Texts that follow one another.

    Attributes
    ----------
    first : int
        The index of the first one.
    texts : list of str
        The texts.
    problem : Exception or None
        What is wrong with the text behind them.
    """

    first: int
    texts: list[str]
    problem: Exception | None = None


def parts(inputs: Iterable[Any]) -> Iterator[Part]:
    """Cut what a user gave into parts; the last may have a problem."""
    first, texts, characters = 0, list[str](), 0
    source = iter(inputs)
    for index in itertools.count():
        try:
            text = as_text(next(source), f"inputs[{index}]")
            check_unicode(text, f"inputs[{index}]")
        except StopIteration:
            break
        except Exception as problem:
            # Also one of what gives the texts, a file on a disk that fails.
            yield Part(first, texts, problem)
            return
        texts.append(text)
        characters += len(text)
        if len(texts) == PART_TEXTS or characters >= PART_CHARACTERS:
            yield Part(first, texts)
            first, texts, characters = index + 1, [], 0
    yield Part(first, texts)

"""Texts into batches of packed tokens, with memory for a few batches at a time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy import int64
from numpy.typing import NDArray

from ..errors import ModelFormatError
from ..nn.sequences import Sequences
from ..padding import packing_of
from .folder import errors_of_library

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Batches in a window, inside which texts are sorted by length: enough that a batch holds
# texts of similar length, and few enough that the token ids of a window take little memory
# beside the activations of one batch.
WINDOW_BATCHES = 16

# Texts handed to the tokenizer at once.
SLICE_TEXTS = 256


class Tokens(NamedTuple):
    """The token ids and token types of one text, and whether it was cut."""

    ids: NDArray[int64]
    types: NDArray[int64]
    cut: bool


class Batch(NamedTuple):
    """Packed tokens (tokens,), and which text each is of."""

    ids: NDArray[int64]
    types: NDArray[int64]
    sequences: Sequences


def windows(
    tokenizer: "Tokenizer", texts: list[str], prompt: str, batch_tokens: int
) -> Iterator[tuple[int, list[Tokens]]]:
    """Tokenize texts, some batches at a time: index of the first of them, and all."""
    window: list[Tokens] = []
    for start in range(0, len(texts), SLICE_TEXTS):
        stop = min(start + SLICE_TEXTS, len(texts))
        window += _tokenize(tokenizer, texts[start:stop], prompt, start)
        size = sum(len(tokens.ids) for tokens in window)
        if stop == len(texts) or size >= WINDOW_BATCHES * batch_tokens:
            yield stop - len(window), window
            window = []


def batches(window: list[Tokens], batch_tokens: int) -> Iterator[list[int]]:
    """Sort texts by length, longest first, and fill batches with their indices.

    A batch has at most `batch_tokens` tokens, or one text.
    """
    batch: list[int] = []
    room = batch_tokens
    for index in sorted(range(len(window)), key=lambda index: -len(window[index].ids)):
        length = len(window[index].ids)
        if batch and length > room:
            yield batch
            batch, room = [], batch_tokens
        batch.append(index)
        room -= length
    if batch:
        yield batch


def pack(texts: list[Tokens]) -> Batch:
    """Put the tokens of some texts one behind the other."""
    lengths = [len(text.ids) for text in texts]
    packing = packing_of(len(texts), max(lengths), lengths=lengths)
    return Batch(
        ids=np.concatenate([text.ids for text in texts]),
        types=np.concatenate([text.types for text in texts]),
        sequences=Sequences(packing, packing),
    )


def _tokenize(
    tokenizer: "Tokenizer", texts: list[str], prompt: str, first: int
) -> list[Tokens]:
    """Tokenize texts, the first of which has the index `first`."""
    try:
        # The fast form leaves out where in the text a token came from.
        with errors_of_library("tokenizer.json"):
            encodings = tokenizer.encode_batch_fast([prompt + text for text in texts])
    except ModelFormatError:
        for index, text in enumerate(texts, first):
            if has_surrogate(text):
                raise ValueError(
                    f"inputs[{index}] is not valid Unicode: it has a lone surrogate"
                ) from None
        raise
    return [
        Tokens(
            np.array(encoding.ids, int64),
            np.array(encoding.type_ids, int64),
            bool(encoding.overflowing),
        )
        for encoding in encodings
    ]


def has_surrogate(text: str) -> bool:
    """Whether a str holds half of a UTF-16 pair, which no encoder of Unicode takes."""
    return any("\ud800" <= character <= "\udfff" for character in text)

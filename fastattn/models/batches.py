"""Texts into batches of packed tokens, with memory for a few batches at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy import int64
from numpy.typing import NDArray

from ..nn.sequences import Sequences
from ..padding import packing_of
from .tokenization import Tokenization, Tokens

# Batches in a window, inside which texts are sorted by length: enough that a batch holds
# texts of similar length, and few enough that the token ids of a window take little memory
# beside the activations of one batch.
WINDOW_BATCHES = 16


class Batch(NamedTuple):
    """Packed tokens (tokens,), and which text each is of."""

    ids: NDArray[int64]
    types: NDArray[int64]
    sequences: Sequences


def windows(
    tokenization: Tokenization, texts: list[str], batch_tokens: int
) -> Iterator[tuple[int, list[Tokens]]]:
    """Tokenize texts, some batches at a time: index of the first of them, and all."""
    window: list[Tokens] = []
    start = 0
    while start < len(texts):
        stop = tokenization.slice_end(texts, start)
        window += tokenization.tokens(texts[start:stop], start)
        size = sum(len(tokens.ids) for tokens in window)
        if stop == len(texts) or size >= WINDOW_BATCHES * batch_tokens:
            yield stop - len(window), window
            window = []
        start = stop


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

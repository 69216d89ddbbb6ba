"""Texts to vectors with a library that knows tokens only, as well as that can be done."""

import numpy as np
from tokenizers import Tokenizer

# Texts of a batch: the default of sentence-transformers.
BATCH = 32
MAX_LENGTH = 256


class SortedTexts:
    """Tokenize all texts, sort them by length, compute batches, take means.

    ``forward(ids, mask)`` gives hidden states (batch, length, hidden) of int64 arrays.
    """

    def __init__(self, folder, forward):
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self.tokenizer.enable_truncation(MAX_LENGTH)
        self.tokenizer.no_padding()
        self.forward = forward

    def encode(self, texts):
        """Return the unit vectors (texts, hidden)."""
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        order = sorted(range(len(texts)), key=lambda index: len(tokens[index]))
        batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        vectors = np.concatenate(
            [self.encode_batch([tokens[index] for index in batch]) for batch in batches]
        )
        return vectors[np.argsort(order)]

    def encode_batch(self, tokens):
        """Pad a batch, compute it and pool it."""
        length = max(map(len, tokens))
        ids = np.array([row + [0] * (length - len(row)) for row in tokens], np.int64)
        lengths = np.array([len(row) for row in tokens])
        mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
        hidden = self.forward(ids, mask)
        sums = np.einsum("blh,bl->bh", hidden, mask.astype(np.float32))
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

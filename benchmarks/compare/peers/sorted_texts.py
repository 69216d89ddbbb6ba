"""Texts through a library that knows tokens only, as well as that can be done."""

import numpy as np
from tokenizers import Tokenizer

# Texts of a batch: the default of sentence-transformers.
BATCH = 32


class SortedTexts:
    """Tokenize all texts, or pairs, sort them by length, compute batches.

    ``finish(forward(ids, mask, types), mask)`` makes rows, one for each text, of int64
    arrays (batch, length).
    """

    def __init__(self, folder, forward, finish):
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self.tokenizer.no_truncation()  # no text is too long for any of the models
        self.tokenizer.no_padding()
        self.forward, self.finish = forward, finish

    def encode(self, texts):
        """Return the rows in the order of the texts."""
        tokens = self.tokenizer.encode_batch_fast(texts)
        order = sorted(range(len(texts)), key=lambda index: len(tokens[index].ids))
        batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        rows = np.concatenate(
            [self.encode_batch([tokens[index] for index in batch]) for batch in batches]
        )
        return rows[np.argsort(order)]

    def encode_batch(self, tokens):
        """Pad a batch and compute it."""
        lengths = np.array([len(encoding.ids) for encoding in tokens])
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        ids, types = np.zeros((2, *mask.shape), np.int64)
        for row, encoding in enumerate(tokens):
            ids[row, : lengths[row]] = encoding.ids
            types[row, : lengths[row]] = encoding.type_ids
        return self.finish(self.forward(ids, mask, types), mask)

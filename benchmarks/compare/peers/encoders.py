"""Models, for the implementations that know token ids only."""

import numpy as np

from ...texts import read_texts
from ..inputs import rerank_texts, texts, token_ids
from ..models import MINILM
from . import Unsupported
from .sorted_texts import SortedTexts


def mean(hidden, mask):
    """Take the mean of the real tokens, as a unit vector."""
    sums = np.einsum("blh,bl->bh", hidden, mask.astype(np.float32))
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def score(logits, _mask):
    """Make scores of a reranker's only label."""
    return 1 / (1 + np.exp(-logits[:, 0]))


class Encoders:
    """The operations on ids and texts of a class with the method `forward`.

    ``forward(name)`` gives one of the models as a function of ids, mask and token types,
    int64 arrays (batch, length), to hidden states, to a reranker's logits (batch, 1), or
    to the weights (batch, words) of SPLADE. It is asked for one model after another.
    """

    def minilm(self, case):
        if case.option:
            raise Unsupported("weights in other formats are fastattn's")
        return self.model(case._replace(option=MINILM))

    def model(self, case):
        forward, ids = self.forward(case.option), token_ids(case)
        mask, types = np.ones_like(ids), np.zeros_like(ids)
        return lambda: forward(ids, mask, types)

    def texts(self, case):
        return self._sorted(case.option or MINILM, texts(case), mean)

    def real_texts(self, case):
        return self._sorted(MINILM, read_texts(case.option), mean)

    def rerank(self, case):
        query, documents = rerank_texts(case)
        pairs = [(query, document) for document in documents]
        return self._sorted(case.option, pairs, score)

    def sparse(self, case):
        return self._sorted(case.option, texts(case), lambda weights, _mask: weights)

    def _sorted(self, name, inputs, finish):
        encoder = SortedTexts(self.settings.folder(name), self.forward(name), finish)
        return lambda: encoder.encode(inputs)

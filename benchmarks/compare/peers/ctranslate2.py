"""CTranslate2's encoder, from its own conversion of the model."""

import ctranslate2
import numpy as np

from ..inputs import texts, token_ids
from . import Unsupported
from .sorted_texts import SortedTexts


class CTranslate2:
    """An encoder that computes in float32."""

    def __init__(self, settings):
        self.folder = settings.model
        self.encoder = ctranslate2.Encoder(
            f"{settings.exports}/ctranslate2",
            compute_type="float32",
            intra_threads=settings.threads,
            inter_threads=1,
        )

    def forward(self, ids, mask):
        ids, lengths = ids.astype(np.int32), mask.sum(axis=1).astype(np.int32)
        outputs = self.encoder.forward_batch(
            *map(ctranslate2.StorageView.from_array, (ids, lengths))
        )
        return np.asarray(outputs.last_hidden_state)

    def minilm(self, case):
        if case.option:
            raise Unsupported("weights in other formats are fastattn's")
        ids = token_ids(case)
        mask = np.ones_like(ids)
        return lambda: self.forward(ids, mask)

    def texts(self, case):
        encoder, inputs = SortedTexts(self.folder, self.forward), texts(case)
        return lambda: encoder.encode(inputs)

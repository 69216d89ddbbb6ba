"""sentence-transformers as it is: its own sorting, batches and pooling."""

import torch
from sentence_transformers import SentenceTransformer

from ..inputs import texts


class SentenceTransformers:
    """Its ``encode``."""

    def __init__(self, settings):
        torch.set_num_threads(settings.threads)
        self.model = SentenceTransformer(settings.model, device="cpu")

    def texts(self, case):
        inputs = texts(case)
        return lambda: self.model.encode(inputs, show_progress_bar=False)

"""sentence-transformers as it is: its own sorting, batches and pooling."""

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder

from ..inputs import rerank_texts, texts
from ..models import MINILM


class SentenceTransformers:
    """Its ``encode`` and ``predict``."""

    def __init__(self, settings):
        torch.set_num_threads(settings.threads)
        self.settings = settings

    def texts(self, case):
        folder, inputs = self.settings.folder(case.option or MINILM), texts(case)
        model = SentenceTransformer(folder, device="cpu")
        options = {"normalize_embeddings": True, "show_progress_bar": False}
        return lambda: model.encode(inputs, **options)

    def rerank(self, case):
        query, documents = rerank_texts(case)
        pairs = [(query, document) for document in documents]
        model = CrossEncoder(self.settings.folder(case.option), device="cpu")
        return lambda: model.predict(pairs, show_progress_bar=False)

    def sparse(self, case):
        folder, inputs = self.settings.folder(case.option), texts(case)
        model = SparseEncoder(folder, device="cpu")
        options = {"convert_to_sparse_tensor": False, "show_progress_bar": False}
        return lambda: model.encode(inputs, **options).numpy()

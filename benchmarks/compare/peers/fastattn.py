"""fastattn, as its README uses it."""

from functools import lru_cache
from pathlib import Path

import numpy as np

import fastattn as fa

from ...texts import read_texts
from ..inputs import (
    SEARCH_K,
    attention_arrays,
    attention_keywords,
    normal,
    rerank_texts,
    search_inputs,
    texts,
    token_ids,
)
from ..models import MINILM
from . import Unsupported
from .dense import DenseLayers


def half(name):
    """Return the NumPy dtype of a 16-bit format."""
    if name == "float16":
        return np.dtype(np.float16)
    try:
        import ml_dtypes
    except ImportError:
        raise Unsupported("bfloat16 needs the package ml_dtypes") from None
    return np.dtype(ml_dtypes.bfloat16)


class Fastattn(DenseLayers):
    """Calls of the public interface."""

    runs_in = "float32"

    def __init__(self, settings):
        fa.set_num_threads(settings.threads)
        self.settings = settings

    @staticmethod
    def to_numpy(result):
        """Make an array of what a call gives."""
        sparse = isinstance(result, fa.SparseVectors)
        return result.toarray() if sparse else np.asarray(result)

    def dense(self, weight, bias):
        layer = fa.nn.Linear(*weight.shape[::-1], init="zeros")
        layer.load_state_dict({"weight": weight, "bias": bias})
        layer.compute_in(self.runs_in)
        return layer

    def attention(self, case):
        arrays, keywords = attention_arrays(case), attention_keywords(case)
        if case.option in ("float16", "bfloat16"):
            arrays = [array.astype(half(case.option)) for array in arrays]
        return lambda: fa.attention(*arrays, **keywords)

    @lru_cache(maxsize=2)  # noqa: B019 - an instance lives as long as its process
    def load(self, name, load=fa.load, weights="float32"):
        folder = Path(self.settings.folder(name))
        if not folder.exists():
            raise Unsupported("torch and transformers make its weights")
        return load(folder, compute=self.runs_in, weights=weights)

    def minilm(self, case):
        model = self.load(MINILM, weights=case.option or "float32").model
        ids = token_ids(case)
        return lambda: model(ids)

    def model(self, case):
        model, ids = self.load(case.option).model, token_ids(case)
        return lambda: model(ids)

    def texts(self, case):
        model, inputs = self.load(case.option or MINILM), texts(case)
        return lambda: model.encode(inputs, normalize=True)

    def real_texts(self, case):
        model, inputs = self.load(MINILM), read_texts(case.option)
        return lambda: model.encode(inputs)

    def rerank(self, case):
        model, (query, documents) = self.load(case.option), rerank_texts(case)
        pairs = [(query, document) for document in documents]
        return lambda: model.predict(pairs)

    def sparse(self, case):
        model, inputs = self.load(case.option, fa.SparseEncoder.load), texts(case)
        return lambda: model.encode(inputs)

    def search(self, case):
        queries, corpus = search_inputs(case)
        return lambda: fa.top_k(queries, corpus, SEARCH_K)[0]

    def tiny(self, case):
        """Prepare a call whose time is all overhead."""
        x, weight = normal(1, 8), normal(8, 8)
        layer, heads = fa.nn.Linear(8, 8, rng=0), normal(3, 1, 1, 2, 8)
        return {
            "softmax": lambda: fa.softmax(x),
            "layer_norm": lambda: fa.layer_norm(x),
            "linear": lambda: layer(x),
            "matmul": lambda: fa.matmul(x, weight),
            "attention": lambda: fa.attention(*heads),
            "array": lambda: np.empty((1, 8), np.float32),
        }[case.option]


class Int8Fastattn(Fastattn):
    """With dense layers in int8."""

    runs_in = "int8"


class Int16Fastattn(Fastattn):
    """With dense layers in int16."""

    runs_in = "int16"


class Bfloat16Fastattn(Fastattn):
    """With dense layers in bfloat16."""

    runs_in = "bfloat16"

"""fastattn, as its README uses it."""

import functools
import inspect

import numpy as np

import fastattn as fa

from ..inputs import attention_arrays, attention_keywords, normal, texts, token_ids
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

    def __init__(self, settings):
        fa.set_num_threads(settings.threads)
        self.folder = settings.model

    def dense(self, weight, bias):
        layer = fa.nn.Linear(*weight.shape[::-1], init="zeros")
        layer.load_state_dict({"weight": weight, "bias": bias})
        return layer

    def attention(self, case):
        arrays, keywords = attention_arrays(case), attention_keywords(case)
        if case.option in ("float16", "bfloat16"):
            arrays = [array.astype(half(case.option)) for array in arrays]
        return lambda: fa.attention(*arrays, **keywords)

    @functools.cache  # noqa: B019 - an instance lives as long as its process
    def model(self, weights=""):
        if not weights:
            return fa.load(self.folder)
        if "weights" not in inspect.signature(fa.load).parameters:
            raise Unsupported("fastattn.load has no keyword weights")
        return fa.load(self.folder, weights=weights)

    def minilm(self, case):
        encoder, ids = self.model(case.option).model, token_ids(case)
        return lambda: encoder(ids)

    def texts(self, case):
        model, inputs = self.model(), texts(case)
        return lambda: model.encode(inputs)

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

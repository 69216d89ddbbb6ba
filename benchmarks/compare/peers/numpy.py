"""The NumPy of baseline.py."""

from types import SimpleNamespace

import numpy as np
from safetensors.numpy import load_file

from ... import baseline
from ..cases import LAYERS
from ..inputs import SEARCH_K, attention_arrays, dense_mask, search_inputs, token_ids
from . import Unsupported
from .dense import DenseLayers


class Numpy(DenseLayers):
    """What can be written in NumPy without building more than NumPy must."""

    def __init__(self, settings):
        self.folder = settings.model

    def dense(self, weight, bias):
        return lambda x: baseline.linear(x, weight, bias)

    def attention(self, case):
        if case.group == "keywords":
            raise Unsupported("keywords are compared with torch")
        query, key, value = attention_arrays(case)
        mask = dense_mask(case)
        bias = None if mask is None else np.where(mask, np.float32(0), np.float32(-np.inf))
        return lambda: baseline.attention(query, key, value, bias)

    def minilm(self, case):
        if case.option:
            raise Unsupported("weights in other formats are fastattn's")
        tensors = load_file(f"{self.folder}/model.safetensors")
        layers, ids = baseline.layer_states(tensors, LAYERS), token_ids(case)
        config = SimpleNamespace(layer_norm_eps=1e-12, num_attention_heads=12)
        return lambda: baseline.bert(tensors, layers, config, ids)

    def search(self, case):
        queries, corpus = search_inputs(case)

        def call():
            # Rows of scores, in the faster of two ways.
            scores = np.ascontiguousarray((corpus @ queries.T).T)
            best = np.argpartition(scores, -SEARCH_K, axis=1)[:, -SEARCH_K:]
            return np.sort(np.take_along_axis(scores, best, axis=1))[:, ::-1]

        return call

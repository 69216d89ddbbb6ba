"""torch, in eager mode as its users run it, and transformers' BERT."""

import functools

import torch
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import BertModel

from ..inputs import attention_arrays, dense_mask, texts, token_ids
from . import Unsupported
from .dense import DenseLayers
from .sorted_texts import SortedTexts


class Torch(DenseLayers):
    """Calls under ``inference_mode``."""

    array = staticmethod(torch.from_numpy)

    def __init__(self, settings):
        torch.set_num_threads(settings.threads)
        self.mode = torch.inference_mode()  # lasts as long as this reference
        self.mode.__enter__()
        self.folder = settings.model

    @staticmethod
    def to_numpy(result):
        """Convert a tensor; NumPy has no bfloat16."""
        return result.float().numpy() if isinstance(result, torch.Tensor) else result

    def dense(self, weight, bias):
        weight, bias = torch.from_numpy(weight), torch.from_numpy(bias)
        return lambda x: linear(x, weight, bias)

    def attention(self, case):
        if case.option == "softcap":
            raise Unsupported("scaled_dot_product_attention has no softcap")
        query, key, value = map(torch.from_numpy, attention_arrays(case))
        keywords = {}
        if case.option == "causal":
            keywords["is_causal"] = True
        elif (mask := dense_mask(case)) is not None:
            shape = (1,) * (4 - mask.ndim) + mask.shape
            keywords["attn_mask"] = torch.from_numpy(mask).reshape(shape)
        if case.option == "grouped queries":
            keywords["enable_gqa"] = True
        if case.option in ("float16", "bfloat16"):
            dtype = getattr(torch, case.option)
            query, key, value = (x.to(dtype) for x in (query, key, value))
        return lambda: scaled_dot_product_attention(query, key, value, **keywords)

    @functools.cached_property
    def model(self):
        return BertModel.from_pretrained(self.folder).eval()

    def minilm(self, case):
        if case.option:
            raise Unsupported("weights in other formats are fastattn's")
        ids = torch.from_numpy(token_ids(case))
        mask = torch.ones_like(ids)
        return lambda: self.model(ids, mask).last_hidden_state

    def texts(self, case):
        def forward(ids, mask):
            outputs = self.model(torch.from_numpy(ids), torch.from_numpy(mask))
            return outputs.last_hidden_state.numpy()

        encoder, inputs = SortedTexts(self.folder, forward), texts(case)
        return lambda: encoder.encode(inputs)

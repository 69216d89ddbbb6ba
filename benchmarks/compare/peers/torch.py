"""torch, in eager mode as its users run it, and transformers' models."""

from functools import lru_cache

import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from ..inputs import attention_arrays, dense_mask
from ..models import MODELS
from ..torch_models import TorchModel
from . import Unsupported
from .dense import DenseLayers
from .encoders import Encoders


class Torch(Encoders, DenseLayers):
    """Calls under ``inference_mode``."""

    array = staticmethod(torch.from_numpy)

    def __init__(self, settings):
        torch.set_num_threads(settings.threads)
        self.mode = torch.inference_mode()  # lasts as long as this reference
        self.mode.__enter__()
        self.settings = settings

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

    @lru_cache(maxsize=1)  # noqa: B019 - an instance lives as long as its process
    def forward(self, name):
        model = TorchModel(MODELS[name], self.settings.folder(name))
        return lambda *arrays: model(*map(torch.from_numpy, arrays)).numpy()

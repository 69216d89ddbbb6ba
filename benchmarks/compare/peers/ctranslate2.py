"""CTranslate2's encoder, from its own conversion of the model."""

from functools import lru_cache
from pathlib import Path

import ctranslate2
import numpy as np
from safetensors.numpy import load_file

from . import Unsupported
from .encoders import Encoders


class CTranslate2(Encoders):
    """Encoders that compute in float32; a reranker's last product is NumPy's."""

    compute_type = "float32"

    def __init__(self, settings):
        self.settings = settings

    @lru_cache(maxsize=1)  # noqa: B019 - an instance lives as long as its process
    def forward(self, name):
        folder = Path(f"{self.settings.exports}/{name}.ctranslate2")
        if not folder.exists():
            raise Unsupported("its converter knows no such model")
        encoder = ctranslate2.Encoder(
            str(folder),
            compute_type=self.compute_type,
            intra_threads=self.settings.threads,
            inter_threads=1,
        )
        self.runs_in = encoder.compute_type
        tensors = load_file(f"{self.settings.folder(name)}/model.safetensors")
        head = [tensors.get(f"classifier.{part}") for part in ("weight", "bias")]

        def forward(ids, mask, types):
            arrays = (array.astype(np.int32) for array in (ids, mask.sum(axis=1)))
            outputs = encoder.forward_batch(
                *map(ctranslate2.StorageView.from_array, arrays),
                types.tolist() if types.any() else None,
            )
            if head[0] is None:
                return np.asarray(outputs.last_hidden_state)
            return np.asarray(outputs.pooler_output) @ head[0].T + head[1]

        return forward


class Int8CTranslate2(CTranslate2):
    """Encoders whose dense layers are quantised as they are loaded."""

    compute_type = "int8"

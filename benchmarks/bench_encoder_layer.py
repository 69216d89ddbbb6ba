"""One encoder layer of the sizes of MiniLM and of BERT-base."""

import baseline
import numpy as np
import pytest
from operations import encoder_layer_flops

import fastattn as fa


@pytest.mark.parametrize("hidden, intermediate", [(384, 1536), (768, 3072)])
def bench_encoder_layer(measure, hidden, intermediate):
    rng = np.random.default_rng(0)
    batch, length, heads = 8, 128, 12
    layer = fa.nn.EncoderLayer(hidden, heads, intermediate, activation="gelu", rng=rng)
    x = rng.standard_normal((batch, length, hidden), np.float32)
    state = layer.state_dict()
    functions = {
        "fastattn": lambda: layer(x),
        "numpy": lambda: baseline.encoder_layer(x, state, heads),
    }
    flops = encoder_layer_flops(batch, length, hidden, intermediate)
    measure(f"encoder layer {(batch, length, hidden)}", functions, flops=flops)

"""One encoder layer of the sizes of MiniLM and of BERT-base."""

import baseline
import numpy as np
import pytest

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
    per_token = 8 * hidden**2 + 4 * hidden * intermediate + 4 * length * hidden
    group = f"encoder layer {(batch, length, hidden)}"
    measure(group, functions, flops=batch * length * per_token)

"""The forward pass of all-MiniLM-L6-v2, from token ids to hidden states."""

import baseline
import numpy as np
import pytest
from operations import encoder_layer_flops
from safetensors.numpy import load_file

import fastattn as fa
from fastattn.models.locate import locate

NAME = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def encoder():
    return fa.load(NAME).model


@pytest.fixture(scope="module")
def tensors():
    return load_file(locate(NAME) / "model.safetensors")


@pytest.mark.parametrize("batch, length", [(1, 32), (8, 128)])
def bench_minilm(measure, encoder, tensors, batch, length):
    config = encoder.config
    rng = np.random.default_rng(0)
    ids = rng.integers(0, config.vocab_size, (batch, length))
    layers = baseline.layer_states(tensors, config.num_hidden_layers)
    functions = {
        "fastattn": lambda: encoder(ids),
        "numpy": lambda: baseline.bert(tensors, layers, config, ids),
    }
    sizes = config.hidden_size, config.intermediate_size
    flops = config.num_hidden_layers * encoder_layer_flops(batch, length, *sizes)
    measure(f"MiniLM {(batch, length)}", functions, flops=flops)

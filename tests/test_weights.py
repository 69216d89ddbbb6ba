"""Layers whose weights are stored in fewer bytes."""

import pickle
import re

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import DATA
from support.processes import ROOT, printed
from support.promises import BOUNDS
from support.strategies import normal

import fastattn as fa
from fastattn import nn
from fastattn._packed import FORMATS

NARROW = [format for format in FORMATS if format != "float32"]
LAYERS = {
    "linear": lambda: nn.Linear(40, 24, rng=0),
    "attention": lambda: nn.MultiHeadAttention(40, 4, num_kv_heads=2, rng=0),
    "feed-forward": lambda: nn.FeedForward(40, 56, "gelu", rng=0),
    "encoder": lambda: nn.Encoder(40, 4, 56, 2, norm_first=True, final_norm=True, rng=0),
}


@pytest.fixture(params=LAYERS)
def make(request):
    return LAYERS[request.param]


@pytest.mark.parametrize("format", NARROW)
class TestStored:
    def test_computes_what_its_state_dict_says(self, make, format):
        narrow, wide = make(), make()
        narrow.store_weights_as(format)
        wide.load_state_dict(narrow.state_dict())
        for rows in 3, 40:  # few are computed in another way than many
            x = normal(2, rows, 40)
            assert_same_bits(narrow(x), wide(x))
        assert not np.array_equal(narrow(x), make()(x))

    def test_state_dicts_go_around(self, make, format):
        first, second = make(), make()
        for layer in first, second:
            layer.store_weights_as(format)
        state = first.state_dict()
        second.load_state_dict(make().state_dict())  # rounded as it is loaded
        for other in second, pickle.loads(pickle.dumps(first)):
            assert other.nbytes == first.nbytes
            for key, weight in other.state_dict().items():
                assert_same_bits(weight, state[key])

    def test_only_matrices_are_narrowed(self, format):
        layer = nn.EncoderLayer(40, 4, 56, rng=0)
        before = layer.state_dict()
        layer.store_weights_as(format)
        for key, weight in layer.state_dict().items():
            assert np.array_equal(weight, before[key]) == (weight.ndim == 1), key

    def test_narrower_never_comes_back(self, make, format):
        layer = make()
        layer.store_weights_as(format)
        state = layer.state_dict()
        layer.store_weights_as("float32")
        assert layer.nbytes == make().nbytes
        for key, weight in layer.state_dict().items():
            assert_same_bits(weight, state[key])

    def test_parts_of_attention_to_a_source(self, format):
        narrow, wide = (nn.MultiHeadAttention(40, 4, rng=0) for _ in range(2))
        narrow.store_weights_as(format)
        wide.load_state_dict(narrow.state_dict())
        x, source = normal(2, 3, 40), normal(2, 50, 40, seed=1)
        assert_same_bits(narrow(x, source=source), wide(x, source=source))

    def test_a_number_too_large_is_named_and_changes_nothing(self, format):
        encoder = nn.Encoder(8, 2, 6, 2, rng=0)
        state = encoder.state_dict()
        key = "layers.1.linear1.weight"
        large = np.array(state[key])
        large[3, 4] = 3e38
        encoder.load_state_dict(state | {key: large})
        with pytest.raises(ValueError, match=f"'{key}': {format} takes weights of at most"):
            encoder.store_weights_as(format)
        assert encoder.nbytes == nn.Encoder(8, 2, 6, 2).nbytes
        encoder.load_state_dict(state)
        encoder.store_weights_as(format)
        before = encoder.state_dict()
        with pytest.raises(ValueError, match=f"'{key}': {format} takes weights of at most"):
            encoder.load_state_dict(state | {key: large})
        for name, weight in encoder.state_dict().items():
            assert_same_bits(weight, before[name])


def test_int8_is_as_close_as_promised():
    page = (ROOT / "docs" / "accuracy.md").read_text()
    one, part = map(int, re.search(r"at most (\d)/(\d+) of the largest", page).groups())
    layer = nn.Linear(300, 400, rng=0)
    before = layer.weight
    layer.store_weights_as("int8")
    error = np.abs(layer.weight - before).max(axis=1)
    assert (error <= one / part * np.abs(before).max(axis=1)).all()
    # There is no room for more than 127 steps.
    assert error.max() > np.abs(before).max() / 300


@pytest.mark.parametrize("make", [nn.Linear, lambda *size: nn.LayerNorm(3)])
def test_refuses_other_formats(make):
    message = f"format must be one of {str([*FORMATS])[1:-1]}, got 'float64'"
    with pytest.raises(ValueError, match=message):
        make(3, 2).store_weights_as("float64")


@pytest.fixture(scope="module")
def model():
    return fa.load("all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def texts():
    with np.load(DATA / "minilm.npz") as arrays:
        return [str(text) for text in arrays["texts"]]


class TestMiniLM:
    @pytest.mark.parametrize("weights", NARROW)
    def test_vectors_are_as_close_as_promised(self, model, texts, weights):
        narrow = fa.load("all-MiniLM-L6-v2", weights=weights)
        vectors = narrow.encode(texts, on_truncation="ignore")
        cosines = (vectors * model.encode(texts, on_truncation="ignore")).sum(axis=1)
        assert cosines.min() >= float(BOUNDS[weights])
        wide = fa.load("all-MiniLM-L6-v2")
        wide.model.encoder.load_state_dict(narrow.model.encoder.state_dict())
        assert_same_bits(vectors, wide.encode(texts, on_truncation="ignore"))

    def test_other_weights_are_refused(self):
        with pytest.raises(ValueError, match="weights must be one of 'float32', 'flo"):
            fa.load("all-MiniLM-L6-v2", weights="float64")

    @pytest.mark.memory
    def test_the_float32_weights_are_never_in_memory_together(self, model):
        grown = printed(
            """
            import safetensors
            import tokenizers
            from fastattn.loading import load

            def most_memory():
                with open("/proc/self/status") as lines:
                    (line,) = (line for line in lines if line.startswith("VmHWM"))
                return int(line.split()[1]) * 1024

            before = most_memory()
            model = load("all-MiniLM-L6-v2", weights="int8")
            print(most_memory() - before)
            """
        )
        assert int(grown) < model.model.encoder.nbytes

"""The one class of models, as a layer: weights by name, formats, bytes."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.bits import assert_same_bits
from support.folders import TINY, change_json, change_tensors, copy_tiny
from support.strategies import normal
from support.tensors import Tensor, bits_of, wide

import fastattn as fa
from fastattn._packed import FORMATS
from fastattn.models import EncoderModel, read_model
from fastattn.models.folder import Folder

IDS = [[2, 71, 90, 3], [2, 5, 3, 0]]
LAYER = (
    "self_attn.in_proj_weight self_attn.in_proj_bias self_attn.out_proj.weight "
    "self_attn.out_proj.bias linear1.weight linear1.bias linear2.weight linear2.bias "
    "norm1.weight norm1.bias norm2.weight norm2.bias"
).split()


@pytest.fixture
def model():
    return read_model(Folder(TINY))


def test_weights_have_plain_names(model):
    assert list(model.state_dict()) == [
        "word_embeddings.weight",
        "position_embeddings.weight",
        "token_type_embeddings.weight",
        "embedding_norm.weight",
        "embedding_norm.bias",
        *(f"encoder.layers.{i}.{name}" for i in range(2) for name in LAYER),
    ]


def test_weights_are_replaced(model):
    other = read_model(Folder(TINY))
    state = {
        key: value + 0.1 * normal(*value.shape) for key, value in model.state_dict().items()
    }
    other.load_state_dict(state)
    assert (other(IDS) != model(IDS)).any()
    for key, value in other.state_dict().items():
        assert_same_bits(value, state[key])
    other.load_state_dict(model.state_dict())
    assert_same_bits(other(IDS), model(IDS))
    with pytest.raises(
        ValueError, match=r"fit this EncoderModel: 'embedding_norm\.bias' is m"
    ):
        del state["embedding_norm.bias"]
        other.load_state_dict(state)


def test_weights_are_stored_narrow(model):
    before = model.nbytes
    model.store_weights_as("int8")
    assert model.nbytes < before
    narrow = read_model(Folder(TINY), "int8")
    assert narrow.nbytes == model.nbytes
    assert_same_bits(narrow(IDS), model(IDS))


def test_bytes_are_those_of_the_weights(model):
    tables = sum(
        value.nbytes for key, value in model.state_dict().items() if "encoder" not in key
    )
    assert model.nbytes == model.encoder.nbytes + tables


def test_repr_shows_sizes(model):
    assert repr(model) == (
        "EncoderModel(vocab_size=113, hidden_size=32, max_positions=64, num_token_types=2)"
    )


def test_config_is_what_the_file_says(tmp_path):
    folder = copy_tiny(tmp_path)
    change_json(folder / "config.json", more={"a": [1]})
    config = fa.load(folder).config
    assert config["hidden_size"] == config.hidden_size == 32
    assert config.more == {"a": [1]}
    assert "more" in config
    assert "layer_norm_eps" in repr(config)
    assert set(config) == set(dict(config))
    with pytest.raises(AttributeError, match=r"config\.json has no less"):
        config.less  # noqa: B018
    with pytest.raises(TypeError):
        config["more"] = 1


def test_one_type_of_tokens_is_every_type(tmp_path):
    name = "embeddings.token_type_embeddings.weight"
    folder = copy_tiny(tmp_path)
    change_json(folder / "config.json", type_vocab_size=1)
    change_tensors(folder, lambda tensors: tensors | {name: tensors[name][:1]})
    model = read_model(Folder(folder))
    assert_same_bits(model(IDS, None, np.ones((2, 4), int)), model(IDS))


class TestFromWeights:
    """A model of weights in memory is the one that a folder of them holds."""

    @pytest.fixture
    def config(self):
        return json.loads((TINY / "config.json").read_text())

    @pytest.fixture
    def tensors(self):
        return load_file(TINY / "model.safetensors")

    @pytest.mark.parametrize("weights", FORMATS)
    def test_the_same_bits(self, config, tensors, weights):
        made = EncoderModel.from_weights(config, tensors, weights=weights)
        read = read_model(Folder(TINY), weights)
        assert made.config == read.config
        assert made.nbytes == read.nbytes
        assert_same_bits(made(IDS), read(IDS))

    def test_bfloat16(self, config, tensors):
        bits = {name: bits_of(tensor) for name, tensor in tensors.items()}
        given = {name: Tensor(tensor) for name, tensor in bits.items()}
        other = {name: wide(tensor) for name, tensor in bits.items()}
        made = EncoderModel.from_weights(config, given)
        assert_same_bits(made(IDS), EncoderModel.from_weights(config, other)(IDS))

    @pytest.mark.parametrize("dtype", [np.float16, ">f2", ">f4"])
    def test_other_numbers(self, config, tensors, dtype):
        given = {name: tensor.astype(dtype) for name, tensor in tensors.items()}
        wide = {name: tensor.astype(np.float32) for name, tensor in given.items()}
        made = EncoderModel.from_weights(config, given)
        assert_same_bits(made(IDS), EncoderModel.from_weights(config, wide)(IDS))

    def test_settings_of_a_model_will_do(self, model, tensors):
        made = EncoderModel.from_weights(model.config, tensors)
        assert_same_bits(made(IDS), model(IDS))

    def test_the_memory_stays_the_callers(self, config, tensors, model):
        made = EncoderModel.from_weights(config, tensors)
        for tensor in tensors.values():
            tensor.fill(7)
        assert_same_bits(made(IDS), model(IDS))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"hidden_size": 34}, "config: hidden_size must be a multiple of"),
            ({"hidden_size": np.int64(32)}, "config: hidden_size must be a whole number"),
            ({"hidden_act": "tan"}, "config: hidden_act must be gelu or"),
            ({"vocab_size": 114}, r"tensors: tensor .*word_.* have shape \(114, 32\)"),
            ({"num_hidden_layers": 3}, r"tensors: tensor .*layer\.2.* is missing"),
            ({"num_hidden_layers": 1}, r"tensors: unexpected tensor .*layer\.1.* and 15"),
        ],
    )
    def test_wrong_settings_are_named(self, config, tensors, change, message):
        with pytest.raises(fa.ModelFormatError, match=message):
            EncoderModel.from_weights(config | change, tensors)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (np.full(32, np.nan, np.float32), "holds NaN or infinity"),
            (np.ones(31, np.float32), r"must have shape \(32,\), got \(31,\)"),
            (np.ones(32), "must be float32, float16 or bfloat16, got float64: convert"),
            (np.ones(32, int), "must be float32, float16 or bfloat16, got int64"),
        ],
    )
    def test_wrong_tensors_are_named(self, config, tensors, value, message):
        name = "embeddings.LayerNorm.bias"
        with pytest.raises(fa.ModelFormatError, match=f"tensors: tensor {name} {message}"):
            EncoderModel.from_weights(config, tensors | {name: value})

    def test_other_kinds(self, config, tensors):
        with pytest.raises(TypeError, match=r"config must map .* got list; .*to_dict\(\)"):
            EncoderModel.from_weights([config], tensors)
        with pytest.raises(TypeError, match=r"tensors must map .* got dict_values"):
            EncoderModel.from_weights(config, tensors.values())
        with pytest.raises(ValueError, match="weights must be one of 'float32'"):
            EncoderModel.from_weights(config, tensors, weights="float64")

"""The one class of models, as a layer: weights by name, formats, bytes."""

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import TINY, change_json, change_tensors, copy_tiny
from support.strategies import normal

import fastattn as fa
from fastattn.models import read_model
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

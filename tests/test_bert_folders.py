"""Folders of a BERT that are damaged, or not of a BERT that fastattn knows."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.folders import TINY, change_json, change_tensors, drop_json

import fastattn as fa
from fastattn.models import read_model
from fastattn.models.families.bert_like import SIZES
from fastattn.models.families.family import HIGHEST
from fastattn.models.folder import Folder

# The tensors that hidden states depend on: five of the embeddings, 16 to a layer.
UNUSED = ("pooler", "embeddings.position_ids")
USED = [
    name for name in load_file(TINY / "model.safetensors") if not name.startswith(UNUSED)
]
assert len(USED) == 5 + 2 * 16


class TestConfig:
    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"model_type": "robert"}, "model_type must be .* or .*, got 'robert'"),
            ({"model_type": None}, "model_type must be a string"),
            (
                {"position_embedding_type": "relative_key"},
                "position_embedding_type must be absolute, got 'relative_key'",
            ),
            ({"hidden_act": "mish"}, "hidden_act must be gelu or .*, got 'mish'"),
            ({"hidden_act": ["gelu"]}, "hidden_act must be a string"),
            ({"is_decoder": True}, "is_decoder must be false"),
            ({"quantization_config": {"bits": 4}}, "quantization_config is not read"),
            ({"pruned_heads": {"0": [1]}}, "pruned_heads is not read"),
            ({"hidden_size": "32"}, "hidden_size must be a whole number, got '32'"),
            ({"hidden_size": 32.0}, "hidden_size must be a whole number, got 32.0"),
            ({"hidden_size": True}, "hidden_size must be a whole number, got True"),
            ({"hidden_size": 34}, "hidden_size must be a multiple of .* 4, got 34"),
            ({"num_attention_heads": 5}, "multiple of num_attention_heads 5, got 32"),
            (
                {"num_attention_heads": 0},
                "num_attention_heads must be from 1 to 1024, got 0",
            ),
            ({"num_hidden_layers": -1}, "num_hidden_layers must be from 1 to 1024, got -1"),
            ({"vocab_size": None}, "vocab_size must be a whole number, got None"),
            ({"layer_norm_eps": "1e-12"}, "layer_norm_eps must be a number"),
            ({"layer_norm_eps": 0}, "layer_norm_eps must be from 1.17.*e-38 to 1.0, got 0"),
            ({"layer_norm_eps": float("nan")}, "layer_norm_eps must be from .* got nan"),
        ],
    )
    def test_config(self, folder, fields, message):
        change_json(folder / "config.json", **fields)
        with pytest.raises(fa.ModelFormatError, match=rf"config\.json: .*{message}"):
            read_model(Folder(folder))

    @pytest.mark.parametrize(
        "field",
        [
            "model_type",
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
        ],
    )
    def test_config_without(self, folder, field):
        drop_json(folder / "config.json", field)
        with pytest.raises(fa.ModelFormatError, match=rf"config\.json: {field} is missing"):
            read_model(Folder(folder))

    @pytest.mark.parametrize(
        ("field", "tensor"),
        [
            ("vocab_size", "word_embeddings"),
            ("hidden_size", "word_embeddings"),
            ("max_position_embeddings", "position_embeddings"),
            ("type_vocab_size", "token_type_embeddings"),
            ("intermediate_size", "layer.0.intermediate.dense.weight"),
            ("num_hidden_layers", "layer.2.attention.self.query.weight is missing"),
        ],
    )
    def test_sizes_that_the_tensors_do_not_have(self, folder, field, tensor):
        path = folder / "config.json"
        change_json(path, **{field: json.loads(path.read_text())[field] * 2})
        with pytest.raises(fa.ModelFormatError, match=rf"model\.safetensors: .*{tensor}"):
            read_model(Folder(folder))

    @pytest.mark.parametrize("kind", SIZES)
    @pytest.mark.parametrize("size", [10**9, 10**18, 10**4000, -(10**9)])
    def test_absurd_sizes(self, folder, kind, size):
        field, *_ = SIZES[kind]
        change_json(folder / "config.json", **{field: size})
        message = rf"config\.json: {field} must be from 1 to {HIGHEST[kind]}, got"
        with pytest.raises(fa.ModelFormatError, match=message):
            read_model(Folder(folder))

    def test_fewer_layers_than_there_are(self, folder):
        change_json(folder / "config.json", num_hidden_layers=1)
        with pytest.raises(
            fa.ModelFormatError, match=r"unexpected tensor encoder\.layer\.1"
        ):
            read_model(Folder(folder))


class TestTensors:
    def test_each_missing(self, folder):
        for missing in USED:

            def change(tensors, missing=missing):
                del tensors[missing]
                return tensors

            change_tensors(folder, change)
            with pytest.raises(fa.ModelFormatError, match=f"tensor {missing} is missing"):
                read_model(Folder(folder))

    def test_each_of_a_wrong_shape(self, folder):
        for name in USED:

            def change(tensors, name=name):
                return tensors | {name: tensors[name].ravel()[:-1]}

            change_tensors(folder, change)
            with pytest.raises(fa.ModelFormatError, match=f"tensor {name} must have shape"):
                read_model(Folder(folder))

    @pytest.mark.parametrize(
        "name", ["classifier.weight", "encoder.layer.2.output.dense.bias", "bert", ""]
    )
    def test_unexpected_tensor(self, folder, name):
        extra = {name: np.ones(2, np.float32)}
        change_tensors(folder, lambda tensors: tensors | extra)
        with pytest.raises(fa.ModelFormatError, match=f"unexpected tensor {name}"):
            read_model(Folder(folder))

    def test_the_same_tensor_under_both_names(self, folder):
        name = "embeddings.LayerNorm.weight"
        change_tensors(folder, lambda tensors: tensors | {f"bert.{name}": tensors[name]})
        with pytest.raises(fa.ModelFormatError, match=f"two tensors mean {name}"):
            read_model(Folder(folder))

    @pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("dtype", [np.float32, np.float16])
    def test_each_with_nan_or_infinity(self, folder, value, dtype):
        for name in USED:

            def change(tensors, name=name):
                damaged = tensors[name].astype(dtype)
                damaged.flat[-1] = value
                return tensors | {name: damaged}

            change_tensors(folder, change)
            message = rf"model\.safetensors: tensor {name} holds NaN or infinity"
            with pytest.raises(fa.ModelFormatError, match=message):
                read_model(Folder(folder))

    def test_a_signalling_nan(self, folder):
        name = "embeddings.LayerNorm.bias"

        def change(tensors):
            tensors[name].view(np.uint32)[3] = 0x7FA00000
            return tensors

        change_tensors(folder, change)
        with pytest.raises(fa.ModelFormatError, match=f"tensor {name} holds NaN"):
            read_model(Folder(folder))

    def test_integers_for_weights(self, folder):
        name = "encoder.layer.0.output.dense.bias"
        change_tensors(
            folder, lambda tensors: tensors | {name: tensors[name].astype(np.int32)}
        )
        with pytest.raises(fa.ModelFormatError, match=f"{name} must be stored as one of"):
            read_model(Folder(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(fa.ModelFormatError, match=f"{name}: no such file"):
        read_model(Folder(folder))

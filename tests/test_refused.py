"""Models that are not read are refused for what they are."""

import json
import shutil

import pytest
from safetensors.numpy import load_file
from support.folders import change_json

import fastattn as fa
from fastattn.models import EncoderModel


def refused(folder, field, value, what):
    message = f"{field} {value!r} means {what}.*: it is not read; take "
    with pytest.raises(fa.ModelFormatError, match=message) as info:
        fa.load(folder)
    assert str(info.value).startswith(str(folder))


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("model_type", "mixtral", "a mixture of experts"),
        ("num_experts", 8, "a mixture of experts"),
        ("model_type", "bart", "an encoder with a decoder"),
        ("model_type", "llama", "a decoder"),
        ("model_type", "clip", "a model that reads pictures"),
        ("model_type", "whisper", "a model that hears speech"),
        ("model_type", "longformer", "an encoder of a family that is not read"),
    ],
)
def test_by_its_type(folder, field, value, what):
    change_json(folder / "config.json", **{field: value})
    refused(folder, field, value, what)


@pytest.mark.parametrize("name", ["MultiVectorEncoder", "ColBERT"])
def test_by_the_type_beside_it(folder, name):
    change_json(folder / "config_sentence_transformers.json", model_type=name)
    refused(folder, "model_type", name, "late interaction")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("HF_ColBERT", "late interaction"),
        ("ColBERTModel", "late interaction"),
        ("BertForTokenClassification", "a model that says something of each token"),
        ("BertForQuestionAnswering", "a model that says something of each token"),
    ],
)
def test_by_its_class(folder, name, what):
    change_json(folder / "config.json", architectures=["Other", name])
    refused(folder, "architectures", name, what)
    # Who names tensors says what is to be read.
    config = json.loads((folder / "config.json").read_text())
    EncoderModel.from_weights(config, load_file(folder / "model.safetensors"))


def test_what_answers_a_chat(folder):
    change_json(folder / "config.json", architectures=["Qwen3ForCausalLM"])
    fa.load(folder)
    for name in ("modules.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "1_Pooling")
    refused(folder, "architectures", "Qwen3ForCausalLM", "a decoder, which writes texts: a")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("pylate.models.Dense.Dense", "late interaction"),
        ("sentence_transformers.multi_vector.modules.MultiVectorMask", "late interaction"),
        ("sentence_transformers.cross_encoder.modules.LogitScore", "a decoder"),
        ("sentence_transformers.models.CLIPModel", "a model that reads pictures"),
    ],
)
def test_by_a_module(folder, name, what):
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = name
    (folder / "modules.json").write_text(json.dumps(modules))
    refused(folder, "type", name, what)


@pytest.mark.parametrize("names", [None, 3, "HF_ColBERT", [3, None], [], {"a": "ColBERT"}])
def test_other_architectures_say_nothing(folder, names):
    change_json(folder / "config.json", architectures=names, num_experts=None)
    fa.load(folder)

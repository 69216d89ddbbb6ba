"""What folders of cross-encoders say: activations, labels, prompts, kinds, damage."""

import json
import time
from itertools import islice
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from damage import SECONDS, cuts, flips
from safetensors.numpy import load_file, save_file
from support.bits import assert_same_bits
from support.folders import DATA, change_json, drop_json, write_json

import fastattn as fa

CROSS = DATA / "cross"
PAIRS = [tuple(p) for p in json.loads((CROSS / "inputs.json").read_text())["pairs"]][:12]
GENERAL = "config_sentence_transformers.json"
TORCH = "torch.nn.modules.{}".format

pytestmark = pytest.mark.filterwarnings("ignore::fastattn.TruncationWarning")


@pytest.fixture
def folder(tmp_path):
    """Of one label."""
    return Path(copytree(CROSS / "electra", tmp_path / "model"))


def as_version_6(folder, **fields):
    """Write what version 6 of sentence-transformers writes beside a model."""
    kind = "sentence_transformers.base.modules.transformer.Transformer"
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": kind}])
    write_json(folder / GENERAL, {"model_type": "CrossEncoder"} | fields)
    text = {"method": "forward", "method_output_name": "logits"}
    settings = {
        "transformer_task": "sequence-classification",
        "modality_config": {"text": text},
        "module_output_name": "scores",
    }
    write_json(folder / "sentence_bert_config.json", settings)


class TestActivation:
    def test_where_nobody_says_anything(self, folder):
        assert fa.load(folder).activation == "sigmoid"
        assert fa.load(CROSS / "distilbert").activation == "identity"

    def test_of_versions_before_4(self, folder):
        name = TORCH("linear.Identity")
        change_json(folder / "config.json", sbert_ce_default_activation_function=name)
        assert fa.load(folder).activation == "identity"

    def test_of_versions_4_and_5(self, folder):
        self.test_of_versions_before_4(folder)
        stored = {"activation_fn": TORCH("activation.Tanh"), "version": "5.1.0"}
        change_json(folder / "config.json", sentence_transformers=stored)
        assert fa.load(folder).activation == "tanh"

    def test_of_version_6(self, folder):
        self.test_of_versions_4_and_5(folder)
        as_version_6(folder)
        assert fa.load(folder).activation == "tanh"
        as_version_6(folder, activation_fn=TORCH("activation.Sigmoid"))
        assert fa.load(folder).activation == "sigmoid"

    def test_it_is_applied(self, folder):
        before = fa.load(folder).predict(PAIRS, activation="identity")
        name = TORCH("activation.ReLU")
        change_json(folder / "config.json", sbert_ce_default_activation_function=name)
        assert_same_bits(fa.load(folder).predict(PAIRS), np.maximum(before, 0))

    @pytest.mark.parametrize(
        "name",
        ["my.code.Sigmoid", "torch.nn.modules.activation.Mish", "torch.Tanh", "Tanh"],
    )
    def test_others_are_refused(self, folder, name):
        stored = {"activation_fn": name}
        change_json(folder / "config.json", sentence_transformers=stored)
        with pytest.raises(
            fa.ModelFormatError, match=r"config\.json: activation_fn names an activation"
        ):
            fa.load(folder)


class TestLabels:
    def test_names(self):
        names = ("contradiction", "entailment", "neutral")
        assert fa.load(CROSS / "albert").labels == names
        assert fa.load(CROSS / "distilbert").labels == ("LABEL_0", "LABEL_1")

    @pytest.mark.parametrize("labels", [{}, {"1": "a"}, {"0": 1}, {"0": "a", "x": "b"}, []])
    def test_that_are_none(self, folder, labels):
        change_json(folder / "config.json", id2label=labels)
        with pytest.raises(
            fa.ModelFormatError, match=r"config\.json: (id2label|0) must be"
        ):
            fa.load(folder)

    def test_another_number_of_them(self, folder):
        change_json(folder / "config.json", id2label={"0": "a", "1": "b"})
        message = r"tensor classifier\.out_proj\.weight must have shape \(2, 24\)"
        with pytest.raises(fa.ModelFormatError, match=message):
            fa.load(folder)


class TestKind:
    def test_as_version_6_says(self, folder):
        drop_json(folder / "config.json", "architectures")
        with pytest.raises(fa.ModelFormatError, match="holds a TextEncoder"):
            fa.CrossEncoder.load(folder)
        as_version_6(folder)
        assert type(fa.load(folder)) is fa.CrossEncoder

    def test_another_kind(self, folder):
        as_version_6(folder)
        change_json(folder / GENERAL, model_type="Encoder")
        with pytest.raises(fa.ModelFormatError, match="model_type must be"):
            fa.load(folder)

    def test_prompts(self, folder):
        unprompted = fa.load(folder)
        prompts = {"a": "the ", "b": ""}
        as_version_6(folder, prompts=prompts, default_prompt_name="a")
        model = fa.load(folder)
        assert model.prompts == prompts
        assert_same_bits(model.predict(PAIRS), unprompted.predict(PAIRS, prompt="the "))

    def test_modules_that_are_not_known(self, folder):
        as_version_6(folder)
        kind = "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"
        more = {"idx": 1, "name": "1", "path": "1_LogitScore", "type": kind}
        modules = json.loads((folder / "modules.json").read_text())
        write_json(folder / "modules.json", [*modules, more])
        with pytest.raises(fa.ModelFormatError, match="LogitScore"):
            fa.load(folder)

    def test_modules_behind_the_transformer(self, folder):
        as_version_6(folder)
        listed = json.loads((folder / "modules.json").read_text())
        kind = "sentence_transformers.base.modules.dense.Dense"
        write_json(folder / "modules.json", [*listed, {"path": "1_Dense", "type": kind}])
        message = "type is Dense, and of a CrossEncoder modules behind the transformer are"
        with pytest.raises(fa.ModelFormatError, match=rf"modules\.json: {message}"):
            fa.load(folder)

    @pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.jinja"])
    def test_a_chat_template(self, folder, name):
        """Where there is no modules.json, pairs would be put into it."""
        change_json(folder / name, chat_template="{{ messages }}")
        with pytest.raises(fa.ModelFormatError, match=rf"{name}: .*take it out of the"):
            fa.load(folder)
        as_version_6(folder)
        fa.load(folder)

    def test_another_task(self, folder):
        as_version_6(folder)
        settings = {"transformer_task": "feature-extraction"}
        write_json(folder / "sentence_bert_config.json", settings)
        with pytest.raises(fa.ModelFormatError, match="transformer_task must be"):
            fa.load(folder)


class TestTensors:
    @pytest.mark.parametrize(
        "name", ["classifier.dense.weight", "classifier.out_proj.bias"]
    )
    def test_missing(self, folder, name):
        tensors = load_file(folder / "model.safetensors")
        del tensors[name]
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(fa.ModelFormatError, match=f"tensor {name} is missing"):
            fa.load(folder)

    def test_unexpected(self, folder):
        tensors = load_file(folder / "model.safetensors")
        tensors["electra.more"] = np.ones(3, np.float32)
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(fa.ModelFormatError, match="unexpected tensor more"):
            fa.load(folder)

    def test_the_encoder_without_its_prefix(self, folder):
        before = fa.load(folder).predict(PAIRS)
        tensors = load_file(folder / "model.safetensors")
        tensors = {name.removeprefix("electra."): tensors[name] for name in tensors}
        save_file(tensors, folder / "model.safetensors")
        assert_same_bits(fa.load(folder).predict(PAIRS), before)


@pytest.mark.parametrize("name", ["config.json", GENERAL, "modules.json"])
def test_damage(folder, name):
    """Every third byte of what says something about scores, changed, and a cut there."""
    as_version_6(folder, activation_fn=TORCH("linear.Identity"), prompts={"a": "b"})
    content = (folder / name).read_bytes()
    outcomes = set()
    for way in (flips, cuts):
        for damaged in islice(way(content, len(content)), 0, None, 3):
            (folder / name).write_bytes(damaged)
            start = time.process_time()
            try:
                scores = fa.load(folder).predict(PAIRS[:2], activation="identity")
                assert len(scores) == 2
                outcomes.add("loaded")
            except fa.ModelFormatError as error:
                assert str(error).startswith(f"{folder}/")
                outcomes.add("refused")
            assert time.process_time() - start < SECONDS
    assert outcomes == {"loaded", "refused"}

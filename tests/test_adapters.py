"""Jina v3 with the adapter of a task merged, against transformers with merged weights."""

from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.bits import assert_same_bits
from support.criterion import assert_accurate
from support.folders import DATA, change_json

import fastattn as fa

FOLDER = DATA / "adapters" / "jina_v3"
TASKS = ("retrieval.query", "text-matching")
SETTINGS = "sentence_bert_config.json"


@pytest.fixture
def folder(tmp_path):
    return Path(copytree(FOLDER, tmp_path / "model"))


@pytest.mark.parametrize("task", [None, *TASKS])
def test_hidden_states(folder, task):
    """Without a task nothing is added, as in the model's own code."""
    if task is not None:
        change_json(folder / SETTINGS, default_task=task)
    with np.load(FOLDER.with_suffix(".npz")) as arrays:
        inputs = arrays["input_ids"], arrays["attention_mask"]
        key = "" if task is None else f"_{task}"
        results = {t: arrays[np.dtype(t).name + key] for t in (np.float32, np.float64)}
    assert_accurate(fa.load(folder).model(*inputs), results.__getitem__)


def test_save(folder, tmp_path):
    """What is written has the adapter of one task merged, and no others."""
    change_json(folder / SETTINGS, default_task=TASKS[1])
    model = fa.load(folder)
    model.save(tmp_path / "saved")
    saved = fa.load(tmp_path / "saved")
    assert_same_bits(saved.encode(["the cat"]), model.encode(["the cat"]))
    assert not any("lora" in field for field in saved.config)
    assert not any(
        "lora" in name for name in load_file(tmp_path / "saved/model.safetensors")
    )


def test_prompts(folder):
    model = fa.load(folder)
    found = model.encode("cat", prompt_name=TASKS[0])
    assert_same_bits(found, model.encode("the cat"))


@pytest.mark.parametrize(
    ("file", "fields", "message"),
    [
        (SETTINGS, {"default_task": "a"}, "default_task must be retrieval.query or text-"),
        ("config.json", {"lora_adaptations": []}, "lora_adaptations must be 1 to"),
        ("config.json", {"lora_rank": 4}, r"lora_A must have shape \(2, 113, 4\)"),
        ("config.json", {"lora_alpha": None}, "lora_alpha must be a number"),
    ],
)
def test_what_would_change_vectors(folder, file, fields, message):
    change_json(folder / file, **fields)
    with pytest.raises(fa.ModelFormatError, match=message):
        fa.load(folder)


def test_a_task_of_a_model_without_adapters(tmp_path):
    folder = Path(copytree(DATA / "tiny_bert", tmp_path / "model"))
    change_json(folder / SETTINGS, default_task="a")
    with pytest.raises(fa.ModelFormatError, match="default_task is about adapters"):
        fa.load(folder)


def test_an_adapter_is_missing(folder):
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("lora_B"))
    del tensors[name]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(fa.ModelFormatError, match=r"lora_B is missing"):
        fa.load(folder)


def test_other_code_is_not_taken_for_it(folder):
    change_json(folder / "config.json", lora_adaptations=None)
    with pytest.raises(fa.ModelFormatError, match="type names a module"):
        fa.load(folder)

"""The tokenizer of multilingual-e5-small, where its package is, which is not imported."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from support.folders import DATA

SPEC = find_spec("semantra_multilingual")


@contextmanager
def folder_with_tokenizer() -> Iterator[Path]:
    """Put the multilingual tokenizer beside a tiny model with a vector for each word."""
    package = Path(SPEC.submodule_search_locations[0])
    tokenizer = package / "assets" / "multilingual-e5-small" / "tokenizer.json"
    added = json.loads(tokenizer.read_text(encoding="utf-8"))
    count = len(added["model"]["vocab"]) + len(added["added_tokens"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(shutil.copytree(DATA / "families" / "xlm_roberta", f"{name}/model"))
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
        settings = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        config = json.loads((folder / "config.json").read_text())
        places = {"vocab_size": count, "max_position_embeddings": 514}
        (folder / "config.json").write_text(json.dumps(config | places))
        tensors = load_file(folder / "model.safetensors")
        for table, rows in (("word", count), ("position", 514)):
            key = f"embeddings.{table}_embeddings.weight"
            tensors[key] = np.zeros((rows, tensors[key].shape[1]), np.float32)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        yield folder

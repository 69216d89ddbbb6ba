"""Damage to folders of other kinds than damage.py's: a static one, a sparse one, shards."""

import json
import time
import zipfile
from itertools import islice
from pathlib import Path
from shutil import copytree

import pytest
from damage import SECONDS, TEXTS, cuts, flips
from support.folders import DATA, split_weights, write_smallest

import fastattn as fa

ROUTER = "router_config.json"
GENERAL = "config_sentence_transformers.json"
INDEX = "model.safetensors.index.json"
QUERY = "query_0_SparseStaticEmbedding"
DOCUMENT = "document_0_Transformer"


def static(folder):
    with zipfile.ZipFile(DATA / "static.zip") as archive:
        name = "mapped_and_weighted/"
        archive.extractall(folder, [n for n in archive.namelist() if n.startswith(name)])
    return folder / name


def sparse(folder):
    return Path(copytree(DATA / "sparse" / "weights", folder / "model"))


def sharded(folder):
    return split_weights(write_smallest(folder / "model"))


# Which files are damaged: settings, and of weights the header.
KINDS = {
    static: ("modules.json", "model.safetensors", "tokenizer.json"),
    sparse: (
        *("modules.json", ROUTER, GENERAL, "document_1_SpladePooling/config.json"),
        *(f"{DOCUMENT}/{name}" for name in ("config.json", "sentence_bert_config.json")),
        *(f"{QUERY}/{name}" for name in ("config.json", "tokenizer_config.json")),
        f"{QUERY}/model.safetensors",
    ),
    sharded: (INDEX, "model-00001-of-00002.safetensors"),
}

# Of how many ways in which a file can be damaged one is tried.
STEP = 41


def outcome(folder):
    """Load a folder and encode with what it holds."""
    start = time.process_time()
    try:
        model = fa.load(folder)
    except fa.ModelFormatError as error:
        assert str(error).startswith(f"{folder}/"), error
        assert str(error).isprintable()
        result = "refused"
    else:
        for method in ("encode", "encode_query", "encode_document"):
            try:
                found = getattr(model, method)(TEXTS, on_truncation="ignore")
            except (fa.ModelFormatError, ValueError) as error:
                # Without a default route, encode says which methods there are.
                assert "call encode_query" in str(error), error
            else:
                assert found.shape[0] == len(TEXTS)
        result = "loaded"
    assert time.process_time() - start < SECONDS
    return result


@pytest.mark.parametrize(
    ("make", "name"),
    [(make, name) for make, names in KINDS.items() for name in names],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_damage(make, name, tmp_path):
    folder = make(tmp_path)
    assert outcome(folder) == "loaded"
    content = (folder / name).read_bytes()
    stop = len(content)
    if name.endswith(".safetensors"):
        stop = 8 + int.from_bytes(content[:8], "little")
    outcomes = set()
    for way in (flips, cuts):
        for damaged in islice(way(content, stop), 0, None, STEP):
            (folder / name).write_bytes(damaged)
            outcomes.add(outcome(folder))
    assert "refused" in outcomes


@pytest.mark.parametrize("name", ["../x/model.safetensors", "/etc/passwd", "a\0b", 3, ""])
def test_a_shard_that_is_elsewhere(tmp_path, name):
    folder = sharded(tmp_path)
    index = json.loads((folder / INDEX).read_text())
    tensor = next(iter(index["weight_map"]))
    index["weight_map"][tensor] = name
    (folder / INDEX).write_text(json.dumps(index))
    assert outcome(folder) == "refused"


@pytest.mark.parametrize("name", [f"{QUERY}/../{QUERY}", "/etc", "a\nb", 3, ""])
def test_a_module_that_is_elsewhere(tmp_path, name):
    folder = sparse(tmp_path)
    settings = (folder / ROUTER).read_text().replace(f'"{QUERY}"', json.dumps(name))
    (folder / ROUTER).write_text(settings)
    assert outcome(folder) == "refused"

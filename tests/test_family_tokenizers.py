"""The tokens of texts for every family, against what transformers makes of the folders.

They are those of make_family_tokenizers.py: with the files as they are, and changed.
"""

import json
import shutil

import pytest
from support.folders import DATA, change_json, drop_json

import fastattn as fa

FAMILIES = DATA / "families"
SUFFIX = ".tokens.json"
EXPECTED = {
    path.name.removesuffix(SUFFIX): json.loads(path.read_text())
    for path in sorted(FAMILIES.glob(f"*{SUFFIX}"))
}
CASES = [
    pytest.param(name, case, id=f"{name}-{index}")
    for name, expected in EXPECTED.items()
    for index, case in enumerate(expected["cases"])
]


@pytest.fixture
def folder(name, case, tmp_path):
    """Copy the folder of a family, and make the changes of a case."""
    folder = shutil.copytree(FAMILIES / name, tmp_path / name)
    for file, fields in case["changes"].items():
        if fields is None:
            (folder / file).unlink()
            continue
        change_json(folder / file, **fields)
        drop_json(folder / file, *(field for field in fields if fields[field] is None))
    return folder


@pytest.mark.parametrize(("name", "case"), CASES)
def test_tokens(folder, name, case):
    model = fa.load(folder)
    tokenizer = model.tokenizer
    tokenizer.no_truncation()
    for text, ids in zip(EXPECTED[name]["texts"], case["texts"], strict=True):
        assert tokenizer.encode(text).ids == ids, text
    tokenizer.enable_truncation(EXPECTED[name]["pair_length"])
    expected = zip(EXPECTED[name]["pairs"], case["pairs"], case["types"], strict=True)
    for pair, ids, types in expected:
        encoding = tokenizer.encode(*pair)
        assert encoding.ids == ids
        if model.model.num_token_types > 1:
            assert encoding.type_ids == (types or [0] * len(ids))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_saved(folder, name, case, tmp_path):
    """What is saved makes the same tokens."""
    model = fa.load(folder)
    model.save(tmp_path / "saved")
    again = fa.load(tmp_path / "saved")
    for text in EXPECTED[name]["texts"]:
        assert again.tokenizer.encode(text).ids == model.tokenizer.encode(text).ids
    for pair in EXPECTED[name]["pairs"]:
        found, expected = (each.tokenizer.encode(*pair) for each in (again, model))
        assert (found.ids, found.type_ids) == (expected.ids, expected.type_ids)

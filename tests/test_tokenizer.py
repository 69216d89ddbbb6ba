"""The tokenizer of a folder: what holds of its settings, and what is refused."""

import json

import pytest
from bits import assert_same_bits
from folders import TINY, change_json, copy_tiny

import fastattn as fa


@pytest.fixture
def folder(tmp_path):
    return copy_tiny(tmp_path)


def refused(folder, message):
    with pytest.raises(fa.ModelFormatError, match=rf"tokenizer\.json: .*{message}"):
        fa.load(folder)


def test_its_own_padding_does_not_hold():
    model = fa.load(TINY)
    stored = json.loads((TINY / "tokenizer.json").read_text())
    assert stored["padding"]["strategy"] == {"Fixed": 16}
    assert stored["truncation"]["max_length"] == 12
    assert model.encode("cat", output="tokens").shape == (3, 32)
    assert model.encode("cat " * 20, output="tokens").shape == (22, 32)


def test_token_ids_beyond_the_table(folder):
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text())
    stored["model"]["vocab"]["more"] = 113
    path.write_text(json.dumps(stored))
    message = r"tokenizer\.json: has the token id 113, vocab_size .* is 113"
    with pytest.raises(fa.ModelFormatError, match=message):
        fa.load(folder)


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"model": 1}'])
def test_damaged(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(fa.ModelFormatError, match=r"tokenizer\.json: "):
        fa.load(folder)


def test_a_panic_of_the_library(folder):
    normalizer = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    change_json(folder / "tokenizer.json", normalizer=normalizer)
    refused(folder, "Cannot parse precompiled_charsmap")


def test_missing(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(fa.ModelFormatError, match=r"tokenizer\.json: no such file"):
        fa.load(folder)


def test_do_lower_case(folder):
    model = fa.load(TINY)
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text())
    stored["normalizer"]["lowercase"] = False
    path.write_text(json.dumps(stored))
    assert (fa.load(folder).encode("THE Cat") != model.encode("the cat")).any()
    change_json(folder / "sentence_bert_config.json", do_lower_case=True)
    assert_same_bits(fa.load(folder).encode("THE Cat"), model.encode("the cat"))


def test_another_task(folder):
    change_json(folder / "sentence_bert_config.json", transformer_task="fill-mask")
    with pytest.raises(fa.ModelFormatError, match="transformer_task must be"):
        fa.load(folder)

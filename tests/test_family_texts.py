"""Texts through the models of every family; where a folder has no tokenizer, a tiny one."""

import shutil

import pytest
from support.bits import assert_same_bits
from support.folders import DATA, smallest_tokenizer, write_json

import fastattn as fa
from fastattn.nn import buffers

FAMILIES = DATA / "families"
NAMES = sorted(path.name for path in FAMILIES.iterdir() if path.is_dir())
TEXTS = ["a", "", "ba b aab", "a text of more than is read " * 9, "b"]


@pytest.fixture(params=NAMES)
def model(request, tmp_path):
    folder = shutil.copytree(FAMILIES / request.param, tmp_path / request.param)
    if not (folder / "tokenizer.json").exists():
        smallest_tokenizer().save(str(folder / "tokenizer.json"))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 9}
        write_json(folder / "tokenizer_config.json", settings)
    return fa.load(folder)


@pytest.fixture
def texts(model):
    """Give texts of which there are tokens: some tokenizers put none around them."""
    return [text for text in TEXTS if model.tokenizer.encode(text).ids]


def test_vectors(model, texts):
    ignore = {"on_truncation": "ignore"}
    vectors = model.encode(texts, **ignore)
    tokens = model.encode(texts, output="tokens", **ignore)
    for text, vector, states in zip(texts, vectors, tokens, strict=True):
        encoding = model.tokenizer.encode(text)
        types = [encoding.type_ids]
        assert_same_bits(states, model.model([encoding.ids], token_type_ids=types)[0])
        assert_same_bits(vector, model.encode(text, **ignore))
    assert_same_bits(model.encode(texts, num_threads=3, **ignore), vectors)
    (streamed,) = model.encode_stream(iter(texts), **ignore)
    assert_same_bits(streamed, vectors)


def test_rows_of_working_memory_that_lie_apart(model, texts, monkeypatch):
    expected = model.encode(texts, output="tokens", on_truncation="ignore")
    monkeypatch.setattr(buffers, "PAGE", 1)
    found = model.encode(texts, output="tokens", on_truncation="ignore")
    for states, alike in zip(found, expected, strict=True):
        assert states.flags.c_contiguous
        assert_same_bits(states, alike)


def test_what_is_on_the_way(model, texts):
    trace = fa.trace(model, texts[0])
    assert_same_bits(trace["output"], model.encode(texts[0], output="tokens"))
    assert_same_bits(trace["1_Pooling"], model.encode(texts[0]))
    assert fa.explain(model, texts[0]).startswith("<!doctype html>")

"""A real tokenizer of a hundred languages against transformers, where its package is."""

import json

import pytest
from support.folders import DATA
from support.multilingual import SPEC, folder_with_tokenizer

import fastattn as fa


@pytest.mark.skipif(SPEC is None, reason="see requirements-multilingual.txt")
def test_tokens():
    with folder_with_tokenizer() as folder:
        tokenizer = fa.load(folder).tokenizer
    expected = json.loads((DATA / "multilingual.json").read_text())
    for text, ids in zip(expected["texts"], expected["ids"], strict=True):
        assert tokenizer.encode(text).ids == ids, text

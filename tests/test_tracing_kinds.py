"""Traces and pages of rerankers, classifiers and sparse encoders."""

import json
import re

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import DATA

import fastattn as fa
from fastattn.cli import main

CROSS, SPARSE = DATA / "cross", DATA / "sparse"
PAIR = ("is the fox red?", "the red fox jumps over a dog")


class TestCrossEncoder:
    @pytest.mark.parametrize("name", ["electra", "albert", "qwen3", "eurobert_late"])
    def test_logits(self, name):
        model = fa.load(CROSS / name)
        for text, pair in (PAIR, (PAIR[0], None)):
            trace = fa.trace(model, text, pair=pair)
            expected = model.predict(text if pair is None else PAIR, activation="identity")
            assert_same_bits(trace["logits"], np.reshape(expected, -1))
            assert list(trace)[-1] == "logits"
        assert len(trace.layers) == 1
        assert trace.layers[0]["weights"].shape[-1] == len(trace.tokens)

    def test_names(self):
        model = fa.load(CROSS / "electra")
        trace = fa.trace(model, *PAIR[:1], pair=PAIR[1], names=["logits", "weights"])
        assert list(trace) == ["logits"]
        assert list(trace.layers[0]) == ["weights"]
        with pytest.raises(ValueError, match=r"must be one of .*'logits', got 'words'"):
            fa.trace(model, "a", names="words")
        assert [t["logits"].shape for t in fa.trace(model, ["a", "b"])] == [(1,), (1,)]


class TestSparseEncoder:
    @pytest.mark.parametrize("name", ["bert", "roberta", "weights"])
    def test_words(self, name):
        model = fa.load(SPARSE / name)
        trace = fa.trace(model, PAIR[1])
        assert_same_bits(trace["words"], model.encode(PAIR[1]).toarray())
        assert list(trace)[-1] == "words"


class TestPage:
    @pytest.mark.parametrize(
        ("folder", "behind"),
        [
            (CROSS / "electra", "sigmoid of LABEL_0"),
            (SPARSE / "bert", "Splade(pooling='max', activation='relu')"),
        ],
        ids=["cross", "sparse"],
    )
    def test_what_follows_the_last_layer(self, capsys, folder, behind):
        model = fa.load(folder)
        page = fa.explain(model, *PAIR, name=folder.name)
        data = json.loads(re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)[0])
        assert data["modules"] == [behind]
        assert data["pair"] == PAIR[1]
        arguments = ["explain", "--model", str(folder), PAIR[0], "--pair", PAIR[1]]
        assert main([*arguments, "-o", "-"]) == 0
        assert capsys.readouterr().out == page

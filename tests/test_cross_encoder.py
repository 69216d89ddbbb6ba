"""Scores of pairs and of texts, against what sentence-transformers computes in float64."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.bits import THREADS, assert_same_bits
from support.criterion import assert_accurate
from support.folders import DATA, TINY

import fastattn as fa

CROSS = DATA / "cross"
NAMES = sorted(path.name for path in CROSS.iterdir() if path.is_dir())
INPUTS = json.loads((CROSS / "inputs.json").read_text())
TEXTS, PAIRS = INPUTS["texts"], [tuple(pair) for pair in INPUTS["pairs"]]
ALL = {"texts": TEXTS, "pairs": PAIRS}

pytestmark = pytest.mark.filterwarnings("ignore::fastattn.TruncationWarning")


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return fa.load(CROSS / name)


@pytest.fixture(scope="module")
def reranker():
    """One label, whose scores go through the sigmoid."""
    return fa.load(CROSS / "electra")


@pytest.fixture(scope="module")
def classifier():
    """Three labels."""
    return fa.load(CROSS / "modernbert_biased")


class TestParity:
    @pytest.mark.parametrize("kind", ["texts", "pairs"])
    def test_scores(self, name, model, kind, isa):
        with np.load(CROSS / f"{name}.npz") as arrays:
            results = {t: arrays[f"{kind}_{np.dtype(t)}"] for t in (np.float32, np.float64)}
        found = model.predict(ALL[kind], activation="identity")
        labels = len(model.labels)
        assert found.shape == ((len(ALL[kind]), labels)[: 2 if labels > 1 else 1])
        assert_accurate(found.reshape(-1, labels), results.__getitem__)

    @pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softmax", "relu"])
    def test_activations(self, classifier, activation):
        logits = classifier.predict(PAIRS)

        def compute(dtype):
            x = logits.astype(dtype)
            if activation == "softmax":
                e = np.exp(x - x.max(axis=-1, keepdims=True))
                return e / e.sum(axis=-1, keepdims=True)
            if activation == "sigmoid":
                return 1 / (1 + np.exp(-x))
            return np.tanh(x) if activation == "tanh" else np.maximum(x, 0)

        assert_accurate(classifier.predict(PAIRS, activation=activation), compute)


class TestBits:
    def test_threads(self, model):
        expected = model.predict(PAIRS, num_threads=1)
        for threads in THREADS:
            assert_same_bits(model.predict(PAIRS, num_threads=threads), expected)

    def test_alone_and_in_batches(self, model):
        expected = model.predict(PAIRS)
        for batch_tokens in (1, 30, 100_000):
            assert_same_bits(model.predict(PAIRS, batch_tokens=batch_tokens), expected)
        for pair, scores in zip(PAIRS, expected, strict=True):
            assert_same_bits(np.asarray(model.predict(pair)), np.asarray(scores))

    def test_many_threads_at_once(self, reranker):
        expected = reranker.predict(PAIRS)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda _: reranker.predict(PAIRS), range(8)):
                assert_same_bits(found, expected)

    def test_pickle(self, model):
        copy = pickle.loads(pickle.dumps(model))
        assert_same_bits(copy.predict(PAIRS), model.predict(PAIRS))


class TestPredict:
    def test_kinds_of_inputs(self, reranker, classifier):
        assert np.ndim(reranker.predict("a")) == np.ndim(reranker.predict(("a", "b"))) == 0
        assert reranker.predict(["a", "b"]).shape == (2,)
        assert reranker.predict([("a", "b")]).shape == (1,)
        assert reranker.predict((("a", "b"), ("a", "c"))).shape == (2,)
        assert reranker.predict(iter([["a", "b"]])).shape == (1,)
        assert reranker.predict([]).shape == (0,)
        assert classifier.predict("a").shape == classifier.predict(("a", "b")).shape == (3,)
        assert classifier.predict([]).shape == (0, 3)
        assert reranker.predict(["a", "b"])[0] == reranker.predict("a")
        assert reranker.predict(["a", "b"])[0] != reranker.predict(("a", "b"))

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            (3, "inputs must be a str, a .* tuple, or several of one kind, got int"),
            (("a", "b", "c"), r"inputs must be two texts, got \(str, str, str\): pass"),
            ([("a", "b"), "c"], r"inputs\[1\] must be a \(text, text\) tuple, got str"),
            (["a", ("b", "c")], r"inputs\[1\] must be a str as those before, got tuple"),
            (
                [("a", None)],
                r"inputs\[0\]\[1\] must be a str, got NoneType: leave",
            ),
            ({"a": "b"}, "inputs must be .*, got dict: pass its values"),
        ],
    )
    def test_other_inputs(self, reranker, inputs, message):
        with pytest.raises(TypeError, match=message):
            reranker.predict(inputs)

    def test_options(self, reranker):
        with pytest.raises(ValueError, match='"softmax" is over labels'):
            reranker.predict("a", activation="softmax")
        with pytest.raises(ValueError, match="activation must be one of"):
            reranker.predict("a", activation="gelu_new")
        with pytest.raises(TypeError, match="prompt must be a str"):
            reranker.predict("a", prompt=1)
        with pytest.raises(ValueError, match=r"inputs\[1\] has more than 24 tokens"):
            reranker.predict(["a", "the cat " * 40], on_truncation="error")

    def test_a_prompt_is_in_front_of_the_first_text(self, reranker):
        prompted = reranker.predict([("a", "b")], prompt="the ")
        assert_same_bits(prompted, reranker.predict([("the a", "b")]))
        prompted = reranker.predict(["a"], prompt="the ")
        assert_same_bits(prompted, reranker.predict(["the a"]))

    @pytest.mark.filterwarnings("default::fastattn.TruncationWarning")
    def test_the_warning_is_at_the_call(self, reranker):
        long = "the cat " * 40
        calls = [
            lambda: reranker.predict([(long, "a"), ("a", "b")]),
            lambda: reranker.rank("a", [long, "b"]),
        ]
        for call in calls:
            with pytest.warns(fa.TruncationWarning, match="1 of 2 texts cut at") as caught:
                call()
            assert caught[0].filename == __file__

    def test_max_length(self, name):
        model = fa.load(CROSS / name)
        model.max_length = 9
        assert model.predict(("the " * 50, "cat " * 50)) is not None
        least = model.tokenizer.num_special_tokens_to_add(is_pair=True) + 1
        with pytest.raises(ValueError, match=f"max_length must be from {least} to"):
            model.max_length = least - 1


class TestRank:
    documents = ("", *TEXTS, "the red fox", "the red fox")

    def test_order(self, reranker):
        ranked = reranker.rank("the red fox", self.documents)
        scores = reranker.predict([("the red fox", text) for text in self.documents])
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
        assert [entry["corpus_id"] for entry in ranked] == order
        assert [entry["score"] for entry in ranked] == [float(scores[i]) for i in order]
        assert all(entry.keys() == {"corpus_id", "score"} for entry in ranked)
        assert type(ranked[0]["score"]) is float
        assert type(ranked[0]["corpus_id"]) is int

    def test_options(self, reranker):
        everything = reranker.rank("a", self.documents, return_documents=True)
        assert all(e["text"] == self.documents[e["corpus_id"]] for e in everything)
        assert reranker.rank("a", self.documents, top_k=2) == [
            {name: e[name] for name in ("corpus_id", "score")} for e in everything[:2]
        ]
        assert len(reranker.rank("a", self.documents, top_k=99)) == len(self.documents)
        logits = reranker.rank("a", self.documents, activation="identity")
        assert [e["corpus_id"] for e in logits] == [e["corpus_id"] for e in everything]
        assert reranker.rank("a", []) == []

    def test_errors(self, reranker, classifier):
        with pytest.raises(ValueError, match="this model has 3 labels"):
            classifier.rank("a", ["b"])
        with pytest.raises(TypeError, match="query must be a str, got list"):
            reranker.rank(["a"], ["b"])
        with pytest.raises(TypeError, match="documents must be several str, got str"):
            reranker.rank("a", "b")
        with pytest.raises(TypeError, match=r"documents\[1\] must be a str, got NoneType"):
            reranker.rank("a", ["b", None])
        with pytest.raises(ValueError, match="top_k must be at least 1"):
            reranker.rank("a", ["b"], top_k=0)
        with pytest.raises(ValueError, match=r"documents\[1\] is not valid Unicode"):
            reranker.rank("a", ["b", "\ud800"])
        with pytest.raises(ValueError, match="query is not valid Unicode"):
            reranker.rank("\ud800", ["b"])


class TestFolders:
    def test_what_is_loaded(self, model, name):
        assert type(model) is fa.CrossEncoder
        assert type(fa.CrossEncoder.load(CROSS / name)) is fa.CrossEncoder
        with pytest.raises(fa.ModelFormatError, match="holds a CrossEncoder: load it with"):
            fa.TextEncoder.load(CROSS / name)
        with pytest.raises(fa.ModelFormatError, match="holds a TextEncoder: load it with"):
            fa.CrossEncoder.load(TINY)
        assert "CrossEncoder(EncoderModel(" in repr(model)

    def test_save(self, model, name, tmp_path):
        model.activation = "tanh"
        model.prompt = "the "
        model.max_length = 20
        model.save(tmp_path / "saved")
        saved = fa.load(tmp_path / "saved")
        assert saved.labels == model.labels
        assert saved.activation == "tanh"
        assert_same_bits(saved.predict(PAIRS), model.predict(PAIRS))
        assert_same_bits(saved.predict(TEXTS), model.predict(TEXTS))
        read = load_file(CROSS / name / "model.safetensors")
        written = load_file(tmp_path / "saved" / "model.safetensors")
        assert written.keys() == read.keys()
        for key, tensor in read.items():
            assert_same_bits(written[key], tensor)
        # transformers would look for these types in a table that has one row, or none.
        settings = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
        typed = "token_type_ids" in settings.get("model_input_names", [])
        assert not typed or model.model.num_token_types > 1

    @pytest.mark.parametrize("weights", ["float16", "bfloat16", "int8"])
    def test_narrow_weights(self, model, name, weights, tmp_path):
        narrow = fa.load(CROSS / name, weights=weights)
        assert narrow.nbytes < model.nbytes
        narrow.save(tmp_path / "saved")
        assert_same_bits(fa.load(tmp_path / "saved").predict(PAIRS), narrow.predict(PAIRS))

"""Weights of words, against what sentence-transformers computes in float64."""

import json
import pickle
import sys
from pathlib import Path
from shutil import copytree
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.bits import THREADS, assert_same_bits
from support.criterion import assert_accurate
from support.folders import DATA, change_json, write_json

import fastattn as fa
from fastattn.models import words

SPARSE = DATA / "sparse"
# Those of test_router.py are in folders of another form.
NAMES = sorted({path.parent.name for path in SPARSE.glob("*/config.json")})
TEXTS = json.loads((DATA / "cross" / "inputs.json").read_text())["texts"]
GENERAL = "config_sentence_transformers.json"

pytestmark = pytest.mark.filterwarnings("ignore::fastattn.TruncationWarning")


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return fa.load(SPARSE / name)


@pytest.fixture
def folder(tmp_path):
    return Path(copytree(SPARSE / "bert", tmp_path / "model"))


def assert_same(found, expected):
    """Hold sparse vectors to others, to the bit."""
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert_same_bits(found.values, expected.values)


def test_vectors(name, model, isa):
    with np.load(SPARSE / f"{name}.npz") as arrays:
        results = {t: arrays[np.dtype(t).name] for t in (np.float32, np.float64)}
    found = model.encode(TEXTS)
    assert_accurate(found.toarray(), results.__getitem__)
    assert len(found.values) == np.count_nonzero(results[np.float64])


class TestBits:
    def test_threads_and_batches(self, model):
        expected = model.encode(TEXTS, num_threads=1)
        for threads in THREADS:
            assert_same(model.encode(TEXTS, num_threads=threads), expected)
        for batch_tokens in (1, 30, 100_000):
            assert_same(model.encode(TEXTS, batch_tokens=batch_tokens), expected)

    def test_alone(self, model):
        for text, row in zip(TEXTS, model.encode(TEXTS), strict=True):
            indices, values = next(iter(model.encode(text)))
            np.testing.assert_array_equal(indices, row[0])
            assert_same_bits(values, row[1])

    def test_any_number_of_texts_at_a_time(self, model, monkeypatch):
        expected = model.encode(TEXTS)
        for numbers in (1, 300, 600):
            monkeypatch.setattr(words, "NUMBERS", numbers)
            assert_same(model.encode(TEXTS), expected)

    def test_pickle(self, model):
        copy = pickle.loads(pickle.dumps(model))
        assert_same(copy.encode(TEXTS), model.encode(TEXTS))

    def test_save(self, model, name, tmp_path):
        model.prompt = "the "
        model.max_length = 20
        model.save(tmp_path / "saved")
        saved = fa.load(tmp_path / "saved")
        assert type(saved) is fa.SparseEncoder
        assert saved.splade == model.splade
        assert_same(saved.encode(TEXTS), model.encode(TEXTS))
        read = load_file(SPARSE / name / "model.safetensors")
        written = load_file(tmp_path / "saved" / "model.safetensors")
        # Who has words of its own adds the numbers beside them, and no others.
        unused = {"cls.predictions.bias"} if name == "bert_untied" else set()
        assert written.keys() == read.keys() - unused

    @pytest.mark.parametrize("weights", ["float16", "bfloat16", "int8"])
    def test_narrow_weights(self, model, name, weights):
        narrow = fa.load(SPARSE / name, weights=weights)
        assert narrow.nbytes < model.nbytes
        close = np.abs(narrow.encode(TEXTS).toarray() - model.encode(TEXTS).toarray())
        assert 0 < close.max() < 0.5


class TestEncode:
    def test_shapes(self, model):
        assert model.encode("a").shape == (113,)
        assert model.encode(["a"]).shape == (1, 113)
        assert model.encode([]).shape == (0, 113)
        assert model.encode([]).toarray().shape == (0, 113)
        assert len(list(model.encode(["a", "b"]))) == 2

    def test_prompts(self, model):
        assert_same(model.encode(["a"], prompt="the "), model.encode(["the a"]))

    def test_errors(self, model):
        with pytest.raises(TypeError, match=r"inputs\[1\] must be a str, got int"):
            model.encode(["a", 1])
        with pytest.raises(ValueError, match=r"inputs\[0\] has more than 24 tokens"):
            model.encode(["the cat " * 40], on_truncation="error")

    @pytest.mark.filterwarnings("default::fastattn.TruncationWarning")
    def test_the_warning_is_at_the_call(self, model):
        with pytest.warns(fa.TruncationWarning, match="1 of 2 texts cut") as caught:
            model.encode(["the cat " * 40, "a"])
        assert caught[0].filename == __file__

    def test_decode(self, model):
        vectors = model.encode(TEXTS)
        decoded = model.decode(vectors)
        for pairs, (indices, values) in zip(decoded, vectors, strict=True):
            order = np.argsort(-values, kind="stable")
            assert [weight for _, weight in pairs] == values[order].tolist()
            tokens = [model.tokenizer.id_to_token(int(i)) for i in indices[order]]
            assert [token for token, _ in pairs] == tokens
        assert model.decode(vectors, top_k=2) == [pairs[:2] for pairs in decoded]
        assert model.decode(model.encode(TEXTS[1])) == decoded[1]
        with pytest.raises(TypeError, match="vectors must be SparseVectors, got ndarray"):
            model.decode(vectors.toarray())
        with pytest.raises(ValueError, match="top_k must be at least 1"):
            model.decode(vectors, top_k=0)
        other = fa.SparseVectors([0, 0], [], np.empty(0, np.float32), (1, 4))
        with pytest.raises(ValueError, match="vectors must have 113 columns, got"):
            model.decode(other)

    def test_similarity(self, model):
        a, b = model.encode(TEXTS), model.encode(TEXTS[:3])
        wide = a.toarray().astype(np.float64) @ b.toarray().T.astype(np.float64)
        assert_same_bits(model.similarity(a, b), wide.astype(np.float32))
        assert model.similarity(model.encode("a"), b).shape == (1, 3)


class TestVectors:
    def make(self):
        values = np.float32([1, 2, 3])
        return fa.SparseVectors([0, 2, 2, 3], [0, 2, 1], values, (3, 4))

    def test_rows(self):
        rows = [(i.tolist(), v.tolist()) for i, v in self.make()]
        assert rows == [([0, 2], [1, 2]), ([], []), ([1], [3])]
        assert len(self.make()) == 3
        assert repr(self.make()) == "SparseVectors(shape=(3, 4), values=3)"
        dense = [[1, 0, 2, 0], [0, 0, 0, 0], [0, 3, 0, 0]]
        assert self.make().toarray().tolist() == dense

    def test_dot(self):
        vectors = self.make()
        assert vectors.dot(vectors).tolist() == [[5, 0, 0], [0, 0, 0], [0, 0, 9]]
        with pytest.raises(ValueError, match="must have the same dim"):
            vectors.dot(fa.SparseVectors([0, 0], [], np.empty(0, np.float32), (1, 5)))
        with pytest.raises(TypeError, match="must be SparseVectors, got list"):
            vectors.dot([1])

    def test_distances(self):
        vectors, dense = self.make(), self.make().toarray().astype(np.float64)
        apart = dense[:, None] - dense
        lengths = -np.sqrt((apart**2).sum(2)), -np.abs(apart).sum(2)
        for name, expected in zip(("euclidean", "manhattan"), lengths, strict=True):
            np.testing.assert_allclose(vectors.compare(name, vectors), expected)
        cosines = vectors.compare("cosine", vectors)
        assert cosines.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
        with pytest.raises(ValueError, match="function must be one of"):
            vectors.compare("l2", vectors)

    def test_scipy(self, monkeypatch):
        """With a module in its place that keeps what it is given."""
        vectors, scipy = self.make(), ModuleType("scipy.sparse")
        scipy.csr_array = lambda arrays, shape: (arrays, shape)
        monkeypatch.setitem(sys.modules, "scipy", ModuleType("scipy"))
        monkeypatch.setitem(sys.modules, "scipy.sparse", scipy)
        (values, indices, indptr), shape = vectors.to_scipy()
        assert values is vectors.values
        assert indices is vectors.indices
        assert indptr is vectors.indptr
        assert shape == (3, 4)
        monkeypatch.setitem(sys.modules, "scipy.sparse", None)
        with pytest.raises(ImportError, match="needs the package scipy"):
            vectors.to_scipy()


class TestFolders:
    def test_kinds(self, folder):
        assert type(fa.load(folder)) is fa.SparseEncoder
        with pytest.raises(fa.ModelFormatError, match="holds a SparseEncoder"):
            fa.TextEncoder.load(folder)

    def test_as_transformers_writes_it(self, folder):
        expected = fa.load(folder).encode(TEXTS)
        for name in ("modules.json", GENERAL, "sentence_bert_config.json"):
            (folder / name).unlink()
        assert_same(fa.SparseEncoder.load(folder).encode(TEXTS), expected)
        assert type(fa.load(folder)) is fa.TextEncoder

    def test_of_old_versions(self, folder):
        expected = fa.load(folder).encode(TEXTS)
        kind = "sentence_transformers.sparse_encoder.models.{}".format
        kinds = {"": "MLMTransformer", "1_SpladePooling": "SpladePooling"}
        modules = [{"path": path, "type": kind(name)} for path, name in kinds.items()]
        write_json(folder / "modules.json", modules)
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": 24})
        settings = {"pooling_strategy": "max", "word_embedding_dimension": 113}
        write_json(folder / "1_SpladePooling" / "config.json", settings)
        assert_same(fa.load(folder).encode(TEXTS), expected)

    @pytest.mark.parametrize(
        ("file", "fields", "message"),
        [
            (GENERAL, {"similarity_fn_name": "maxsim"}, "similarity_fn_name must be"),
            (GENERAL, {"max_active_dims": 0}, "max_active_dims must be from 1"),
            (GENERAL, {"truncate_dim": 3}, "truncate_dim is not read"),
            (
                "1_SpladePooling/config.json",
                {"pooling_strategy": "mean"},
                "pooling_strategy must be max or sum",
            ),
            (
                "1_SpladePooling/config.json",
                {"activation_function": "gelu"},
                "activation_function must be relu or log1p_relu",
            ),
            ("1_SpladePooling/config.json", {"more": 1}, "more is a field that"),
            ("sentence_bert_config.json", {"transformer_task": "a"}, "transformer_task"),
        ],
    )
    def test_what_would_change_vectors(self, folder, file, fields, message):
        change_json(folder / file, **fields)
        with pytest.raises(fa.ModelFormatError, match=rf"{Path(file).stem}.*{message}"):
            fa.load(folder)

    @pytest.mark.parametrize("modules", [1, 3])
    def test_another_number_of_modules(self, folder, modules):
        listed = json.loads((folder / "modules.json").read_text())
        write_json(folder / "modules.json", (listed + listed[1:])[:modules])
        kinds = ["Transformer", "SpladePooling", "SpladePooling"][:modules]
        with pytest.raises(fa.ModelFormatError, match=f"got {' and '.join(kinds)}$"):
            fa.load(folder)

    def test_a_family_without_a_head_for_words(self, folder):
        change_json(folder / "config.json", model_type="nomic_bert")
        with pytest.raises(fa.ModelFormatError, match="nomic_bert has no head for words"):
            fa.load(folder)

    def test_words_of_its_own(self, tmp_path):
        """What the file has of the decoder holds, whatever config.json says."""
        folder = Path(copytree(SPARSE / "bert_untied", tmp_path / "model"))
        expected = fa.load(folder).encode(TEXTS)
        change_json(folder / "config.json", tie_word_embeddings=True)
        assert_same(fa.load(folder).encode(TEXTS), expected)

    def test_words_of_its_own_are_missing(self, folder):
        change_json(folder / "config.json", tie_word_embeddings=False)
        missing = r"tensor cls\.predictions\.decoder\.weight is missing"
        with pytest.raises(fa.ModelFormatError, match=missing):
            fa.load(folder)

    def test_other_names_of_tensors(self, folder):
        """The table of words again, as some files have it, and old names of norms."""
        expected = fa.load(folder).encode(TEXTS)
        tensors = load_file(folder / "model.safetensors")
        table = tensors["bert.embeddings.word_embeddings.weight"]
        bias = tensors["cls.predictions.bias"]
        tensors["cls.predictions.decoder.weight"] = table.copy()
        tensors["cls.predictions.decoder.bias"] = bias.copy()
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for new, other in old.items():
            names = [name for name in tensors if name.endswith(new)]
            tensors |= {n.replace(new, other): tensors.pop(n) for n in names}
        save_file(tensors, folder / "model.safetensors")
        assert_same(fa.load(folder).encode(TEXTS), expected)

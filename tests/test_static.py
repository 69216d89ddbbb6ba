"""Static models: against sentence-transformers, bits, saving, refusals."""

import copy
import json
import pickle
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.bits import THREADS, assert_same_bits
from support.criterion import assert_accurate
from support.folders import DATA, change_json

import fastattn as fa

EXPECTED = np.load(DATA / "static.npz")
TEXTS = EXPECTED["texts"].tolist()
NAMES = [name for name in EXPECTED if f"{name}.float32" in EXPECTED]
EMPTY = [TEXTS.index(""), TEXTS.index(" \t")]


def folder_of(name, to):
    """Get the folder of a model."""
    with zipfile.ZipFile(DATA / "static.zip") as archive:
        inside = [path for path in archive.namelist() if path.startswith(f"{name}/")]
        archive.extractall(to, inside)
    return to / name


def vectors(model, texts=TEXTS, **options):
    return model.encode(texts, on_truncation="ignore", **options)


@pytest.fixture
def load(tmp_path):
    return lambda name: fa.load(folder_of(name, tmp_path))


def test_what_there_is_to_look_at(load):
    """Vectors on the way, and no heads."""
    model = load(NAMES[0])
    trace = fa.trace(model, "a")
    assert_same_bits([*trace.values()][-1], vectors(model, "a"))
    assert trace.layers == ()
    with pytest.raises(ValueError, match="a static model looks words up in a table: no"):
        fa.explain(model, "a")


@pytest.mark.parametrize("name", NAMES)
class TestEveryModel:
    def test_numbers(self, load, name):
        expected = {
            np.float64: EXPECTED[name],
            np.float32: EXPECTED[f"{name}.float32"],
        }
        assert_accurate(vectors(load(name)), expected.get)

    def test_bits(self, load, name):
        model = load(name)
        every = vectors(model)
        for threads in THREADS:
            assert_same_bits(vectors(model, num_threads=threads), every)
        assert_same_bits(vectors(model, batch_tokens=1), every)
        for text, vector in zip(TEXTS, every, strict=True):
            assert_same_bits(vectors(model, text), vector)

    def test_has_nothing_to_compute_in_lower_precision(self, tmp_path, name):
        folder = folder_of(name, tmp_path)
        narrow = fa.load(folder, compute="int8")
        assert_same_bits(vectors(narrow), vectors(fa.load(folder)))

    def test_saved_and_read_again(self, load, tmp_path, name):
        model = load(name)
        model.save(tmp_path / "saved")
        saved = fa.load(tmp_path / "saved")
        assert_same_bits(vectors(saved), vectors(model))
        assert repr(saved) == repr(model)
        assert (saved.prompts, saved.dim) == (model.prompts, model.dim)

    def test_copies(self, load, name):
        model = load(name)
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert_same_bits(vectors(other), vectors(model))


class TestPlain:
    def test_a_vector_is_the_mean_of_rows(self, load):
        model = load("plain")
        ids = model.tokenizer.encode("the cat").ids
        assert model.tokenizer.id_to_token(ids[0]) == "the"
        rows = model.model.word_embeddings.weight[ids]
        assert_same_bits(model.encode("the cat", output="tokens"), rows)
        assert_same_bits(model.model([ids])[0], rows)
        np.testing.assert_allclose(model.encode("the cat"), rows.mean(0), atol=1e-6)

    def test_of_no_tokens_is_zeros(self, load):
        model = load("plain")
        assert not vectors(model)[EMPTY].any()
        assert model.encode("", output="tokens").shape == (0, 13)
        assert not model.encode("", normalize=True).any()

    def test_the_modules_are_named_as_their_folders(self, load):
        assert list(load("normalized").modules) == ["0_StaticEmbedding", "1_Normalize"]

    def test_a_trace_has_rows_and_the_mean(self, load):
        model = load("plain")
        trace = fa.trace(model, "the cat")
        assert trace["embeddings"].shape == (len(trace.tokens), 13)
        assert_same_bits(trace["0_StaticEmbedding"], model.encode("the cat"))

    def test_the_table_stays_in_the_file(self, load):
        model = load("plain")
        assert not model.model.word_embeddings.weight.flags.owndata
        assert model.nbytes == 4 * model.model.vocab_size * 13


class TestLength:
    def test_is_that_of_the_tokenizer(self, load):
        model = load("cut")
        assert model.max_length == 3
        with pytest.warns(fa.TruncationWarning, match="texts cut at 3 tokens"):
            model.encode(TEXTS)

    def test_is_without_a_limit_otherwise(self, load):
        tokens = load("plain").encode(TEXTS[-1], on_truncation="error", output="tokens")
        assert len(tokens) == 1200

    def test_set_and_saved(self, load, tmp_path):
        model = load("plain")
        model.max_length = 2
        model.save(tmp_path / "saved")
        assert fa.load(tmp_path / "saved").max_length == 2


class TestRefused:
    @pytest.fixture
    def folder(self, tmp_path):
        return folder_of("mapped_and_weighted", tmp_path)

    @pytest.fixture
    def refused(self, folder):
        def check(name, message):
            with pytest.raises(fa.ModelFormatError, match=message) as info:
                fa.load(folder)
            assert str(info.value).startswith(f"{folder / name}: ")

        return check

    @pytest.mark.parametrize(
        ("name", "change", "message"),
        [
            ("mapping", lambda t: t - 1, "mapping must be from 0 to 18, got -1"),
            ("mapping", lambda t: t + 1, "mapping must be from 0 to 18, got 19"),
            ("mapping", lambda t: t * 1.0, "mapping must be stored as I64 or I32, got F64"),
            ("mapping", lambda t: t[None], "mapping must have 1 dimensions"),
            ("mapping", lambda t: t[:-1], r"weights must have shape"),
            ("weights", lambda t: t[:-1], r"weights must have shape"),
            ("weights", lambda t: t.astype(float), "weights must be stored as one of"),
            ("weights", lambda t: t + np.inf, "weights holds NaN or infinity"),
            ("embeddings", lambda t: t[0], "embeddings must have 2 dimensions"),
            ("embeddings", lambda t: t[:, :0], "embeddings must have 2 dimensions"),
            ("embeddings", lambda t: t.astype(np.int8), "embeddings must be stored as one"),
        ],
    )
    def test_tensors(self, folder, refused, name, change, message):
        tensors = load_file(folder / "model.safetensors")
        tensors[name] = np.ascontiguousarray(change(tensors[name]))
        save_file(tensors, folder / "model.safetensors")
        refused("model.safetensors", message)

    def test_a_tensor_that_nobody_takes(self, folder, refused):
        tensors = load_file(folder / "model.safetensors")
        save_file(tensors | {"bias": np.ones(3)}, folder / "model.safetensors")
        refused("model.safetensors", "unexpected tensor bias")

    def test_no_table(self, folder, refused):
        save_file({"a": np.ones(3)}, folder / "model.safetensors")
        refused("model.safetensors", "tensor embedding.weight is missing")

    def test_fewer_rows_than_tokens(self, folder, refused):
        tensors = load_file(folder / "model.safetensors")
        short = {"embedding.weight": np.ascontiguousarray(tensors["embeddings"])}
        save_file(short, folder / "model.safetensors")
        refused("tokenizer.json", "has the token id .*, rows of the table are 19")

    def test_no_tokenizer(self, folder, refused):
        (folder / "tokenizer.json").unlink()
        refused("tokenizer.json", "no such file")

    def test_a_length_of_nothing(self, folder, refused):
        truncation = {"max_length": 0, "stride": 0, "strategy": "LongestFirst"}
        truncation["direction"] = "Right"
        change_json(folder / "tokenizer.json", truncation=truncation)
        refused("tokenizer.json", "truncation.max_length must be at least 1")

    def test_modules_about_tokens(self, folder, refused):
        modules = json.loads((folder / "modules.json").read_text())
        modules[1]["type"] = "sentence_transformers.models.Pooling"
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Normalize").mkdir()
        (folder / "1_Normalize" / "config.json").write_text("{}")
        refused("modules.json", "type is about token_embeddings, which a StaticEmbedding")

    def test_model2vec_without_modules(self, folder, refused):
        """Its own vectors are others: it leaves out unknown tokens."""
        (folder / "modules.json").unlink()
        refused("config.json", "'StaticModel' means .* modules.json is missing: .* copy or")

    def test_a_table_behind_something(self, folder, refused):
        modules = json.loads((folder / "modules.json").read_text())
        modules[1]["type"] = modules[0]["type"]
        (folder / "modules.json").write_text(json.dumps(modules))
        refused("modules.json", "type names a module that fastattn does not know")

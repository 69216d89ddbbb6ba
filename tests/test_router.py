"""Sparse encoders whose queries need no encoder, against sentence-transformers."""

import json
import pickle
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.criterion import assert_accurate
from support.folders import DATA, change_json, write_json

import fastattn as fa

SPARSE = DATA / "sparse"
FOLDER = SPARSE / "weights"
TEXTS = json.loads((DATA / "cross" / "inputs.json").read_text())["texts"]

ROUTER = "router_config.json"
GENERAL = "config_sentence_transformers.json"
QUERY = "query_0_SparseStaticEmbedding"
DOCUMENT = ["document_0_Transformer", "document_1_SpladePooling"]

pytestmark = pytest.mark.filterwarnings("ignore::fastattn.TruncationWarning")


@pytest.fixture
def folder(tmp_path):
    return Path(copytree(FOLDER, tmp_path / "model"))


@pytest.fixture
def model():
    return fa.load(FOLDER)


@pytest.fixture(scope="module")
def expected():
    with np.load(SPARSE / "weights.npz") as arrays:
        return dict(arrays)


def check(found, expected, key):
    """Hold an array to the criterion."""
    of = {np.float32: expected[f"float32{key}"], np.float64: expected[f"float64{key}"]}
    assert_accurate(found, of.__getitem__)


class TestVectors:
    def test_queries(self, model, expected):
        found = model.encode_query(TEXTS)
        np.testing.assert_array_equal(found.toarray(), expected["float64_query"])
        assert len(found.values) == np.count_nonzero(expected["float64_query"])
        assert model.encode_query("").toarray().tolist() == [0] * 113
        # How often a word occurs makes no difference.
        once, twice = model.encode_query(["the cat", "the cat the cat the"])
        assert [array.tolist() for array in once] == [array.tolist() for array in twice]

    def test_documents(self, model, expected):
        for encode in (model.encode, model.encode_document):
            check(encode(TEXTS).toarray(), expected, "")

    def test_max_active_dims(self, model, expected, folder):
        found = model.encode(TEXTS, max_active_dims=5)
        check(found.toarray(), expected, "_kept")
        change_json(folder / GENERAL, max_active_dims=5)
        kept = fa.load(folder)
        np.testing.assert_array_equal(kept.encode(TEXTS).toarray(), found.toarray())
        assert len(kept.encode("the cat", max_active_dims=2).values) == 2
        with pytest.raises(ValueError, match="max_active_dims must be at least 1"):
            model.encode("a", max_active_dims=0)

    @pytest.mark.parametrize("name", ["dot", "cosine", "euclidean", "manhattan"])
    def test_similarity(self, folder, expected, name):
        change_json(folder / GENERAL, similarity_fn_name=name)
        model = fa.load(folder)
        found = model.similarity(model.encode_query(TEXTS), model.encode(TEXTS))
        check(found, expected, f"_{name}")

    def test_prompts(self, folder):
        change_json(folder / GENERAL, prompts={"query": "the ", "document": "a "})
        model = fa.load(folder)
        plain = fa.load(FOLDER)
        for method, prompt in (("encode_query", "the "), ("encode_document", "a ")):
            found = getattr(model, method)("cat").toarray()
            expected = getattr(plain, method)(f"{prompt}cat").toarray()
            np.testing.assert_array_equal(found, expected)

    def test_threads_and_pickle(self, model):
        expected = model.encode_query(TEXTS).toarray()
        copy = pickle.loads(pickle.dumps(model))
        for threads in (1, 2):
            found = copy.encode_query(TEXTS, num_threads=threads, batch_tokens=20)
            np.testing.assert_array_equal(found.toarray(), expected)

    def test_limits(self, folder):
        """That of queries is their tokenizer's."""
        change_json(folder / QUERY / "tokenizer_config.json", model_max_length=2)
        model = fa.load(folder, max_length=10)
        assert model.max_length == 10
        with pytest.raises(ValueError, match=r"inputs\[0\] has more than 2 tokens"):
            model.encode_query(["the cat and"], on_truncation="error")
        model.encode_query(["the cat"], on_truncation="error")

    def test_save(self, model, tmp_path):
        model.max_active_dims, model.prompt = 7, "the "
        model.save(tmp_path / "saved")
        saved = fa.load(tmp_path / "saved")
        assert repr(saved) == repr(model)
        assert saved.default_route == "document"
        for method in ("encode", "encode_query"):
            found = getattr(saved, method)(TEXTS).toarray()
            np.testing.assert_array_equal(found, getattr(model, method)(TEXTS).toarray())
        for part in (QUERY, DOCUMENT[0]):
            written = load_file(tmp_path / "saved" / part / "model.safetensors")
            read = load_file(FOLDER / part / "model.safetensors")
            assert {k: v.shape for k, v in written.items()} == {
                k: v.shape for k, v in read.items()
            }


class TestFolders:
    def test_of_old_versions(self, folder):
        """As Asym, and with the old names of modules."""
        expected = fa.load(folder).encode_query(TEXTS).toarray()
        asym = {"path": "", "type": "sentence_transformers.models.Asym"}
        write_json(folder / "modules.json", [asym])
        settings = json.loads((folder / ROUTER).read_text())
        old = "sentence_transformers.sparse_encoder.models"
        kinds = "SparseStaticEmbedding", "MLMTransformer", "SpladePooling"
        settings["types"] = {
            name: f"{old}.{kind}.{kind}"
            for name, kind in zip((QUERY, *DOCUMENT), kinds, strict=True)
        }
        settings["parameters"] = {"allow_empty_key": True}
        (folder / ROUTER).unlink()
        write_json(folder / "config.json", settings)
        model = fa.load(folder)
        # What is listed first is the default where none is named.
        assert model.default_route == "query"
        np.testing.assert_array_equal(model.encode(TEXTS).toarray(), expected)

    def test_the_transformer_beside_the_router(self, folder):
        """As the models of OpenSearch are published."""
        expected = fa.load(folder).encode(TEXTS).toarray()
        for path in (folder / DOCUMENT[0]).iterdir():
            path.rename(folder / path.name)
        (folder / DOCUMENT[0]).rmdir()
        settings = (folder / ROUTER).read_text().replace(DOCUMENT[0], "")
        (folder / ROUTER).write_text(settings)
        np.testing.assert_array_equal(fa.load(folder).encode(TEXTS).toarray(), expected)

    def test_no_default(self, folder):
        parameters = {"default_route": None, "allow_empty_key": False}
        change_json(folder / ROUTER, parameters=parameters)
        model = fa.load(folder)
        with pytest.raises(ValueError, match="call encode_query or encode_document"):
            model.encode("a")
        assert model.encode_query(TEXTS).shape == model.encode_document(TEXTS).shape

    def test_shared_modules(self, folder):
        parameters = {"default_route": None, "allow_empty_key": False}
        structure = {"query": DOCUMENT, "document": DOCUMENT}
        change_json(folder / ROUTER, structure=structure, parameters=parameters)
        model = fa.load(folder)
        assert model.query_weights is None
        found = model.encode_query(TEXTS).toarray()
        for encode in (model.encode, model.encode_document):
            np.testing.assert_array_equal(found, encode(TEXTS).toarray())

    @pytest.mark.parametrize(
        ("file", "fields", "message"),
        [
            (ROUTER, {"structure": {"query": [QUERY]}}, "structure must be an object"),
            (
                ROUTER,
                {"structure": {"query": ["a"], "document": DOCUMENT}},
                "query must be a list of names in types",
            ),
            (
                ROUTER,
                {"structure": {"query": DOCUMENT[:1], "document": DOCUMENT}},
                "query must be a SparseStaticEmbedding, or the modules of document",
            ),
            (
                ROUTER,
                {"structure": {"query": [QUERY], "document": [QUERY]}},
                "expected the modules Transformer and SpladePooling",
            ),
            (
                ROUTER,
                {"parameters": {"route_mappings": {"('query', 'text')": "query"}}},
                "route_mappings are not read",
            ),
            (ROUTER, {"parameters": {"more": 1}}, "more is a field that"),
            (ROUTER, {"parameters": {"default_route": "a"}}, "default_route must be"),
            (ROUTER, {"types": {QUERY: "os.path.join"}}, "type names a module"),
            (f"{QUERY}/config.json", {"more": 1}, "more is a field that"),
        ],
    )
    def test_what_would_change_vectors(self, folder, file, fields, message):
        change_json(folder / file, **fields)
        with pytest.raises(fa.ModelFormatError, match=rf"{Path(file).stem}.*{message}"):
            fa.load(folder)

    def test_a_file_of_weights_by_word(self, folder):
        write_json(folder / QUERY / "config.json", {"path": "idf.json"})
        with pytest.raises(fa.ModelFormatError, match=r"path names a file .* save it"):
            fa.load(folder)

    def test_missing_files(self, folder):
        (folder / QUERY / "config.json").unlink()
        message = f"{ROUTER}: types names its folder"
        with pytest.raises(fa.ModelFormatError, match=message):
            fa.load(folder)

    def test_weights_of_other_words(self, folder):
        name = folder / QUERY / "model.safetensors"
        save_file({"weight": load_file(name)["weight"][:-1]}, name)
        with pytest.raises(fa.ModelFormatError, match="holds weights of 112 words, and"):
            fa.load(folder)

    def test_something_behind(self, folder):
        modules = json.loads((folder / "modules.json").read_text())
        kind = "sentence_transformers.models.SpladePooling"
        modules.append({"path": DOCUMENT[1], "type": kind})
        write_json(folder / "modules.json", modules)
        with pytest.raises(fa.ModelFormatError, match="type must not follow a Router"):
            fa.load(folder)

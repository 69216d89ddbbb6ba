"""The classes of sentence-transformers, over ours."""

import inspect
import json
import pickle

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import DATA, change_json, write_json
from support.torch_stub import Tensor

import fastattn as fa
from fastattn.integrations import sentence_transformers as theirs
from fastattn.integrations.sentence_transformers import base

TEXTS = ["the cat", "a dog is under the sky, and red", "", "the red sky"]
PAIRS = [["the cat", "a dog"], ["the sky", "is red"], ["the cat", ""]]
CROSS = DATA / "cross" / "electra"


@pytest.fixture
def dropin(folder):
    return fa.SentenceTransformer(folder, device="cpu")


@pytest.fixture
def plain(folder):
    """Let the folder end without its Normalize."""
    modules = json.loads((folder / "modules.json").read_text())
    write_json(folder / "modules.json", modules[:-1])
    return fa.SentenceTransformer(folder)


class TestEncode:
    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [
            ({}, {}),
            ({"batch_size": 1, "show_progress_bar": False, "device": "cpu"}, {}),
            ({"normalize_embeddings": True}, {"normalize": True}),
            ({"truncate_dim": 5}, {"truncate_dim": 5}),
            (
                {"truncate_dim": 5, "normalize_embeddings": True},
                {"truncate_dim": 5} | {"normalize": True},
            ),
            ({"truncate_dim": 10**6}, {}),
            ({"prompt": "the "}, {"prompt": "the "}),
            ({"precision": None}, {}),
            ({"precision": "binary"}, {"precision": "binary"}),
            ({"precision": "ubinary"}, {"precision": "ubinary"}),
            ({"convert_to_numpy": True, "convert_to_tensor": False}, {}),
        ],
    )
    def test_it_is_what_the_encoder_gives(self, plain, theirs, ours):
        expected = plain.encoder.encode(TEXTS, **ours)
        found = plain.encode(TEXTS, **theirs)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        single = plain.encode(TEXTS[1], **theirs)
        np.testing.assert_array_equal(single, expected[1])

    def test_what_a_folder_scales_stays_scaled_when_it_is_cut(self, dropin):
        whole = dropin.encoder.encode(TEXTS)
        assert_same_bits(dropin.encode(TEXTS), whole)
        assert_same_bits(dropin.encode(TEXTS, truncate_dim=3), whole[:, :3])
        scaled = dropin.encode(TEXTS, truncate_dim=3, normalize_embeddings=True)
        assert_same_bits(scaled, dropin.encoder.encode(TEXTS, truncate_dim=3))

    @pytest.mark.parametrize("precision", ["int8", "uint8"])
    def test_integers_have_the_ranges_of_these_vectors(self, dropin, precision):
        vectors = dropin.encode(TEXTS)
        ranges = np.stack([vectors.min(0), vectors.max(0)])
        options = {"precision": precision, "ranges": ranges}
        expected = dropin.encoder.encode(TEXTS, **options)
        found = dropin.encode(TEXTS, precision=precision)
        np.testing.assert_array_equal(found, expected)
        with pytest.raises(ValueError, match=f"precision '{precision}' needs ranges"):
            dropin.encode(TEXTS[0], precision=precision)

    def test_of_nothing(self, dropin):
        assert dropin.encode([]).shape == (0, dropin.get_embedding_dimension())
        assert dropin.encode([], precision="int8").shape[0] == 0
        assert dropin.encode([], output_value="token_embeddings") == []

    def test_texts_that_are_cut_are_cut_in_silence(self, dropin, recwarn):
        dropin.max_seq_length = 8
        assert dropin.encode("run " * 100, output_value="token_embeddings").shape[0] == 8
        assert dropin.encoder.max_length == dropin.get_max_seq_length() == 8
        assert len(recwarn) == 0

    def test_any_column_of_texts(self, dropin):
        expected = dropin.encode(TEXTS)
        for texts in (tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object), iter(TEXTS)):
            assert_same_bits(dropin.encode(texts), expected)
        assert_same_bits(dropin.encode(sentences=TEXTS), expected)

    @pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
    def test_methods_have_one_signature(self, dropin, method):
        found = inspect.signature(getattr(dropin, method))
        assert [*found.parameters][:3] == ["inputs", "prompt_name", "prompt"]
        assert getattr(dropin, method).__name__ == method
        assert "normalize_embeddings : bool" in getattr(dropin, method).__doc__

    def test_tokens(self, dropin):
        expected = dropin.encoder.encode(TEXTS, output="tokens")
        found = dropin.encode(TEXTS, output_value="token_embeddings", truncate_dim=3)
        for one, other in zip(found, expected, strict=True):
            assert_same_bits(one, other)

    def test_token_ids(self, dropin):
        features = dropin.tokenize(TEXTS)
        encodings = dropin.tokenizer.encode_batch(TEXTS)
        for ids, mask, encoding in zip(*features.values(), encodings, strict=True):
            assert ids[mask == 1].tolist() == encoding.ids
        prompted = dropin.preprocess(["cat", ("cat", "dog")], prompt="the ")
        told = [
            dropin.tokenizer.encode("the cat"),
            dropin.tokenizer.encode("the cat", "dog"),
        ]
        assert prompted["attention_mask"].sum(1).tolist() == [len(x.ids) for x in told]


class TestTensors:
    def test_where_they_are_asked_for(self, dropin, torch):
        expected = dropin.encoder.encode(TEXTS)
        tensor = dropin.encode(TEXTS, convert_to_tensor=True)
        assert isinstance(tensor, Tensor)
        assert_same_bits(np.asarray(tensor), expected)
        listed = dropin.encode(TEXTS, convert_to_numpy=False)
        assert isinstance(listed, list) and all(isinstance(x, Tensor) for x in listed)
        tokens = dropin.encode(TEXTS[0], output_value="token_embeddings")
        assert isinstance(tokens, Tensor)
        assert type(dropin.encode(TEXTS)) is np.ndarray

    def test_where_there_is_no_torch_they_are_arrays(self, dropin, no_torch):
        assert type(dropin.encode(TEXTS, convert_to_tensor=True)) is np.ndarray
        assert type(dropin.encode(TEXTS, convert_to_numpy=False)[0]) is np.ndarray

    @pytest.mark.parametrize("method", ["similarity", "similarity_pairwise"])
    def test_what_compares_gives_what_it_gets(self, dropin, torch, method):
        vectors = dropin.encode(TEXTS)
        compare = getattr(dropin, method)
        expected = getattr(dropin.encoder, method)(vectors, vectors)
        assert type(compare(vectors, vectors)) is np.ndarray
        assert_same_bits(compare(vectors, vectors), expected)
        tensor = dropin.encode(TEXTS, convert_to_tensor=True)
        for given in (tensor, list(tensor)):
            assert isinstance(compare(given, vectors), Tensor)
            assert_same_bits(np.asarray(compare(given, vectors)), expected)


class TestPrompts:
    def test_those_of_the_folder_and_those_that_are_given(self, folder):
        stored = {"query": "the ", "passage": "is "}
        path = folder / "config_sentence_transformers.json"
        change_json(path, prompts=stored, default_prompt_name="query")
        model = fa.SentenceTransformer(folder, prompts={"other": "red "})
        assert model.prompts == stored | {"other": "red ", "document": ""}
        assert model.default_prompt_name == "query"

        def assert_prompt(found, prompt):
            assert_same_bits(found, model.encoder.encode(TEXTS, prompt=prompt))

        assert_prompt(model.encode(TEXTS), "the ")
        assert_prompt(model.encode_query(TEXTS), "the ")
        # There is always one for documents, which comes before one for passages.
        assert_prompt(model.encode_document(TEXTS), "")
        assert_prompt(model.encode(TEXTS, "passage"), "is ")
        assert_prompt(model.encode_query(TEXTS, prompt_name="other"), "red ")
        assert_prompt(model.encode(TEXTS, prompt_name="other", prompt="a "), "a ")
        model.default_prompt_name = None
        assert_prompt(model.encode(TEXTS), "")
        other = fa.SentenceTransformer(folder, default_prompt_name="passage")
        assert_same_bits(other.encode(TEXTS), model.encode(TEXTS, prompt="is "))

    def test_one_that_is_not_there(self, dropin, folder):
        with pytest.raises(ValueError, match="default_prompt_name must be one of"):
            fa.SentenceTransformer(folder, default_prompt_name="other")
        with pytest.raises(ValueError, match="prompt_name must be one of"):
            dropin.encode(TEXTS, prompt_name="other")


class TestPools:
    def test_they_give_the_same_bits(self, dropin):
        expected = dropin.encode(TEXTS * 5)
        pool = dropin.start_multi_process_pool(["cpu", "cpu"])
        try:
            assert_same_bits(dropin.encode(TEXTS * 5, pool=pool, chunk_size=3), expected)
            found = dropin.encode_multi_process(TEXTS * 5, pool, normalize_embeddings=True)
            assert_same_bits(found, dropin.encode(TEXTS * 5, normalize_embeddings=True))
            assert dropin.encode([], pool=pool).shape == dropin.encode([]).shape
            with pytest.raises(ValueError, match="chunk_size must be at least 1"):
                dropin.encode(TEXTS, pool=pool, chunk_size=0)
            with pytest.raises(TypeError, match=r"inputs\[1\] must be a str"):
                dropin.encode(["a", 1], pool=pool)
        finally:
            dropin.stop_multi_process_pool(pool)
        dropin.stop_multi_process_pool(pool)
        with pytest.raises(ValueError, match="pool is stopped: start another"):
            dropin.encode(TEXTS, pool=pool)

    @pytest.mark.parametrize("wrong", [5, {}, {"processes": []}])
    def test_what_is_no_pool(self, dropin, wrong):
        with pytest.raises(TypeError, match="pool must be what start_multi_process_pool"):
            dropin.encode(TEXTS, pool=wrong)
        with pytest.raises(TypeError, match="pool must be what start_multi_process_pool"):
            dropin.stop_multi_process_pool(wrong)

    @pytest.mark.parametrize("wrong", [[], "cpu", 2])
    def test_what_is_no_list_of_devices(self, dropin, wrong):
        with pytest.raises(TypeError, match="target_devices must be a list with 'cpu'"):
            dropin.start_multi_process_pool(wrong)

    def test_a_list_of_devices_is_a_pool(self):
        model = theirs.CrossEncoder(CROSS)
        expected = model.predict(PAIRS)
        assert_same_bits(model.predict(PAIRS, device=["cpu", "cpu"]), expected)


class TestWhereModelsAre:
    @pytest.fixture
    def cache(self, folder, tmp_path):
        snapshot = tmp_path / "cache" / "models--org--name" / "snapshots" / "main"
        snapshot.parent.mkdir(parents=True)
        folder.rename(snapshot)
        return tmp_path / "cache"

    def test_in_a_cache_that_is_named(self, cache, monkeypatch):
        model = fa.SentenceTransformer("org/name", cache_folder=cache)
        monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(cache))
        other = fa.SentenceTransformer("org/name", local_files_only=True)
        assert_same_bits(other.encode(TEXTS), model.encode(TEXTS))

    def test_elsewhere(self, cache, monkeypatch):
        asked = []

        def get(*arguments):
            asked.append(arguments)
            return cache / "models--org--name" / "snapshots" / "main"

        monkeypatch.setattr(base, "get", get)
        with pytest.raises(FileNotFoundError, match=r"not in the Hugging Face cache"):
            fa.SentenceTransformer("org/other", local_files_only=True)
        options = {"cache_folder": "c", "revision": "r", "token": "t"}
        with pytest.warns(match="org/other is not on this machine and is downl") as caught:
            fa.SentenceTransformer("org/other", **options)
        assert caught[0].filename == __file__
        fa.SentenceTransformer("org/name", cache_folder=cache)
        assert asked == [("org/other", "r", "t", "c")]


class TestSettings:
    def test_of_vectors(self, folder):
        model = fa.SentenceTransformer(folder, truncate_dim=6, similarity_fn_name="dot")
        assert model.get_sentence_embedding_dimension() == 6
        assert model.encode(TEXTS).shape == (len(TEXTS), 6)
        with model.truncate_embeddings(2):
            assert model.encode(TEXTS).shape == (len(TEXTS), 2)
        assert model.truncate_dim == 6
        model.similarity_fn_name = theirs.SimilarityFunction.EUCLIDEAN
        assert model.similarity_fn_name == model.encoder.similarity_fn_name == "euclidean"

    def test_compute_and_weights(self, folder):
        model = fa.SentenceTransformer(folder, model_kwargs={"compute": "int8"})
        expected = fa.load(folder, compute="int8").encode(TEXTS)
        assert_same_bits(model.encode(TEXTS), expected)

    def test_more_tokens_than_positions(self, dropin):
        dropin.max_seq_length = 10**6
        assert dropin.max_seq_length == dropin.encoder.model.max_positions

    def test_saved_and_pickled(self, dropin, tmp_path):
        dropin.truncate_dim = 4
        dropin.save(str(tmp_path / "saved"))
        for other in (
            fa.SentenceTransformer.load(tmp_path / "saved"),
            pickle.loads(pickle.dumps(dropin)),
        ):
            assert_same_bits(other.encode(TEXTS), dropin.encode(TEXTS))

    @pytest.mark.parametrize("method", ["save", "save_pretrained"])
    def test_saved_over_what_it_was_loaded_from(self, folder, method):
        (folder / "README.md").write_text("mine")
        model = fa.SentenceTransformer(folder)
        expected = model.encode(TEXTS)
        model.truncate_dim = 4
        getattr(model, method)(str(folder))
        other = fa.SentenceTransformer(folder)
        assert_same_bits(other.encode(TEXTS), expected[:, :4])
        assert_same_bits(model.encode(TEXTS), expected[:, :4])
        assert (folder / "README.md").read_text() == "mine"

    def test_evaluate(self, dropin, tmp_path):
        told = dropin.evaluate(lambda model, path: (model, path), str(tmp_path / "new"))
        assert told == (dropin, str(tmp_path / "new"))
        assert (tmp_path / "new").is_dir()
        dropin.model_card_data.set_evaluation_metrics(dropin, {"a": 1.0}, 0, 0)

"""What sentence-transformers says of a model in files of settings, field by field."""

import pytest
from support.bits import assert_same_bits
from support.folders import TINY, change_json, drop_json

import fastattn as fa

TEXTS = ["the cat", "a dog is under the sky, and red", ""]
LONG = "run " * 100


HIDDEN = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}


class TestTransformer:
    """What sentence_bert_config.json says about the first module."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"transformer_task": "feature-extraction", "modality_config": HIDDEN},
            {"module_output_name": "token_embeddings", "processing_kwargs": {}},
            {"query_length": None, "tokenizer_name_or_path": None, "unpad_inputs": True},
            {"model_args": {"add_pooling_layer": False, "torch_dtype": "float16"}},
            {"config_kwargs": {"use_cache": False}, "processor_kwargs": {}},
        ],
    )
    def test_what_changes_nothing(self, folder, model, fields):
        change_json(folder / "sentence_bert_config.json", **fields)
        assert_same_bits(fa.load(folder).encode(TEXTS), model.encode(TEXTS))

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"transformer_task": "fill-mask"}, "transformer_task must be 'feature-ext"),
            ({"modality_config": {"text": {}}}, "modality_config must be {'text': {'meth"),
            ({"modality_config": HIDDEN | {"image": {}}}, "modality_config must be"),
            ({"module_output_name": "scores"}, "module_output_name must be 'token_emb"),
            ({"processing_kwargs": {"text": {}}}, "processing_kwargs must be {}, got"),
            ({"query_length": 32}, "query_length must be missing, got 32"),
            ({"document_length": 32}, "document_length must be missing, got 32"),
            ({"query_expansion": {"length": 32}}, "query_expansion must be missing"),
            ({"tokenizer_name_or_path": "other"}, "tokenizer_name_or_path must be miss"),
            (
                {"tokenizer_args": {"model_max_length": 9}},
                "tokenizer_args.model_max_length",
            ),
            ({"model_kwargs": {"hidden_act": "relu"}}, "model_kwargs.hidden_act is not r"),
            ({"config_args": []}, "config_args must be an object"),
            ({"more": 1}, "more is a field that fastattn does not know"),
        ],
    )
    def test_what_is_not_honoured(self, folder, fields, message):
        change_json(folder / "sentence_bert_config.json", **fields)
        pattern = rf"sentence_bert_config\.json: {message}"
        with pytest.raises(fa.ModelFormatError, match=pattern):
            fa.load(folder)

    def test_its_name_in_older_versions(self, folder):
        path = folder / "sentence_bert_config.json"
        change_json(folder / "sentence_albert_config.json", max_seq_length=9)
        assert fa.load(folder).max_length == 48
        path.unlink()
        assert fa.load(folder).max_length == 9


class TestMaxLength:
    """Of the three files that name a limit, the one that knows decides."""

    @staticmethod
    def tokens(model):
        states = model.encode(LONG, output="tokens", on_truncation="ignore")
        assert len(states) == model.max_length
        return len(states)

    def test_of_sentence_transformers(self, model):
        assert self.tokens(model) == 48

    def test_of_the_tokenizer_settings(self, folder):
        (folder / "sentence_bert_config.json").unlink()
        change_json(folder / "tokenizer_config.json", model_max_length=40)
        assert self.tokens(fa.load(folder)) == 40

    @pytest.mark.parametrize("limit", [10**30, 1e30, 512, 64])
    def test_of_the_positions(self, folder, limit):
        drop_json(folder / "sentence_bert_config.json", "max_seq_length")
        change_json(folder / "tokenizer_config.json", model_max_length=limit)
        assert self.tokens(fa.load(folder)) == 64

    def test_of_the_positions_alone(self, folder):
        change_json(folder / "sentence_bert_config.json", max_seq_length=None)
        (folder / "tokenizer_config.json").unlink()
        assert self.tokens(fa.load(folder)) == 64

    @pytest.mark.parametrize(
        ("limit", "message"),
        [
            (65, "max_seq_length must be from 1 to 64, got 65"),
            (0, "max_seq_length must be from 1 to 64, got 0"),
            ("48", "max_seq_length must be a whole number"),
            (48.0, "max_seq_length must be a whole number"),
        ],
    )
    def test_impossible(self, folder, limit, message):
        change_json(folder / "sentence_bert_config.json", max_seq_length=limit)
        with pytest.raises(fa.ModelFormatError, match=message):
            fa.load(folder)

    @pytest.mark.parametrize("limit", [1, 2])
    def test_no_room_for_a_text(self, folder, limit):
        change_json(folder / "sentence_bert_config.json", max_seq_length=limit)
        with pytest.raises(fa.ModelFormatError, match="adds 2 special tokens"):
            fa.load(folder)

    def test_special_tokens_stay(self, model):
        encoding = model.tokenizer.encode(LONG)
        assert encoding.tokens[0] == "[CLS]"
        assert encoding.tokens[-1] == "[SEP]"
        assert len(encoding.tokens) == 48

    def test_truncation_on_the_left(self, folder):
        change_json(folder / "tokenizer_config.json", truncation_side="left")
        tokens = fa.load(folder).tokenizer.encode(f"cat {LONG} dog").tokens
        assert tokens[0] == "[CLS]"
        assert tokens[-2:] == ["dog", "[SEP]"]
        change_json(folder / "tokenizer_config.json", truncation_side="middle")
        with pytest.raises(fa.ModelFormatError, match="truncation_side must be left or"):
            fa.load(folder)


class TestTruncateDim:
    @pytest.fixture
    def settings(self, folder):
        return folder / "config_sentence_transformers.json"

    def test_it_holds_unless_told_otherwise(self, folder, settings, model):
        change_json(settings, truncate_dim=8)
        other = fa.load(folder)
        assert_same_bits(other.encode(TEXTS), model.encode(TEXTS, truncate_dim=8))
        assert_same_bits(other.encode(TEXTS, truncate_dim=32), model.encode(TEXTS))
        assert other.encode("cat", output="tokens").shape == (3, 32)

    @pytest.mark.parametrize("dim", [None, 32, 33])
    def test_everything(self, folder, settings, model, dim):
        change_json(settings, truncate_dim=dim)
        assert_same_bits(fa.load(folder).encode(TEXTS), model.encode(TEXTS))

    @pytest.mark.parametrize("dim", [0, -1, 8.0, "8", True])
    def test_impossible(self, folder, settings, dim):
        change_json(settings, truncate_dim=dim)
        with pytest.raises(fa.ModelFormatError, match="truncate_dim must be"):
            fa.load(folder)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ColBERT", "late interaction, with a vector for each token"),
        ("CrossEncoder", "of a CrossEncoder modules behind the transformer are not read"),
        ("Reranker", "model_type must be SentenceTransformer or .*, got 'Reranker'"),
        ("SparseEncoder", "type names a module that fastattn does not know: .*Pooling"),
    ],
)
def test_another_kind_of_model(folder, kind, message):
    change_json(folder / "config_sentence_transformers.json", model_type=kind)
    with pytest.raises(fa.ModelFormatError, match=message):
        fa.load(folder)


class TestPrompt:
    def test_default_prompt(self, folder, model):
        path = folder / "config_sentence_transformers.json"
        change_json(path, prompts={"query": "the sun: "}, default_prompt_name=None)
        assert fa.load(folder).prompt == ""
        change_json(path, default_prompt_name="query")
        other = fa.load(folder)
        assert other.prompt == "the sun: "
        assert_same_bits(other.encode("cat"), model.encode("the sun: cat"))
        assert_same_bits(other.encode("cat", prompt=""), model.encode("cat"))
        assert other.prompts == {"query": "the sun: "}

    def test_prompts_of_a_folder(self, folder, model):
        assert model.prompts == {}
        path = folder / "config_sentence_transformers.json"
        change_json(path, prompts={"query": "the sun: ", "document": None})
        assert fa.load(folder).prompts == {"query": "the sun: ", "document": ""}

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"default_prompt_name": "query"}, "must be the name of a prompt, got 'query'"),
            ({"default_prompt_name": "query", "prompts": {}}, "the name of a prompt"),
            ({"prompts": {"query": 1}}, "query must be a string, got 1"),
            ({"prompts": ["query"]}, "prompts must be an object"),
            ({"default_prompt_name": 1, "prompts": {}}, "default_prompt_name must be"),
            (
                {"default_prompt_name": "a", "prompts": {"a": "\ud83d"}},
                "a must be Unicode without half a surrogate pair",
            ),
            (
                {"default_prompt_name": "query", "prompts": {"query": 1}},
                "query must be",
            ),
        ],
    )
    def test_damaged(self, folder, fields, message):
        change_json(folder / "config_sentence_transformers.json", **fields)
        with pytest.raises(fa.ModelFormatError, match=message):
            fa.load(folder)


class TestPromptsByName:
    @pytest.fixture
    def prompted(self):
        prompts = {"query": "the sun ", "passage": "a dog ", "corpus": "red "}
        return fa.load(TINY, prompts=prompts)

    def test_prompt_name(self, prompted, model):
        expected = model.encode(["red cat", "red x"])
        assert_same_bits(prompted.encode(["cat", "x"], prompt_name="corpus"), expected)

    def test_queries_and_documents(self, prompted, model):
        assert_same_bits(prompted.encode_query("cat"), model.encode("the sun cat"))
        assert_same_bits(prompted.encode_document(["cat"]), model.encode(["a dog cat"]))
        for encode in (prompted.encode_query, prompted.encode_document):
            assert_same_bits(encode("cat", prompt=""), model.encode("cat"))
            assert_same_bits(
                encode("cat", prompt_name="corpus", truncate_dim=5),
                model.encode("red cat", truncate_dim=5),
            )

    def test_without_one_the_default_holds(self, folder, model):
        path = folder / "config_sentence_transformers.json"
        change_json(path, prompts={"a": "red "}, default_prompt_name="a")
        other = fa.load(folder)
        for encode in (other.encode, other.encode_query, other.encode_document):
            assert_same_bits(encode("cat"), model.encode("red cat"))

    def test_prompts_that_are_given_come_first(self, folder, model):
        path = folder / "config_sentence_transformers.json"
        prompts = {"a": "red ", "b": "the "}
        change_json(path, prompts=prompts, default_prompt_name="a")
        other = fa.load(folder, prompts={"a": "one ", "query": "two "})
        assert other.prompts == {"a": "one ", "b": "the ", "query": "two "}
        assert_same_bits(other.encode("cat"), model.encode("one cat"))

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"prompt_name": "document"}, ValueError, "prompt_name must be one of 'query'"),
            ({"prompt_name": 1}, ValueError, "prompt_name must be one of"),
            (
                {"prompt_name": "query", "prompt": ""},
                ValueError,
                "not both",
            ),
        ],
    )
    def test_bad_names(self, prompted, options, error, message):
        with pytest.raises(error, match=message):
            prompted.encode("cat", **options)

    def test_a_name_where_there_are_none(self, model):
        with pytest.raises(ValueError, match="the model has no prompts: give "):
            model.encode("cat", prompt_name="query")

    @pytest.mark.parametrize(
        ("prompts", "message"),
        [
            (["query"], "prompts must map names to texts, got list"),
            ({"query": None}, "prompts must map str to str, got 'query': None"),
            ({1: "query"}, "prompts must map str to str, got 1: 'query'"),
        ],
    )
    def test_bad_prompts(self, prompts, message):
        with pytest.raises(TypeError, match=message):
            fa.load(TINY, prompts=prompts)


class TestMaxLengthOfLoad:
    def test_in_place_of_what_the_folder_says(self):
        assert fa.load(TINY, max_length=7).max_length == 7
        assert fa.load(TINY, max_length=64).max_length == 64
        with pytest.raises(ValueError, match="max_length must be from 3 to 64, got 65"):
            fa.load(TINY, max_length=65)

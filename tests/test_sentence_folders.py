"""What sentence-transformers writes beside a model: modules, pooling, tokenizer."""

import json
import re
import shutil

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import TINY, change_json, copy_tiny, drop_json

import fastattn as fa

TEXTS = ["the cat", "a dog is under the sky, and red", ""]
LONG = "run " * 100


@pytest.fixture(scope="module")
def model():
    return fa.load(TINY)


@pytest.fixture
def folder(tmp_path):
    return copy_tiny(tmp_path)


def write_modules(folder, *modules):
    """Write modules.json with modules of (type, path)."""
    rows = [
        {"idx": i, "type": kind, "path": path} for i, (kind, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(rows))


def write_pooling(folder, **fields):
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(fields))


OLD = "sentence_transformers.models"
TRANSFORMER = (f"{OLD}.Transformer", "")
POOLING = (f"{OLD}.Pooling", "1_Pooling")
NORMALIZE = (f"{OLD}.Normalize", "2_Normalize")


class TestModules:
    def test_all_three(self, model):
        assert (model.pooling, model.normalize) == ("mean", True)
        norms = np.linalg.norm(model.encode(TEXTS), axis=1)
        np.testing.assert_allclose(norms, 1, atol=1e-6)

    def test_without_normalize(self, folder, model):
        write_modules(folder, TRANSFORMER, POOLING)
        other = fa.load(folder)
        assert (other.pooling, other.normalize) == ("mean", False)
        assert_same_bits(other.encode(TEXTS), model.encode(TEXTS, normalize=False))
        assert_same_bits(other.encode(TEXTS, normalize=True), model.encode(TEXTS))

    def test_folder_of_transformers(self, folder, model):
        (folder / "modules.json").unlink()
        shutil.rmtree(folder / "1_Pooling")
        other = fa.load(folder)
        assert (other.pooling, other.normalize) == ("mean", False)
        assert_same_bits(other.encode(TEXTS), model.encode(TEXTS, normalize=False))

    def test_names_of_newer_versions(self, folder, model):
        package = "sentence_transformers.sentence_transformer.modules"
        write_modules(
            folder,
            ("sentence_transformers.base.modules.transformer.Transformer", ""),
            (f"{package}.pooling.Pooling", "1_Pooling"),
            (f"{package}.normalize.Normalize", "2_Normalize"),
        )
        assert_same_bits(fa.load(folder).encode(TEXTS), model.encode(TEXTS))

    def test_transformer_in_its_own_folder(self, tmp_path, model):
        copy_tiny(tmp_path).rename(tmp_path / "0_Transformer")
        shutil.move(tmp_path / "0_Transformer" / "1_Pooling", tmp_path)
        write_modules(tmp_path, (f"{OLD}.Transformer", "0_Transformer"), POOLING, NORMALIZE)
        other = fa.load(tmp_path)
        assert_same_bits(other.encode(TEXTS), model.encode(TEXTS))
        assert other.max_length == model.max_length

    @pytest.mark.parametrize(
        "modules",
        [
            [],
            [TRANSFORMER],
            [POOLING, TRANSFORMER],
            [TRANSFORMER, NORMALIZE],
            [TRANSFORMER, POOLING, NORMALIZE, NORMALIZE],
        ],
    )
    def test_other_orders(self, folder, modules):
        write_modules(folder, *modules)
        with pytest.raises(fa.ModelFormatError, match=r"modules\.json: expected the"):
            fa.load(folder)

    @pytest.mark.parametrize(
        "kind",
        [
            f"{OLD}.Dense",
            f"{OLD}.WordWeights",
            "custom.Pooling",
            "Pooling",
            "os.system",
        ],
    )
    def test_unknown_module(self, folder, kind):
        write_modules(folder, TRANSFORMER, POOLING, (kind, "2_More"))
        message = rf"modules\.json: type .*does not know: {re.escape(kind)}"
        with pytest.raises(fa.ModelFormatError, match=message):
            fa.load(folder)

    @pytest.mark.parametrize(
        "path", ["../1_Pooling", "/etc", "1_Pooling/../..", "\0", "\x1b[0m"]
    )
    def test_path_out_of_the_folder(self, folder, path):
        write_modules(folder, TRANSFORMER, (f"{OLD}.Pooling", path))
        with pytest.raises(fa.ModelFormatError, match="path must be the name of"):
            fa.load(folder)

    @pytest.mark.parametrize("content", ["{}", "[1]", "[{}]", '[{"type": 1}]', "["])
    def test_damaged_list(self, folder, content):
        (folder / "modules.json").write_text(content)
        with pytest.raises(fa.ModelFormatError, match=r"modules\.json"):
            fa.load(folder)

    def test_normalize_of_something_else(self, folder):
        (folder / "2_Normalize").mkdir()
        path = folder / "2_Normalize" / "config.json"
        change_json(path, module_input_name="sentence_embedding")
        assert fa.load(folder).normalize
        change_json(path, module_input_name="token_embeddings")
        with pytest.raises(fa.ModelFormatError, match="module_input_name must be"):
            fa.load(folder)


class TestPooling:
    @pytest.mark.parametrize(
        "fields",
        [
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
            {"pooling_mode": "cls"},
            {"pooling_mode": ["cls"]},
            {"pooling_mode": "cls", "pooling_mode_mean_tokens": True},
        ],
    )
    def test_cls(self, folder, fields):
        write_pooling(folder, **fields)
        model = fa.load(folder)
        assert model.pooling == "cls"
        states = model.encode(TEXTS, output="tokens")
        vectors = model.encode(TEXTS, normalize=False)
        assert_same_bits(vectors, np.array([state[0] for state in states]))

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"pooling_mode": "mean", "include_prompt": True, "embedding_dimension": 32},
            {"pooling_mode_mean_tokens": True},
            {"pooling_mode_mean_tokens": False},
        ],
    )
    def test_mean(self, folder, model, fields):
        write_pooling(folder, **fields)
        other = fa.load(folder)
        assert other.pooling == "mean"
        assert_same_bits(other.encode(TEXTS), model.encode(TEXTS))

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"pooling_mode": "max"}, "pooling_mode must be mean or cls, got .'max'"),
            ({"pooling_mode": ["mean", "cls"]}, "pooling_mode must be mean or cls"),
            ({"pooling_mode": 1}, "pooling_mode must be mean or cls, got 1"),
            ({"pooling_mode": None}, "pooling_mode must be mean or cls, got None"),
            (
                {"pooling_mode_max_tokens": True},
                "pooling_mode must be mean or cls, got .'pooling_mode_max_tokens'",
            ),
            (
                {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
                "pooling_mode must be mean or cls, got .'mean', 'cls'",
            ),
            ({"pooling_mode_lasttoken": 1}, "pooling_mode_lasttoken must be true or"),
            ({"include_prompt": False}, "include_prompt must be true, got false"),
        ],
    )
    def test_unknown(self, folder, fields, message):
        write_pooling(folder, **fields)
        pattern = rf"1_Pooling/config\.json: {message}"
        with pytest.raises(fa.ModelFormatError, match=pattern):
            fa.load(folder)

    def test_missing(self, folder):
        shutil.rmtree(folder / "1_Pooling")
        with pytest.raises(fa.ModelFormatError, match=r"1_Pooling/config\.json: no such"):
            fa.load(folder)


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

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"default_prompt_name": "query"}, "prompts is missing"),
            ({"default_prompt_name": "query", "prompts": {}}, "query is missing"),
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

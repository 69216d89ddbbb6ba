"""What sentence-transformers writes beside a model: modules, pooling, tokenizer."""

import json
import re
import shutil

import numpy as np
import pytest
from support.bits import assert_same_bits
from support.folders import change_json, copy_tiny

import fastattn as fa

TEXTS = ["the cat", "a dog is under the sky, and red", ""]


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


def modes(model):
    """The poolings of a model, and whether it scales vectors to unit length."""
    return model.modules["1_Pooling"].modes, model.modules.unit


class TestModules:
    def test_all_three(self, model):
        assert modes(model) == (("mean",), True)
        norms = np.linalg.norm(model.encode(TEXTS), axis=1)
        np.testing.assert_allclose(norms, 1, atol=1e-6)

    def test_without_normalize(self, folder, model):
        write_modules(folder, TRANSFORMER, POOLING)
        other = fa.load(folder)
        assert modes(other) == (("mean",), False)
        assert_same_bits(other.encode(TEXTS), model.encode(TEXTS, normalize=False))
        assert_same_bits(other.encode(TEXTS, normalize=True), model.encode(TEXTS))

    def test_folder_of_transformers(self, folder, model):
        (folder / "modules.json").unlink()
        shutil.rmtree(folder / "1_Pooling")
        (folder / "sentence_bert_config.json").unlink()
        other = fa.load(folder)
        assert modes(other) == (("mean",), False)
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
        "name",
        [
            "config_sentence_transformers.json",
            "sentence_bert_config.json",
            "sentence_roberta_config.json",
            "1_Pooling",
        ],
    )
    def test_what_stands_beside_it_alone(self, folder, name):
        """Vectors would be means that nobody scaled, whatever the folder was to say."""
        (folder / "modules.json").unlink()
        shutil.rmtree(folder / "1_Pooling")
        (folder / "sentence_bert_config.json").unlink()
        fa.load(folder)
        (folder / name).write_text("{}")
        message = rf"modules\.json: no such file, and {name} stands beside one"
        with pytest.raises(fa.ModelFormatError, match=message):
            fa.load(folder)

    def test_a_transformer_that_is_not_there(self, folder):
        write_modules(folder, (f"{OLD}.Transformer", "0_Transformer"), POOLING)
        message = r"0_Transformer/config\.json: no such file, and modules\.json names its"
        with pytest.raises(fa.ModelFormatError, match=message):
            fa.load(folder)

    @pytest.mark.parametrize(
        "modules",
        [
            [TRANSFORMER, POOLING, NORMALIZE, NORMALIZE],
            [TRANSFORMER, POOLING, POOLING, NORMALIZE],
            [TRANSFORMER, POOLING, NORMALIZE, (f"{OLD}.Dropout", "3_Dropout")],
        ],
    )
    def test_others_that_come_to_the_same(self, folder, model, modules):
        write_modules(folder, *modules)
        assert_same_bits(fa.load(folder).encode(TEXTS), model.encode(TEXTS))

    @pytest.mark.parametrize(
        ("modules", "message"),
        [
            ([], r"modules\.json: lists no modules"),
            ([TRANSFORMER], r"modules\.json: lists no Pooling"),
            ([POOLING, TRANSFORMER], r"modules\.json: type names a module .* not know"),
            ([TRANSFORMER, TRANSFORMER], r"modules\.json: type names a module"),
            ([TRANSFORMER, NORMALIZE, POOLING], "which only a Pooling listed before it"),
            ([TRANSFORMER] + [POOLING] * 32, "lists 33 modules, more than 32"),
        ],
    )
    def test_other_orders(self, folder, modules, message):
        write_modules(folder, *modules)
        with pytest.raises(fa.ModelFormatError, match=message):
            fa.load(folder)

    @pytest.mark.parametrize(
        "kind",
        [
            f"{OLD}.WordWeights",
            f"{OLD}.Router",
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
        change_json(path, module_input_name="sentence_embedding", module_output_name=None)
        assert fa.load(folder).modules.unit
        change_json(path, module_input_name="scores")
        with pytest.raises(fa.ModelFormatError, match="module_input_name must be"):
            fa.load(folder)


class TestPooling:
    @pytest.mark.parametrize(
        "fields",
        [
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
            {"pooling_mode": "cls"},
            {"pooling_mode": ["cls"]},
            {"pooling_mode": "cls", "pooling_mode_cls_token": True},
        ],
    )
    def test_cls(self, folder, fields):
        write_pooling(folder, **fields)
        model = fa.load(folder)
        assert modes(model) == (("cls",), True)
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
        assert modes(other) == (("mean",), True)
        assert_same_bits(other.encode(TEXTS), model.encode(TEXTS))

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"pooling_mode": "median"}, "pooling_mode must be cls or .*, got .'median'"),
            ({"pooling_mode": ["mean", "min"]}, "pooling_mode must be cls or"),
            ({"pooling_mode": ["mean", 1]}, "pooling_mode must be cls or"),
            ({"pooling_mode": ["mean"] * 7}, "pooling_mode must be cls or"),
            ({"pooling_mode": []}, "pooling_mode must be cls or .*, got \\[\\]"),
            ({"pooling_mode": 1}, "pooling_mode must be cls or .*, got 1"),
            ({"pooling_mode": None}, "pooling_mode must be cls or .*, got None"),
            ({"pooling_mode_min_tokens": False}, "pooling_mode_min_tokens is a field"),
            ({"pooling_mode_lasttoken": 1}, "pooling_mode_lasttoken must be true or"),
            (
                {"pooling_mode": "cls", "pooling_mode_mean_tokens": True},
                "pooling_mode_mean_tokens is true, and pooling_mode does not say mean",
            ),
            ({"word_embedding_dimension": 31}, "word_embedding_dimension must be 32, the"),
            ({"embedding_dimension": 33}, "embedding_dimension must be 32, the size of"),
            ({"include_prompt": 0}, "include_prompt must be true or false, got 0"),
            ({"pool_rows": 3}, "pool_rows is a field that fastattn does not know"),
        ],
    )
    def test_unknown(self, folder, fields, message):
        write_pooling(folder, **fields)
        pattern = rf"1_Pooling/config\.json: {message}"
        with pytest.raises(fa.ModelFormatError, match=pattern):
            fa.load(folder)

    def test_missing(self, folder):
        shutil.rmtree(folder / "1_Pooling")
        with pytest.raises(
            fa.ModelFormatError, match=r"1_Pooling/config\.json: no such file, and mod"
        ):
            fa.load(folder)

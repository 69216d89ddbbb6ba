"""The tokenizer of a folder: what holds of its settings, and what is refused."""

import json

import pytest
from support.folders import TINY, change_json

import fastattn as fa


def change_part(folder, part, **fields):
    """Set fields of an object in tokenizer.json."""
    stored = json.loads((folder / "tokenizer.json").read_text())
    change_json(folder / "tokenizer.json", **{part: stored[part] | fields})


def refused(folder, message):
    with pytest.raises(fa.ModelFormatError, match=rf"tokenizer\.json: .*{message}"):
        fa.load(folder)


def test_its_own_padding_does_not_hold():
    model = fa.load(TINY)
    stored = json.loads((TINY / "tokenizer.json").read_text())
    assert stored["padding"]["strategy"] == {"Fixed": 16}
    assert stored["truncation"]["max_length"] == 12
    assert model.encode("cat", output="tokens").shape == (3, 32)
    assert model.encode("cat " * 20, output="tokens").shape == (22, 32)


def test_token_ids_beyond_the_table(folder):
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text())
    stored["model"]["vocab"]["more"] = 113
    path.write_text(json.dumps(stored))
    message = r"tokenizer\.json: has the token id 113, vocab_size .* is 113"
    with pytest.raises(fa.ModelFormatError, match=message):
        fa.load(folder)


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"model": 1}'])
def test_damaged(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(fa.ModelFormatError, match=r"tokenizer\.json: "):
        fa.load(folder)


def test_another_word_for_unknown(folder):
    change_part(folder, "model", unk_token="[NONE]")
    refused(folder, r"model\.unk_token is not in model\.vocab")


@pytest.mark.parametrize("characters", [0, 1001, 2**63])
def test_words_of_any_length(folder, characters):
    change_part(folder, "model", max_input_chars_per_word=characters)
    refused(folder, f"max_input_chars_per_word must be .* 1000, got {characters}")


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        ({"Sequence": {"id": "A", "type_id": 0}}, "take a text exactly once"),
        ({"Sequence": {"id": "B", "type_id": 0}}, "index out of bounds"),
        ({"SpecialToken": {"id": "[CLS]", "type_id": 2}}, "token type 2, .* has 2"),
        ({"SpecialToken": {"id": "[NONE]", "type_id": 0}}, "no entry found"),
    ],
)
def test_post_processor(folder, piece, message):
    stored = json.loads((folder / "tokenizer.json").read_text())
    single = stored["post_processor"]["single"]
    change_part(folder, "post_processor", single=[*single, piece])
    refused(folder, message)


def test_special_token_beyond_the_table(folder):
    cls = {"id": "[CLS]", "ids": [113], "tokens": ["[CLS]"]}
    sep = {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}
    special = {"[CLS]": cls, "[SEP]": sep}
    change_part(folder, "post_processor", special_tokens=special)
    refused(folder, "post_processor adds the token id 113, the model has 113")


def test_a_text_is_left_out(folder):
    change_part(folder, "post_processor", single=[])
    refused(folder, "take a text exactly once")


def test_a_panic_of_the_library(folder):
    normalizer = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    change_json(folder / "tokenizer.json", normalizer=normalizer)
    refused(folder, "Cannot parse precompiled_charsmap")


def test_a_panic_over_a_text(folder):
    change_json(
        folder / "tokenizer.json", pre_tokenizer={"type": "FixedLength", "length": 0}
    )
    name = "PreTrainedTokenizerFast"
    change_json(folder / "tokenizer_config.json", tokenizer_class=name)
    model = fa.load(folder)
    with pytest.raises(fa.ModelFormatError, match=r"tokenizer\.json: chunk size must"):
        model.encode("a")


def test_missing(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(fa.ModelFormatError, match=r"tokenizer\.json: no such file"):
        fa.load(folder)

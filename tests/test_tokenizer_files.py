"""The files beside tokenizer.json: the ids are those of transformers 5.24, and of 4."""

import json
import pickle

import pytest
from support.folders import TINY, change_json

import fastattn as fa

# "THE Cat" as it is, and in small letters.
UNKNOWN, SMALL = [2, 1, 1, 3], [2, 57, 71, 3]
MASKED = "cat [MASK] dog"

PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


@pytest.fixture
def configure(folder):
    """Set fields of tokenizer_config.json."""
    return lambda **fields: change_json(folder / "tokenizer_config.json", **fields)


def change(folder, part, **fields):
    """Set fields of an object in tokenizer.json."""
    stored = json.loads((folder / "tokenizer.json").read_text())
    change_json(folder / "tokenizer.json", **{part: stored[part] | fields})


def ids(folder, text):
    model = fa.load(folder)
    found = model.tokenizer.encode(text).ids
    assert pickle.loads(pickle.dumps(model)).tokenizer.encode(text).ids == found
    return found


def refused(folder, name, message):
    with pytest.raises(fa.ModelFormatError, match=f"{name}: {message}") as info:
        fa.load(folder)
    assert str(info.value).isprintable()


class TestFlags:
    @pytest.mark.parametrize(
        "name",
        [
            None,
            "BertTokenizer",
            "BertTokenizerFast",
            "DistilBertTokenizer",
            "ElectraTokenizerFast",
        ],
    )
    @pytest.mark.parametrize("stored", [True, False])
    @pytest.mark.parametrize("flag", [True, False, None])
    def test_lower_case(self, folder, configure, name, stored, flag):
        """The flag decides, which is true where it is missing."""
        change(folder, "normalizer", lowercase=stored)
        if name is not None:
            configure(tokenizer_class=name)
        if flag is not None:
            configure(do_lower_case=flag)
        assert ids(folder, "THE Cat") == (UNKNOWN if flag is False else SMALL)

    @pytest.mark.parametrize("there", [True, False])
    def test_no_flags_at_all(self, folder, there):
        change(folder, "normalizer", lowercase=False, strip_accents=False)
        if not there:
            (folder / "tokenizer_config.json").unlink()
        assert ids(folder, "THÉ Cat") == SMALL

    @pytest.mark.parametrize(
        ("flag", "expected"), [(None, SMALL), (True, SMALL), (False, UNKNOWN)]
    )
    def test_accents(self, folder, configure, flag, expected):
        configure(strip_accents=flag)
        assert ids(folder, "thé cät") == expected

    def test_chinese(self, folder, configure):
        assert ids(folder, "狐cat狐") == [2, 109, 71, 109, 3]
        configure(tokenize_chinese_chars=False)
        assert ids(folder, "狐cat狐") == [2, 1, 3]

    @pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json"])
    @pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "TokenizersBackend"])
    def test_classes_that_take_the_file_as_it_is(self, folder, configure, file, name):
        configure(do_lower_case=False, strip_accents=False)
        change_json(folder / file, tokenizer_class=name)
        assert ids(folder, "THÉ Cat") == SMALL

    def test_sentence_transformers_lowers_letters_of_its_own(self, folder, configure):
        configure(do_lower_case=False)
        change_json(folder / "sentence_bert_config.json", do_lower_case=True)
        assert ids(folder, "THE Cat") == SMALL

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"do_lower_case": "no"}, "do_lower_case must be true or false, got 'no'"),
            ({"strip_accents": 1}, "strip_accents must be true or false, got 1"),
            ({"tokenizer_class": 1}, "tokenizer_class must be a string, got 1"),
            ({"split_special_tokens": True}, "split_special_tokens must be false"),
            ({"fast_tokenizer_files": ["a.json"]}, "fast_tokenizer_files must be missing"),
            ({"auto_map": {"AutoTokenizer": ["a.B", None]}}, "auto_map names code"),
            ({"auto_map": ["a.B", None]}, "auto_map names code"),
        ],
    )
    def test_what_is_not_honoured(self, folder, configure, fields, message):
        configure(**fields)
        refused(folder, r"tokenizer_config\.json", message)


class TestParts:
    """Where tokenizer.json is not what the class makes, versions of transformers differ."""

    CASES = (
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer.type is 'Whitespace'"),
        ({"normalizer": {"type": "NFC"}}, "normalizer.type is 'NFC'"),
        ({"normalizer": None}, "normalizer.type is 'NoneType'"),
        ({"post_processor": None}, r"post_processor .* is \[\(0, 0\)\]"),
    )

    @pytest.mark.parametrize(("fields", "message"), CASES)
    def test_refused(self, folder, configure, fields, message):
        change_json(folder / "tokenizer.json", **fields)
        where = "tokenizer_class, BertTokenizer where tokenizer_config.json names none, me"
        refused(folder, r"tokenizer\.json", f"{message}, where {where}")
        change_json(folder / "config.json", tokenizer_class="BertTokenizer")
        where = "tokenizer_class BertTokenizer in config.json means"
        refused(folder, r"tokenizer\.json", f"{message}, where {where}")
        configure(tokenizer_class="PreTrainedTokenizerFast")
        assert fa.load(folder).encode("the cat").shape == (32,)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"max_input_chars_per_word": 200}, "max_input_chars_per_word is 200"),
            ({"continuing_subword_prefix": "@@"}, "continuing_subword_prefix is '@@'"),
            ({"unk_token": "[MASK]"}, r"unk_token is '\[MASK\]'"),
        ],
    )
    def test_of_the_model(self, folder, fields, message):
        change(folder, "model", **fields)
        refused(folder, r"tokenizer\.json", f"model.{message}, where")

    @pytest.mark.parametrize("field", ["unk_token", "cls_token", "sep_token"])
    @pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
    @pytest.mark.parametrize("as_object", [True, False])
    def test_other_special_tokens(self, folder, field, file, as_object):
        token = {"content": "[MASK]"} | PLAIN if as_object else "[MASK]"
        change_json(folder / file, **{field: token})
        refused(folder, r"tokenizer\.json", "(model.unk_token|post_processor)")

    def test_types_of_a_pair(self, folder):
        stored = json.loads((folder / "tokenizer.json").read_text())["post_processor"]
        change(folder, "post_processor", pair=stored["single"] + stored["single"][1:])
        refused(folder, r"tokenizer\.json", "post_processor .* pair")

    def test_another_kind_of_model(self, folder, configure):
        vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
        change_json(folder / "tokenizer.json", model=model)
        assert ids(folder, "THE Cat") == SMALL
        configure(tokenizer_class="BertTokenizer")
        refused(folder, r"tokenizer\.json", "model.type is 'WordLevel', where tokenizer_cl")


class TestTokens:
    """What other files list as a token is one in a text."""

    @pytest.fixture
    def few(self, folder):
        """Let tokenizer.json add no tokens but [CLS], and be taken as it is."""
        added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
        kept = [token for token in added if token["content"] == "[CLS]"]
        change_json(folder / "tokenizer.json", added_tokens=kept)
        change_json(
            folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast"
        )
        assert 4 not in ids(folder, MASKED)
        return folder

    @pytest.mark.parametrize(
        ("file", "fields"),
        [
            ("tokenizer_config.json", {"mask_token": "[MASK]"}),
            ("tokenizer_config.json", {"mask_token": {"content": "[MASK]"} | PLAIN}),
            ("tokenizer_config.json", {"additional_special_tokens": ["[MASK]"]}),
            ("tokenizer_config.json", {"extra_special_tokens": {"a": "[MASK]"}}),
            ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer"}),
            ("special_tokens_map.json", {"mask_token": "[MASK]"}),
            ("added_tokens.json", {"[MASK]": 4}),
            (
                "tokenizer_config.json",
                {"added_tokens_decoder": {"4": {"content": "[MASK]", "special": True}}},
            ),
        ],
    )
    def test_named(self, few, file, fields):
        change_json(few / file, **fields)
        assert ids(few, MASKED) == [2, 71, 4, 72, 3]

    def test_how_one_is_looked_for(self, folder, configure):
        """A word to be found on its own, which tokenizer.json finds inside others."""
        added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
        dog = {"id": 72, "content": "dog", "special": False} | PLAIN
        change_json(folder / "tokenizer.json", added_tokens=[*added, dog])
        assert ids(folder, "dogs") == [2, 72, 23, 3]
        listed = {str(token["id"]): token for token in (*added, dog)}
        configure(added_tokens_decoder=listed | {"72": dog | {"single_word": True}})
        assert ids(folder, "dogs") == ids(TINY, "dogs")

    def test_one_that_is_listed_nowhere_else(self, folder, configure):
        added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
        configure(added_tokens_decoder={str(token["id"]): token for token in added})
        assert ids(folder, MASKED) == ids(TINY, MASKED)
        dog = {"id": 72, "content": "dog", "special": False} | PLAIN
        change_json(folder / "tokenizer.json", added_tokens=[*added, dog])
        refused(folder, r"tokenizer\.json", "added_tokens has dog, which added_tokens_dec")

    def test_named_but_without_an_id(self, folder, configure):
        configure(bos_token="<s>", mask_token="<mask>", pad_token=None, add_eos_token=True)
        assert ids(folder, "<s> cat") == ids(TINY, "<s> cat")

    @pytest.mark.parametrize(
        ("file", "fields", "name", "message"),
        [
            ("added_tokens.json", {"<x>": 113}, "tokenizer.json", "has the token id 113"),
            (
                "added_tokens.json",
                {"cat": 72},
                "tokenizer.json",
                "cat has the id 71, and 72",
            ),
            (
                "added_tokens.json",
                {"cat": "71"},
                "added_tokens.json",
                "cat must be a whole",
            ),
            (
                "tokenizer_config.json",
                {"added_tokens_decoder": {"4": {"content": "<x>"}}},
                "tokenizer.json",
                "<x> has the id 113, and 4 in tokenizer_config.json",
            ),
            (
                "tokenizer_config.json",
                {"added_tokens_decoder": {"x": {"content": "<x>"}}},
                "tokenizer_config.json",
                "added_tokens_decoder must be an object of tokens by id, got 'x'",
            ),
            (
                "tokenizer_config.json",
                {"added_tokens_decoder": {"4": {"content": "\ud800"}}},
                "tokenizer_config.json",
                "content must be Unicode",
            ),
            ("tokenizer_config.json", {"eos_token": "\ud800"}, "tokenizer_config.json", ""),
            ("special_tokens_map.json", {"eos_token": {}}, "special_tokens_map.json", ""),
        ],
    )
    def test_damaged(self, folder, file, fields, name, message):
        change_json(folder / file, **fields)
        refused(folder, name, message)

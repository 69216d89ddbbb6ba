"""What the files beside tokenizer.json say about it, as transformers understands them.

transformers makes the tokenizer of BERT anew by the flags in tokenizer_config.json, where a
flag that is missing has its default; version 5 takes nothing but the vocabulary from
tokenizer.json, version 4 took its other parts as they are. Of other classes it takes
tokenizer.json whole. Whatever the class, it adds the tokens that the files beside it name.
"""

import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ..errors import ModelFormatError
from .checkpoint import Settings
from .families import family_of
from .folder import Folder, printable
from .saving import Writer, json_file

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

# The classes that are BERT's, without the Fast behind them.
BERT_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer")

# The special tokens of BERT's class, unless a file names others.
BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}

# All that transformers has a name for.
SPECIAL_TOKENS = ("bos_token", "eos_token", *BERT_TOKENS)

# Fields that hold more special tokens: a list, or an object of them by name.
MORE_TOKENS = ("extra_special_tokens", "additional_special_tokens")

# Where tokens are listed by id, with how each is looked for, and where they were before.
LISTED = "added_tokens_decoder"
OLD_LIST = "added_tokens.json"

WORD_PIECE = "WordPiece"

AS_IT_IS = (
    "make them agree, or write PreTrainedTokenizerFast as the tokenizer_class into "
    "tokenizer_config.json, which is to take tokenizer.json as it is"
)


def tokenizer_files(
    tokenizer: "Tokenizer", special_tokens: Mapping[str, str]
) -> dict[str, Writer]:
    """Give what writes the files of a tokenizer, by name: it is to be taken as it is."""
    content = tokenizer.to_str().encode()
    limit = cast("dict[str, Any]", tokenizer.truncation)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": limit["max_length"],
        "truncation_side": limit["direction"],
        **special_tokens,
    }
    return {
        "tokenizer.json": lambda file: file.write(content),
        "tokenizer_config.json": json_file(settings),
    }


def apply_files(
    folder: Folder, tokenizer: "Tokenizer", general: Settings
) -> dict[str, str]:
    """Make of a tokenizer what transformers makes of it; `general` is its configuration.

    Returns
    -------
    dict of str
        Its special tokens, by the names that transformers has for them.

    Raises
    ------
    ModelFormatError
        If the files do not agree: about its parts, where versions of transformers differ in
        which they believe, or about the id of a token.
    """
    _refuse_what_is_not_honoured(general)
    named = _named_tokens(folder, general)
    class_name = _bert_class(folder, tokenizer, general)
    if class_name:
        named = BERT_TOKENS | named
        _check_parts(folder, tokenizer, named, class_name)
        _apply_flags(tokenizer, general)
    present = tokenizer.get_added_tokens_decoder()
    listed = _listed_tokens(folder, general, present, named)
    path = folder.path / "tokenizer.json"
    for index, token in present.items():
        unknown = index not in listed and token.content not in named.values()
        if class_name and general.has(LISTED) and unknown:
            raise ModelFormatError(
                f"{path}: added_tokens has {printable(token.content)}, which {LISTED} in "
                f"{general.path.name} has not: {AS_IT_IS}"
            )
    for index, token in listed.items():
        if present.get(index) != token:
            tokenizer.add_tokens([token])
        found = tokenizer.token_to_id(token.content)
        if found != index:
            raise ModelFormatError(
                f"{path}: {printable(token.content)} has the id {found}, and {index} in "
                f"{general.path.name} or {OLD_LIST}"
            )
    added = {token.content for token in (*present.values(), *listed.values())}
    for content in named.values():
        # What has no id would get one behind the last that the model has a vector for.
        if content not in added and tokenizer.token_to_id(content) is not None:
            tokenizer.add_special_tokens([content])
    return {
        name: named[name]
        for name in SPECIAL_TOKENS
        if name in named and tokenizer.token_to_id(named[name]) is not None
    }


def _refuse_what_is_not_honoured(general: Settings) -> None:
    files = general.fields.get("fast_tokenizer_files", ["tokenizer.json"])
    if files != ["tokenizer.json"]:
        raise general.wrong("fast_tokenizer_files", "missing", files)
    if general.get("split_special_tokens", bool, False):
        raise general.error("split_special_tokens", "must be false, got true")
    code = general.fields.get("auto_map")
    if isinstance(code, list) or (isinstance(code, dict) and "AutoTokenizer" in code):
        raise general.error("auto_map", "names code for the tokenizer, which is not run")


def _bert_class(folder: Folder, tokenizer: "Tokenizer", general: Settings) -> str | None:
    """Say what makes the tokenizer BERT's, in the words of an error; None for another."""
    model = Settings.read(folder, "config.json")
    for settings in (general, model):
        if settings.has("tokenizer_class"):
            name: str = settings.get("tokenizer_class", str)
            if name.removesuffix("Fast") not in BERT_CLASSES:
                return None
            return f"tokenizer_class {name} in {settings.path.name}"
    default = family_of(model).tokenizer_class
    if default not in BERT_CLASSES or _kind(tokenizer.model) != WORD_PIECE:
        return None
    return f"tokenizer_class, {default} where {general.path.name} names none,"


def _check_parts(
    folder: Folder, tokenizer: "Tokenizer", named: dict[str, str], class_name: str
) -> None:
    """Refuse parts that BERT's class has not, but for its flags: versions differ there."""
    model, normalizer = tokenizer.model, tokenizer.normalizer
    begin, end = (tokenizer.token_to_id(named[name]) for name in ("cls_token", "sep_token"))
    one = [(begin, 0), (0, 0), (end, 0)]
    parts = {
        "model.type": (_kind(model), WORD_PIECE),
        "model.unk_token": (getattr(model, "unk_token", None), named["unk_token"]),
        "model.continuing_subword_prefix": (
            getattr(model, "continuing_subword_prefix", None),
            "##",
        ),
        "model.max_input_chars_per_word": (
            getattr(model, "max_input_chars_per_word", None),
            100,
        ),
        "normalizer.type": (_kind(normalizer), "BertNormalizer"),
        "normalizer.clean_text": (getattr(normalizer, "clean_text", None), True),
        "pre_tokenizer.type": (_kind(tokenizer.pre_tokenizer), "BertPreTokenizer"),
        "post_processor (ids and types around a text)": (_around(tokenizer, 1), one),
        "post_processor (ids and types around a pair)": (
            _around(tokenizer, 2),
            [*one, (0, 1), (end, 1)],
        ),
    }
    for part, (found, expected) in parts.items():
        if found != expected:
            raise ModelFormatError(
                f"{folder.path / 'tokenizer.json'}: {part} is {reprlib.repr(found)}, where "
                f"{class_name} means {expected!r}: {AS_IT_IS}"
            )


def _apply_flags(tokenizer: "Tokenizer", general: Settings) -> None:
    """Normalize texts as the flags of BERT's class say."""
    from tokenizers.normalizers import BertNormalizer

    has_accents = general.has("strip_accents")
    tokenizer.normalizer = BertNormalizer(
        handle_chinese_chars=general.get("tokenize_chinese_chars", bool, True),
        strip_accents=general.get("strip_accents", bool) if has_accents else None,
        lowercase=general.get("do_lower_case", bool, True),
    )


def _kind(part: object) -> str:
    return type(part).__name__


def _around(tokenizer: "Tokenizer", texts: int) -> list[tuple[int, int]]:
    """List the ids and types of one or two texts of a token each, which has the id 0."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    token = Tokenizer(WordLevel({"a": 0}, unk_token="a")).encode("a")
    made = tokenizer.post_process(token, token if texts == 2 else None)
    return list(zip(made.ids, made.type_ids, strict=True))


def _named_tokens(folder: Folder, general: Settings) -> dict[str, str]:
    """Read the special tokens that files name, by field."""
    files = [general]
    if not general.has(LISTED):
        files.append(Settings.read(folder, "special_tokens_map.json", optional=True))
    named: dict[str, str] = {}
    for settings in files:
        fields = dict(settings.fields)
        for field in MORE_TOKENS:
            more = fields.pop(field, None) or []
            values = more.values() if isinstance(more, dict) else more
            fields |= {f"{field} {i}_token": token for i, token in enumerate(values)}
        for field, value in fields.items():
            if field.endswith("_token") and isinstance(value, dict):
                named[field] = Settings(settings.path, value).get("content", str)
            elif field.endswith("_token") and isinstance(value, str):
                named[field] = Settings(settings.path, fields).get(field, str)
    return named


def _listed_tokens(
    folder: Folder,
    general: Settings,
    present: dict[int, "AddedToken"],
    named: dict[str, str],
) -> dict[int, "AddedToken"]:
    """Read the tokens that files list by id, and how each is looked for in a text."""
    from tokenizers import AddedToken

    listed = {}
    if general.has(LISTED):
        for index, fields in general.get(LISTED, dict).items():
            if not (index.isdecimal() and index.isascii()):
                raise general.wrong(LISTED, "an object of tokens by id", index)
            entry = Settings(general.path, fields)
            special = entry.get("special", bool, False)
            listed[int(index)] = AddedToken(
                entry.get("content", str),
                single_word=entry.get("single_word", bool, False),
                lstrip=entry.get("lstrip", bool, False),
                rstrip=entry.get("rstrip", bool, False),
                normalized=entry.get("normalized", bool, not special),
                special=special,
            )
        return dict(sorted(listed.items()))
    known = {token.content: token for token in present.values()}
    old = Settings.read(folder, OLD_LIST, optional=True)
    for content in old.fields:
        special = content in named.values()
        token = AddedToken(content, normalized=not special, special=special)
        listed[old.get(content, int)] = known.get(content, token)
    return dict(sorted(listed.items()))

"""What the files beside tokenizer.json say about it, as transformers understands them.

transformers makes the tokenizers of some classes anew, by the flags in
tokenizer_config.json (:mod:`.tokenizer_classes`), and takes tokenizer.json whole for
others. Whatever the class, it adds the tokens that the files beside it name.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ..errors import ModelFormatError
from .checkpoint import Settings
from .families import family_of
from .families.family import AS_IT_IS as WHOLE
from .folder import Folder, printable
from .saving import Writer, json_file
from .tokenizer_classes import CLASSES, ROBERTA_TOKENS, TokenizerClass
from .tokenizer_makers import AS_IT_IS, Made, around, kind, without_types

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

    from .model import EncoderModel

# All that transformers has a name for.
SPECIAL_TOKENS = tuple(ROBERTA_TOKENS)

# Fields that hold more special tokens: a list, or an object of them by name.
MORE_TOKENS = ("extra_special_tokens", "additional_special_tokens")

# What a model is told of a text besides its tokens.
TYPES = "token_type_ids"

# Where tokens are listed by id, with how each is looked for, and where they were before.
LISTED = "added_tokens_decoder"
OLD_LIST = "added_tokens.json"


def tokenizer_files(
    tokenizer: "Tokenizer", special_tokens: Mapping[str, str], num_token_types: int
) -> dict[str, Writer]:
    """Give what writes the files of a tokenizer, by name: it is to be taken as it is.

    A model with one type of tokens, or none, must not be told of others: transformers
    would look for them in its table.
    """
    content = tokenizer.to_str().encode()
    limit = cast("dict[str, Any]", tokenizer.truncation)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": limit["max_length"],
        "truncation_side": limit["direction"],
        **special_tokens,
    }
    if num_token_types > 1 and any(type_ for _, type_ in around(tokenizer, 2)):
        settings["model_input_names"] = ["input_ids", TYPES, "attention_mask"]
    return {
        "tokenizer.json": lambda file: file.write(content),
        "tokenizer_config.json": json_file(settings),
    }


def apply_files(
    folder: Folder, tokenizer: "Tokenizer", general: Settings, model: "EncoderModel"
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
    path = folder.path / "tokenizer.json"
    made_anew, origin = _class_of(folder, tokenizer, general)
    if made_anew is not None:
        named = {**made_anew.tokens, **named}
        made = Made(tokenizer, general, named, path, origin)
        made.check("model.type", kind(tokenizer.model), made_anew.model)
        made_anew.make(made)
    if model.num_token_types > 1 and not _hands_types(general, made_anew):
        without_types(tokenizer, path)
    present = tokenizer.get_added_tokens_decoder()
    listed = _listed_tokens(folder, general, present, named)
    for index, token in present.items():
        unknown = index not in listed and token.content not in named.values()
        if made_anew is not None and general.has(LISTED) and unknown:
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
    takes_spaces = made_anew is not None and made_anew.mask_takes_spaces
    _add_named(tokenizer, named, takes_spaces, model.vocab_size)
    return {
        name: named[name]
        for name in SPECIAL_TOKENS
        if name in named and tokenizer.token_to_id(named[name]) is not None
    }


def _add_named(
    tokenizer: "Tokenizer", named: Mapping[str, str], takes_spaces: bool, vocab_size: int
) -> None:
    """Add the special tokens that are not among the added ones, in the order of names.

    What has no id gets one behind the last, if the model has a vector for it.
    """
    from tokenizers import AddedToken

    first = [name for name in SPECIAL_TOKENS if name in named]
    for name in (*first, *(name for name in named if name not in first)):
        content, added = named[name], tokenizer.get_added_tokens_decoder()
        if any(token.content == content for token in added.values()):
            continue
        behind = max((*added, tokenizer.get_vocab_size(with_added_tokens=False) - 1)) + 1
        if tokenizer.token_to_id(content) is not None or behind < vocab_size:
            lstrip = takes_spaces and name == "mask_token"
            tokenizer.add_special_tokens([AddedToken(content, lstrip=lstrip)])


def _refuse_what_is_not_honoured(general: Settings) -> None:
    files = general.fields.get("fast_tokenizer_files", ["tokenizer.json"])
    if files != ["tokenizer.json"]:
        raise general.wrong("fast_tokenizer_files", "missing", files)
    if general.get("split_special_tokens", bool, False):
        raise general.error("split_special_tokens", "must be false, got true")
    code = general.fields.get("auto_map")
    if isinstance(code, list) or (isinstance(code, dict) and "AutoTokenizer" in code):
        raise general.error("auto_map", "names code for the tokenizer, which is not run")


def _hands_types(general: Settings, made_anew: TokenizerClass | None) -> bool:
    """Say whether the model is told of which type each token is."""
    names = general.fields.get("model_input_names")
    if names is None:
        return made_anew is not None and made_anew.has_types
    if not isinstance(names, list):
        raise general.wrong("model_input_names", "a list of names", names)
    return TYPES in names


def _class_of(
    folder: Folder, tokenizer: "Tokenizer", general: Settings
) -> tuple[TokenizerClass | None, str]:
    """Find the class that makes a tokenizer anew, and say what names it, for an error."""
    model = Settings.read(folder, "config.json")
    # A tokenizer may stand beside other settings than those of a model.
    default = family_of(model).tokenizer_class if model.has("model_type") else None
    if default == WHOLE:
        return None, ""
    for settings in (general, model):
        if settings.has("tokenizer_class"):
            name: str = settings.get("tokenizer_class", str)
            origin = f"tokenizer_class {name} in {settings.path.name}"
            return CLASSES.get(name.removesuffix("Fast")), origin
    found = CLASSES.get(default or "")
    if found is None or kind(tokenizer.model) != found.model:
        return None, ""
    return found, f"tokenizer_class, {default} where {general.path.name} names none,"


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

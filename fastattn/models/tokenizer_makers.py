"""How transformers makes tokenizers anew, of a vocabulary and of flags.

Version 5 takes nothing but the vocabulary from tokenizer.json, and the table by which
SentencePiece replaces letters: all else is what a class says, and the flags in
tokenizer_config.json, of which one that is missing has its default. Version 4 took the
other parts of the file as they are. Where the class is BERT's and they differ, the fields
are named; with the others what version 5 does is done.
"""

import base64
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelFormatError
from .checkpoint import Settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

AS_IT_IS = (
    "make them agree, or write PreTrainedTokenizerFast as the tokenizer_class into "
    "tokenizer_config.json, which is to take tokenizer.json as it is"
)

# What no vocabulary has: the last place of Unicode, which is not a character.
NO_CHARACTER = chr(0x10FFFF)

# What SentencePiece has for a space.
SPACE = "\u2581"

# What is one word to Qwen.
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Made:
    """A tokenizer that is made anew, and what it is made of.

    Attributes
    ----------
    tokenizer : Tokenizer
        What was read of tokenizer.json; its parts are replaced.
    flags : Settings
        The tokenizer_config.json.
    tokens : dict of str to str
        The special tokens by their names.
    path : Path
        The tokenizer.json.
    origin : str
        What makes it one of this class, in the words of an error.
    """

    tokenizer: "Tokenizer"
    flags: Settings
    tokens: Mapping[str, str]
    path: Path
    origin: str

    def check(self, part: str, found: object, expected: object) -> None:
        """Make sure that a part is what the class says."""
        if found != expected:
            raise ModelFormatError(
                f"{self.path}: {part} is {reprlib.repr(found)}, where {self.origin} means "
                f"{expected!r}: {AS_IT_IS}"
            )

    def special(self, name: str) -> tuple[str, int]:
        """Give a special token and its id."""
        content = self.tokens[name]
        index = self.tokenizer.token_to_id(content)
        if index is None:
            raise ModelFormatError(
                f"{self.path}: has no token {content!r}, which is the {name} of "
                f"{self.origin.removesuffix(',')}"
            )
        return content, index


def around(tokenizer: "Tokenizer", texts: int) -> list[tuple[int, int]]:
    """List the ids and types of one or two texts of a token each, which has the id 0."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    token = Tokenizer(WordLevel({"a": 0}, unk_token="a")).encode("a")
    made = tokenizer.post_process(token, token if texts == 2 else None)
    return list(zip(made.ids, made.type_ids, strict=True))


def without_types(tokenizer: "Tokenizer", path: Path) -> None:
    """Let both texts of a pair be of type 0."""
    from tokenizers import Tokenizer

    if not any(type_ for _, type_ in around(tokenizer, 2)):
        return
    processor = json.loads(
        tokenizer.post_processor.__getstate__(),
        object_hook=lambda fields: fields | dict.fromkeys({"type_id"} & fields.keys(), 0),
    )
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    content = {"version": "1.0", "model": model, "post_processor": processor}
    parts = ("normalizer", "pre_tokenizer", "decoder", "truncation", "padding")
    content |= dict.fromkeys(parts) | {"added_tokens": []}
    tokenizer.post_processor = Tokenizer.from_str(json.dumps(content)).post_processor
    if any(type_ for _, type_ in around(tokenizer, 2)):
        raise ModelFormatError(
            f"{path}: post_processor has a type for the second text of a pair, and "
            "model_input_names in tokenizer_config.json has no token_type_ids"
        )


def kind(part: object) -> str:
    """Name the kind of a part of a tokenizer."""
    return type(part).__name__


def make_bert(made: Made) -> None:
    """Make BERT's, for which parts that version 5 replaces are refused."""
    tokenizer = made.tokenizer
    model, normalizer = tokenizer.model, tokenizer.normalizer
    begin, end = (
        tokenizer.token_to_id(made.tokens[name]) for name in ("cls_token", "sep_token")
    )
    one = [(begin, 0), (0, 0), (end, 0)]
    parts: dict[str, tuple[object, object]] = {
        "model.unk_token": (getattr(model, "unk_token", None), made.tokens["unk_token"]),
        "model.continuing_subword_prefix": (
            getattr(model, "continuing_subword_prefix", None),
            "##",
        ),
        "model.max_input_chars_per_word": (
            getattr(model, "max_input_chars_per_word", None),
            100,
        ),
        "normalizer.type": (kind(normalizer), "BertNormalizer"),
        "normalizer.clean_text": (getattr(normalizer, "clean_text", None), True),
        "pre_tokenizer.type": (kind(tokenizer.pre_tokenizer), "BertPreTokenizer"),
        "post_processor (ids and types around a text)": (around(tokenizer, 1), one),
        "post_processor (ids and types around a pair)": (
            around(tokenizer, 2),
            [*one, (0, 1), (end, 1)],
        ),
    }
    for part, (found, expected) in parts.items():
        made.check(part, found, expected)
    tokenizer.normalizer = _bert_normalizer(made.flags)


def _bert_normalizer(flags: Settings) -> "Normalizer":
    """Normalize texts as the flags of BERT's class say."""
    from tokenizers.normalizers import BertNormalizer

    has_accents = flags.has("strip_accents")
    return BertNormalizer(
        handle_chinese_chars=flags.get("tokenize_chinese_chars", bool, True),
        strip_accents=flags.get("strip_accents", bool) if has_accents else None,
        lowercase=flags.get("do_lower_case", bool, True),
    )


def make_mpnet(made: Made) -> None:
    """Make MPNet's: words as BERT's, and around texts what RoBERTa has."""
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import RobertaProcessing

    model: Any = made.tokenizer.model
    model.unk_token, _ = made.special("unk_token")
    model.continuing_subword_prefix = "##"
    model.max_input_chars_per_word = 100
    made.tokenizer.normalizer = _bert_normalizer(made.flags)
    made.tokenizer.pre_tokenizer = BertPreTokenizer()
    made.tokenizer.post_processor = RobertaProcessing(
        made.special("sep_token"), made.special("cls_token"), True, False
    )


def make_roberta(made: Made) -> None:
    """Make RoBERTa's: bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.processors import RobertaProcessing

    _set_pairs(made)
    spaced = made.flags.get("add_prefix_space", bool, False)
    made.tokenizer.normalizer = None
    made.tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=spaced)
    made.tokenizer.post_processor = RobertaProcessing(
        made.special("sep_token"), made.special("cls_token"), True, spaced
    )


def make_qwen(made: Made) -> None:
    """Make Qwen's: bytes, and what the file has around texts."""
    from tokenizers import Regex
    from tokenizers.normalizers import NFC
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    _set_pairs(made)
    spaced = made.flags.has("add_prefix_space") and made.flags.get("add_prefix_space", bool)
    made.tokenizer.normalizer = NFC()
    made.tokenizer.pre_tokenizer = Sequence(
        [
            Split(Regex(QWEN_WORDS), "isolated"),
            ByteLevel(add_prefix_space=spaced, use_regex=False),
        ]
    )


def make_gemma(made: Made) -> None:
    """Make Gemma's: letters, bytes where there is none, and what the file has around."""
    from tokenizers.normalizers import Replace
    from tokenizers.pre_tokenizers import Split

    unknown, _ = made.special("unk_token")
    _set_pairs(made, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    made.tokenizer.normalizer = Replace(" ", SPACE)
    made.tokenizer.pre_tokenizer = Split(" ", "merged_with_previous")


def _set_pairs(
    made: Made,
    unk_token: str | None = None,
    fuse_unk: bool = False,
    byte_fallback: bool = False,
) -> None:
    """Set how pairs are joined, and what becomes of letters that are in none."""
    model: Any = made.tokenizer.model
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        made.check(f"model.{name}", getattr(model, name) or "", "")
    model.dropout, model.ignore_merges = None, False
    model.unk_token, model.fuse_unk = unk_token, fuse_unk
    model.byte_fallback = byte_fallback


def make_t5(made: Made) -> None:
    """Make T5's: words of SentencePiece, and a token behind each text."""
    from tokenizers.processors import TemplateProcessing

    _check_unknown(made, 2)
    made.tokenizer.normalizer = _charsmap(made.tokenizer)
    _split_at_spaces(made, "always")
    _, index = made.special("eos_token")
    # The name is in the code of the class, whatever the files say.
    made.tokenizer.post_processor = TemplateProcessing(
        single=["$A", "</s>"],
        pair=["$A", "</s>", "$B", "</s>"],
        special_tokens=[("</s>", index)],
    )


def make_xlm_roberta(made: Made, unknown: int | None = 3) -> None:
    """Make XLM-RoBERTa's: words of SentencePiece, and two tokens between the texts."""
    from tokenizers.processors import TemplateProcessing

    _check_unknown(made, made.special("unk_token")[1] if unknown is None else unknown)
    made.tokenizer.normalizer = _charsmap(made.tokenizer)
    _split_at_spaces(made, _scheme(made))
    (begin, _), (end, _) = tokens = made.special("bos_token"), made.special("eos_token")
    made.tokenizer.post_processor = TemplateProcessing(
        single=[begin, "$A", end],
        pair=[begin, "$A", end, end, "$B", end],
        special_tokens=list(tokens),
    )


def make_albert(made: Made) -> None:
    """Make ALBERT's: words of SentencePiece, and what the file has around texts."""
    from tokenizers import normalizers

    _check_unknown(made, 1)
    steps: list[Normalizer] = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
    ]
    if not made.flags.get("keep_accents", bool, False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if made.flags.get("do_lower_case", bool, True):
        steps.append(normalizers.Lowercase())
    charsmap = _charsmap(made.tokenizer)
    if charsmap is not None:
        steps.append(charsmap)
    made.tokenizer.normalizer = normalizers.Sequence(steps)
    _split_at_spaces(made, _scheme(made))


def make_deberta(made: Made) -> None:
    """Make DeBERTa's: words of SentencePiece without its table, and types of texts."""
    from tokenizers import Regex, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    _check_unknown(made, made.special("unk_token")[1])
    lower = made.flags.get("do_lower_case", bool, False)
    made.tokenizer.normalizer = normalizers.Sequence(
        [
            *([normalizers.Lowercase()] if lower else []),
            normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
            normalizers.NFC(),
            normalizers.Strip(left=False, right=True),
        ]
    )
    split = made.flags.get("split_by_punct", bool, False)
    spaced = made.flags.get("add_prefix_space", bool, True)
    made.tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *([pre_tokenizers.Punctuation("isolated")] if split else []),
            pre_tokenizers.Metaspace(prepend_scheme="always" if spaced else "first"),
        ]
    )
    (begin, _), (end, _) = tokens = made.special("cls_token"), made.special("sep_token")
    made.tokenizer.post_processor = TemplateProcessing(
        single=f"{begin}:0 $A:0 {end}:0",
        pair=f"{begin}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=list(tokens),
    )


def _check_unknown(made: Made, expected: int) -> None:
    """Make sure that what is unknown becomes the token that the class says."""
    found = [token.id for token in made.tokenizer.model.tokenize(NO_CHARACTER)]
    made.check("model (ids of an unknown character)", found, [expected])


def _charsmap(tokenizer: "Tokenizer") -> "Normalizer | None":
    """Find the table by which SentencePiece replaces letters."""
    from tokenizers.normalizers import Precompiled

    if tokenizer.normalizer is None:
        return None
    stored: dict[str, Any] = json.loads(tokenizer.normalizer.__getstate__())
    for step in stored.get("normalizers", [stored]):
        if step["type"] == "Precompiled":
            return Precompiled(base64.b64decode(step["precompiled_charsmap"]))
    return None


def _scheme(made: Made) -> str:
    """Say whether a text begins as if there was a space in front of it."""
    return "always" if made.flags.get("add_prefix_space", bool, True) else "never"


def _split_at_spaces(made: Made, scheme: str) -> None:
    """Split texts as SentencePiece does."""
    from tokenizers.pre_tokenizers import Metaspace, Sequence, WhitespaceSplit

    made.tokenizer.pre_tokenizer = Sequence(
        [WhitespaceSplit(), Metaspace(prepend_scheme=scheme)]
    )

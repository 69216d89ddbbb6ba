"""Make the tokenizers of the families of models, and what transformers makes of texts.

Needs transformers==5.24.0 and tokenizers. make_family_fixtures.py writes the tokenizers
into the folders of the models; run after it as

    python tests/make_family_tokenizers.py [FAMILY ...]

this writes data/families/FAMILY.tokens.json: the tokens of texts and of pairs of them, with
the files as they are and with changes to them that people make. Their vocabularies are of
the texts themselves, in many languages.
"""

import base64
import json
import math
import re
import shutil
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import transformers
from make_bert_fixtures import TEXTS as PROSE
from make_bert_fixtures import write_json
from tokenizers import (
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerBase

FOLDER = Path(__file__).parent / "data" / "families"

# Tokens of each tokenizer: the bytes, and some words.
VOCABULARY = 290
LETTERS = 90

TEXTS = (
    *PROSE[:18],
    "attention is all you need " * 12,
    "狐" * 40,
    "two  spaces,\tone tab\nand a line",
    "a <mask> b <s> </s> <pad> <unk>[MASK] <s>NOTUSED",
    "a [MASK] x",
    "``quoted'' QUICK Éclair",
)
PAIRS = (("the cat", "a dog"), ("", "fox"), ("a long text of many words " * 3, "fox jumps"))
# The longest of a pair, in tokens.
PAIR_LENGTH = 16

FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
CONFIG, JSON = "tokenizer_config.json", "tokenizer.json"
Changes = dict[str, dict[str, Any] | None]


def word_piece(cls: str, *special: str) -> PreTrainedTokenizerBase:
    letters, words = counted(normalizers.BertNormalizer().normalize_str)
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters), *words]
    first = list(dict.fromkeys(pieces))[:VOCABULARY]
    return made(cls, vocab={piece: index for index, piece in enumerate(first)})


def byte_level(cls: str, *special: str) -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(PROSE, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return made(cls, vocab=model["vocab"], merges=merges)


def unigram(cls: str, *special: str, **settings: Any) -> PreTrainedTokenizerBase:
    letters, words = counted(str.lower)
    pieces = Counter({"▁": 200}) + letters + Counter({f"▁{w}": n for w, n in words.items()})
    learned = [(piece, math.log(n / pieces.total())) for piece, n in pieces.items()]
    vocabulary = [*((piece, 0.0) for piece in special), *learned]
    return made(cls, vocab=vocabulary[:VOCABULARY], **settings)


def letters_and_bytes(cls: str, *special: str) -> PreTrainedTokenizerBase:
    letters, _ = counted(str)
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    words = ("th", "the", "▁t", "▁the")
    pieces += [*list(letters)[: VOCABULARY - len(pieces) - len(words)], *words]
    merges = [("t", "h"), ("th", "e"), ("▁", "t"), ("▁t", "he")]
    merges = [pair for pair in merges if set(pair) <= set(pieces)]
    return made(cls, vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges)


def around(tokenizer: PreTrainedTokenizerBase, *texts: str) -> PreTrainedTokenizerBase:
    """Let a tokenizer put tokens around a text and a pair, as its file says."""
    single, pair = texts
    names = {name for name in f"{single} {pair}".split() if not name.startswith("$")}
    special = [(name, tokenizer.convert_tokens_to_ids(name)) for name in sorted(names)]
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=special
    )
    return tokenizer


def counted(normalize: Callable[[str], str]) -> tuple[Counter[str], Counter[str]]:
    """Count the most common letters and words; the trainers of some kinds draw lots."""
    text = normalize(" ".join(PROSE))
    letters, words = (Counter(re.findall(kind, text)) for kind in (r"\S", r"\w{2,}"))
    common = [
        sorted(each.items(), key=lambda item: (-item[1], item[0]))
        for each in (letters, words)
    ]
    return Counter(dict(common[0][:LETTERS])), Counter(dict(common[1]))


def made(cls: str, **settings: Any) -> PreTrainedTokenizerBase:
    return getattr(transformers, cls)(model_max_length=25, **settings)


def smallest_charsmap() -> bytes:
    """Make a table of SentencePiece's that replaces Q by q: a trie, what it leads to."""
    trie = [0] * 512
    # From the root by its letter to a node, and from there to the place of a leaf.
    node, leaf = ord("Q"), ord("Q") ^ 1
    trie[node] = node | 1 << 8 | (node ^ leaf) << 10
    trie[leaf] = 0
    return struct.pack("<I512I", 4 * len(trie), *trie) + b"q\0"


BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NOTUSED = ("<s>NOTUSED", "</s>NOTUSED", "<unk>", "<pad>", "<unk>NOTUSED", "<s>", "</s>")

END = "<|endoftext|>"
GEMMA = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")

TOKENIZERS: Mapping[str, Callable[[], PreTrainedTokenizerBase]] = {
    "roberta": lambda: byte_level("RobertaTokenizer", *FAIRSEQ, "<mask>"),
    "xlm_roberta": lambda: unigram(
        "XLMRobertaTokenizer",
        *FAIRSEQ,
        "<mask>",
        _spm_precompiled_charsmap=smallest_charsmap(),
    ),
    "camembert": lambda: unigram("CamembertTokenizer", *NOTUSED, "<mask>"),
    "deberta": lambda: unigram(
        "DebertaV2Tokenizer", "[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"
    ),
    "distilbert": lambda: word_piece("DistilBertTokenizer", *BERT),
    "mpnet": lambda: word_piece("MPNetTokenizer", *FAIRSEQ, "[UNK]", "<mask>"),
    "electra": lambda: word_piece("BertTokenizer", *BERT),
    "albert": lambda: unigram("AlbertTokenizer", "<pad>", "<unk>", *BERT[2:]),
    "t5": lambda: unigram("T5Tokenizer", "<pad>", "</s>", "<unk>", extra_ids=0),
    "qwen3": lambda: around(
        byte_level("Qwen2Tokenizer", END, "<|mask|>"), f"$A {END}", f"$A {END} $B {END}"
    ),
    "gemma3": lambda: around(
        letters_and_bytes("GemmaTokenizer", *GEMMA),
        "<bos> $A <eos>",
        "<bos> $A <eos> <bos> $B <eos>",
    ),
}

# What is changed in every folder, a field to None where it is taken out.
ALWAYS: tuple[Changes, ...] = (
    {},
    {CONFIG: None},
    {CONFIG: {"tokenizer_class": None}},
    {CONFIG: {"tokenizer_class": "TokenizersBackend"}},
    {JSON: {"added_tokens": []}},
    {CONFIG: {"extra_special_tokens": ["x"]}},
    {JSON: {"added_tokens": []}, CONFIG: None},
    {CONFIG: {"mask_token": None}},
    {CONFIG: {"bos_token": "x"}},
    {CONFIG: {"add_bos_token": True, "add_eos_token": False}},
)
FLAGS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
OF_WORD_PIECE: tuple[Changes, ...] = (
    *({CONFIG: {flag: False}} for flag in FLAGS),
    {CONFIG: {"do_lower_case": False, "strip_accents": True}},
)
OTHER_SPACES: Changes = {
    JSON: {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {
                    "type": "Precompiled",
                    "precompiled_charsmap": base64.b64encode(smallest_charsmap()).decode(),
                },
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": "▁",
            "prepend_scheme": "always",
            "split": True,
        },
    }
}
PREFIX: tuple[Changes, ...] = (
    {CONFIG: {"add_prefix_space": True}},
    {CONFIG: {"add_prefix_space": False}},
    {CONFIG: {"add_prefix_space": None}},
)
CHANGES: Mapping[str, tuple[Changes, ...]] = {
    "roberta": (
        *PREFIX,
        {CONFIG: {"tokenizer_class": "RobertaTokenizerFast"}},
        {
            JSON: {
                "pre_tokenizer": {
                    "type": "ByteLevel",
                    "add_prefix_space": True,
                    "trim_offsets": True,
                    "use_regex": True,
                }
            }
        },
    ),
    "xlm_roberta": (*PREFIX, OTHER_SPACES),
    "camembert": (*PREFIX, OTHER_SPACES),
    "deberta": (
        *PREFIX,
        OTHER_SPACES,
        {CONFIG: {"do_lower_case": True}},
        {CONFIG: {"split_by_punct": True}},
        {CONFIG: {"tokenizer_class": "DebertaV2TokenizerFast"}},
    ),
    "distilbert": OF_WORD_PIECE,
    "mpnet": (*OF_WORD_PIECE, {CONFIG: {"tokenizer_class": "MPNetTokenizerFast"}}),
    "electra": (*OF_WORD_PIECE, {CONFIG: {"tokenizer_class": "ElectraTokenizer"}}),
    "t5": (*PREFIX, OTHER_SPACES),
    "qwen3": (*PREFIX, {JSON: {"normalizer": None}}),
    "gemma3": ({JSON: {"normalizer": None}},),
    "albert": (
        *PREFIX,
        {CONFIG: {"do_lower_case": False}},
        {CONFIG: {"keep_accents": True}},
    ),
}


def other_masks(name: str) -> tuple[Changes, ...]:
    """Let the token of a mask take white space where it does not, and the other way."""
    added = json.loads((FOLDER / name / JSON).read_text())["added_tokens"]
    mask = next((t for t in added if "mask" in t["content"].lower()), added[0])
    other = mask | {"lstrip": not mask["lstrip"]}
    changed = [other if token == mask else token for token in added]
    typed = {"__type": "AddedToken"} | {n: v for n, v in other.items() if n != "id"}
    listed = {
        str(token["id"]): {n: v for n, v in token.items() if n != "id"} for token in changed
    }
    return (
        {JSON: {"added_tokens": changed}},
        {JSON: {"added_tokens": changed}, CONFIG: None},
        {CONFIG: {"added_tokens_decoder": listed}},
        {CONFIG: {"added_tokens_decoder": listed, "mask_token": None}},
        {CONFIG: {"mask_token": typed}},
    )


def more_tokens(name: str) -> tuple[Changes, ...]:
    """Name special tokens that have no id, where the model has vectors to spare."""
    if len(json.loads((FOLDER / name / JSON).read_text())["model"]["vocab"]) == VOCABULARY:
        return ()
    return (
        {CONFIG: {"extra_special_tokens": ["all", "need"], "mask_token": "quick"}},
        {CONFIG: {"tokenizer_class": "TokenizersBackend", "bos_token": "brown"}},
    )


def change(folder: Path, changes: Changes) -> None:
    """Change fields of files; without a field where it is None, or without the file."""
    for name, fields in changes.items():
        path = folder / name
        if fields is None:
            path.unlink()
            continue
        stored = json.loads(path.read_text()) | fields
        kept = {field: value for field, value in stored.items() if field not in fields}
        kept |= {field: value for field, value in fields.items() if value is not None}
        write_json(path, kept)


def tokens_of(folder: Path) -> dict[str, Any]:
    """Tokenize all texts and pairs with what transformers makes of a folder."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = [
        tokenizer(*pair, truncation="longest_first", max_length=PAIR_LENGTH)
        for pair in PAIRS
    ]
    return {
        "texts": [tokenizer(text)["input_ids"] for text in TEXTS],
        "pairs": [pair["input_ids"] for pair in pairs],
        "types": [pair.get("token_type_ids") for pair in pairs],
    }


def make(name: str) -> None:
    """Write the tokens of one family."""
    cases = []
    for changes in (*ALWAYS, *other_masks(name), *more_tokens(name), *CHANGES[name]):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(shutil.copytree(FOLDER / name, Path(temporary) / name))
            change(folder, changes)
            cases.append({"changes": changes, **tokens_of(folder)})
    content = {"texts": TEXTS, "pairs": PAIRS, "pair_length": PAIR_LENGTH, "cases": cases}
    path = FOLDER / f"{name}.tokens.json"
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{name}: {path.stat().st_size} bytes, {len(cases)} cases")


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    for family in sys.argv[1:] or TOKENIZERS:
        make(family)

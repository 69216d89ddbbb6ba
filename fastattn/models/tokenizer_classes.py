"""The tokenizers that transformers makes anew, by the names of their classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from .tokenizer_makers import (
    Made,
    make_albert,
    make_bert,
    make_deberta,
    make_gemma,
    make_mpnet,
    make_qwen,
    make_roberta,
    make_t5,
    make_xlm_roberta,
)

# The special tokens of classes, unless a file names others.
BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
CAMEMBERT_TOKENS = ROBERTA_TOKENS | {
    f"extra_special_tokens {i}_token": token
    for i, token in enumerate(("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"))
}
MPNET_TOKENS = ROBERTA_TOKENS | {"unk_token": "[UNK]"}
ALBERT_TOKENS = BERT_TOKENS | {
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
}
DEBERTA_TOKENS = BERT_TOKENS | {"bos_token": "[CLS]", "eos_token": "[SEP]"}

GEMMA_TOKENS = {
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
QWEN_TOKENS = dict.fromkeys(("eos_token", "unk_token", "pad_token"), "<|endoftext|>")
T5_TOKENS = {name: ROBERTA_TOKENS[name] for name in ("eos_token", "unk_token", "pad_token")}


@dataclass(frozen=True, kw_only=True)
class TokenizerClass:
    """What transformers makes of a vocabulary.

    Attributes
    ----------
    model : str
        The kind of the vocabulary.
    tokens : dict of str to str
        Special tokens by their names, unless a file names others.
    make : callable
        Replaces the parts of a tokenizer by those of the class.
    has_types : bool
        Whether the second text of a pair is of another type than the first.
    mask_takes_spaces : bool
        Whether the token of a mask takes the white space in front of it.
    """

    model: str
    tokens: Mapping[str, str]
    make: Callable[[Made], None]
    has_types: bool = False
    mask_takes_spaces: bool = False


BERT = TokenizerClass(model="WordPiece", tokens=BERT_TOKENS, make=make_bert, has_types=True)
PAIRS = partial(TokenizerClass, model="BPE")
UNIGRAM = partial(TokenizerClass, model="Unigram")

# By their names, without the Fast behind some. All others take tokenizer.json as it is.
CLASSES = {
    "AlbertTokenizer": UNIGRAM(tokens=ALBERT_TOKENS, make=make_albert),
    "BertTokenizer": BERT,
    "CamembertTokenizer": UNIGRAM(
        tokens=CAMEMBERT_TOKENS,
        make=partial(make_xlm_roberta, unknown=None),
        mask_takes_spaces=True,
    ),
    "DebertaV2Tokenizer": UNIGRAM(tokens=DEBERTA_TOKENS, make=make_deberta, has_types=True),
    "DistilBertTokenizer": TokenizerClass(
        model="WordPiece", tokens=BERT_TOKENS, make=make_bert
    ),
    "ElectraTokenizer": BERT,
    "GemmaTokenizer": PAIRS(tokens=GEMMA_TOKENS, make=make_gemma),
    "MPNetTokenizer": TokenizerClass(
        model="WordPiece", tokens=MPNET_TOKENS, make=make_mpnet, mask_takes_spaces=True
    ),
    "Qwen2Tokenizer": PAIRS(tokens=QWEN_TOKENS, make=make_qwen),
    "RobertaTokenizer": PAIRS(tokens=ROBERTA_TOKENS, make=make_roberta),
    "T5Tokenizer": UNIGRAM(tokens=T5_TOKENS, make=make_t5),
    "XLMRobertaTokenizer": UNIGRAM(tokens=ROBERTA_TOKENS, make=make_xlm_roberta),
}

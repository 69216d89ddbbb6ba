"""The models that are measured beside MiniLM: their sizes alone, for weights are random."""

from typing import NamedTuple

from ..operations import encoder_layer_flops

MINILM = "MiniLM"  # all-MiniLM-L6-v2, whose weights are real
# Most layers see a window alone.
WINDOWED = "ModernBERT base"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")

# MiniLM's words: its tokenizer serves them all, and larger tables would only take memory.
WORDS = {"vocab_size": 30522, "pad_token_id": 0}
# What CTranslate2 asks for and transformers writes no more.
ABSOLUTE = {"position_embedding_type": "absolute"}
SMALL = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
# Of XLM-R, whose positions are counted behind that of padding.
XLM_R = {
    "max_position_embeddings": 514,
    "pad_token_id": 1,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
# DeBERTa-v3 base, whose scores depend on distances in buckets.
DEBERTA = {
    "relative_attention": True,
    "position_buckets": 256,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "type_vocab_size": 0,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
SPECIAL = {"cls_token_id": 101, "sep_token_id": 102} | dict.fromkeys(
    ("bos_token_id", "eos_token_id")
)

# The score of words whose vector says nothing: about as many words of a text get above 0
# as of one that SPLADE was trained on, some hundred.
WORD_BIAS = -1.5


class Model(NamedTuple):
    """A model by its class in transformers and its settings, those of the class by default.

    `inputs` are how many of INPUTS it takes. One without settings has a folder.
    """

    kind: str
    settings: dict[str, object] | None
    inputs: int = 3


MODELS = {
    MINILM: Model("BertModel", None),
    "BERT base": Model("BertModel", WORDS | ABSOLUTE),
    "XLM-R base": Model("XLMRobertaModel", WORDS | ABSOLUTE | XLM_R),
    WINDOWED: Model("ModernBertModel", WORDS | SPECIAL, 2),
    "DeBERTa-v3 base": Model("DebertaV2Model", WORDS | DEBERTA, 2),
    "reranker": Model(
        "BertForSequenceClassification", WORDS | ABSOLUTE | SMALL | {"num_labels": 1}
    ),
    "SPLADE": Model("BertForMaskedLM", WORDS | ABSOLUTE | SMALL),
}

# (batch, length)
SHAPES = {
    "BERT base": ((1, 32), (1, 128), (8, 128), (2, 512)),
    "XLM-R base": ((1, 32), (8, 128)),
    WINDOWED: ((1, 128), (8, 512), (1, 2048)),
    "DeBERTa-v3 base": ((1, 32), (8, 256)),
}

HIDDEN, INTERMEDIATE, LAYERS = 768, 3072, 12
# ModernBERT: of three layers one sees all, the others 64 tokens on each side.
MODERN_INTERMEDIATE, MODERN_LAYERS, MODERN_WINDOW = 1152, 22, 129


def model_flops(name: str, batch: int, length: int) -> int:
    """Count the operations of a forward pass, not what windows hide or distances add."""
    if name != WINDOWED:
        return LAYERS * encoder_layer_flops(batch, length, HIDDEN, INTERMEDIATE)
    layer = encoder_layer_flops(batch, length, HIDDEN, MODERN_INTERMEDIATE, gated=True)
    hidden_keys = max(0, length - MODERN_WINDOW)
    local = MODERN_LAYERS * 2 // 3
    return MODERN_LAYERS * layer - local * 4 * batch * length * hidden_keys * HIDDEN

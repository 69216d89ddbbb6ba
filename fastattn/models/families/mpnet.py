"""MPNet: a BERT without token types, whose scores have a learned bias by distance besides.

Song et al. 2020, "MPNet: Masked and Permuted Pre-training for Language Understanding",
section 3.
"""

from dataclasses import replace

from ...nn.relative import RelativeBias
from ..checkpoint import Settings
from .bert_like import (
    SIZES,
    SPELLINGS,
    LayerNames,
    count_from_padding,
    read_bert_like,
)
from .family import HIGHEST, Architecture, Family, SameRows, dense_classifier
from .roberta import words

NAMES = LayerNames(
    projections=("attention.attn.q", "attention.attn.k", "attention.attn.v"),
    output="attention.attn.o",
    norms=("attention.LayerNorm", "output.LayerNorm"),
)

# transformers has these numbers in its code, whatever config.json says.
BUCKETS, MAX_DISTANCE, PADDING = 32, 128, 1


def read(settings: Settings) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    for name, expected in (
        ("relative_attention_num_buckets", BUCKETS),
        ("pad_token_id", PADDING),
    ):
        value = settings.get(name, int, expected)
        if value != expected:
            raise settings.wrong(name, str(expected), value)
    heads = settings.get_size("num_attention_heads", HIGHEST["num_heads"])
    bias = RelativeBias(heads, BUCKETS, MAX_DISTANCE)
    architecture = read_bert_like(
        settings,
        sizes={name: SIZES[name] for name in SIZES if name != "num_token_types"},
        names=NAMES,
        relative_bias=bias,
    )
    table = {"encoder.relative_attention_bias.weight": (BUCKETS, heads)}
    return replace(
        count_from_padding(architecture, PADDING),
        relative=bias,
        weights=[*architecture.weights, SameRows(("relative.weight",), table)],
    )


FAMILY = Family(
    read=read,
    prefixes=("mpnet.",),
    spellings=SPELLINGS,
    # A counter that old versions stored, and heads.
    unused=("embeddings.position_ids", "pooler.", "lm_head.", "classifier."),
    words=words,
    classifier=dense_classifier("classifier.dense", "tanh", "classifier.out_proj"),
    tokenizer_class="MPNetTokenizer",
)

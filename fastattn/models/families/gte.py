"""GTE, which its folders call "new": a BERT with rotary positions and gates.

Zhang et al. 2024, "mGTE: Generalized Long-Context Text Representation and Reranking
Models for Multilingual Text Retrieval", section 3.1.
"""

from dataclasses import replace
from functools import partial

from ..checkpoint import Settings
from .attention import read_rotary
from .family import (
    ACTIVATIONS,
    EPS_RANGE,
    Architecture,
    Family,
    HeadLayer,
    WordHead,
    dense_classifier,
    head_dim_of,
    read_sizes,
    require,
)
from .post_norm import NATIVE, NATIVE_ATTENTION, NATIVE_GATES, Names, post_norm

# The fields of config.json that are sizes, with their defaults.
SIZES = {
    "vocab_size": ("vocab_size",),
    "hidden_size": ("hidden_size",),
    "num_layers": ("num_hidden_layers",),
    "num_heads": ("num_attention_heads",),
    "intermediate_size": ("intermediate_size",),
    "max_positions": ("max_position_embeddings",),
    "num_token_types": ("type_vocab_size", 1),
}

NAMES = Names(
    layer="encoder.layer.{}.",
    parts={
        ("self_attn.in_proj_",): ("attention.qkv_proj",),
        ("self_attn.out_proj.",): ("attention.o_proj",),
        ("norm1.",): ("attn_ln",),
        # What is activated comes last.
        ("up_proj.", "gate_proj."): ("mlp.up_gate_proj",),
        ("down_proj.",): ("mlp.down_proj",),
        ("norm2.",): ("mlp_ln",),
    },
)

# Fields that change numbers, and the one value of each that is read.
FIXED = {
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "pack_qkv": True,
    "position_embedding_type": "rope",
}

# The base of rotary positions where none is said.
BASES = {"new": 10000.0, "gte": 160000.0}


def read(settings: Settings, names: Names = NAMES) -> Architecture:
    """Read config.json; what its code has a default for may be missing."""
    require(settings, FIXED)
    fields = dict(SIZES)
    if settings.fields.get("type_vocab_size") == 0:
        del fields["num_token_types"]
    sizes = read_sizes(settings, fields)
    base = BASES[settings.get_choice("model_type", BASES)]
    return post_norm(
        sizes,
        names,
        rotary=read_rotary(settings, head_dim_of(settings, sizes, SIZES), base),
        activation=ACTIVATIONS[settings.get_choice("hidden_act", ACTIVATIONS, "gelu")],
        gated=True,
        eps=settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE),
        unbiased=("gate_proj.", "up_proj."),
    )


def words(settings: Settings, norm: str = "lm_head.norm") -> WordHead:
    """Describe what predicts masked words."""
    transform = HeadLayer(
        dense="lm_head.dense",
        activation="gelu",
        norm=norm,
        eps=settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE),
    )
    return WordHead(transform=transform, decoder="lm_head.decoder")


PUBLISHED = Family(
    read=read,
    prefixes=("new.", "gte."),
    # A counter that old versions stored, and heads.
    unused=("embeddings.position_ids", "pooler.", "lm_head.", "classifier."),
    words=words,
    classifier=dense_classifier("new.pooler.dense", "tanh", "classifier"),
)

IN_MEMORY = replace(
    PUBLISHED,
    read=partial(read, names=Names(parts=NATIVE_ATTENTION | NATIVE_GATES)),
    words=partial(words, norm="lm_head.layer_norm"),
)

FAMILY = replace(PUBLISHED, variants={NATIVE: IN_MEMORY})

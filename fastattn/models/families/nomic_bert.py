"""NomicBERT: a BERT with rotary positions and gates, and settings called as GPT-2's are.

Nussbaum et al. 2024, "Nomic Embed: Training a Reproducible Long Context Text Embedder",
section 4.
"""

from dataclasses import replace
from functools import partial

from ..checkpoint import Settings
from .attention import HIGHEST_BASE, read_rotary
from .family import (
    ACTIVATIONS,
    EPS_RANGE,
    HIGHEST,
    Architecture,
    Family,
    dense_classifier,
    head_dim_of,
    read_sizes,
    require,
)
from .post_norm import NATIVE, NATIVE_ATTENTION, NATIVE_GATES, Names, post_norm

# The fields of config.json that are sizes, with their defaults, as they are called in
# published folders, and by transformers.
SIZES = {
    "vocab_size": ("vocab_size",),
    "hidden_size": ("n_embd",),
    "num_layers": ("n_layer",),
    "num_heads": ("n_head",),
    "intermediate_size": ("n_inner",),
    "max_positions": ("n_positions",),
    "num_token_types": ("type_vocab_size", 2),
}
NATIVE_SIZES = {
    "vocab_size": ("vocab_size", 30528),
    "hidden_size": ("hidden_size", 768),
    "num_layers": ("num_hidden_layers", 12),
    "num_heads": ("num_attention_heads", 12),
    "intermediate_size": ("intermediate_size", 3072),
    "max_positions": ("max_position_embeddings", 2048),
    "num_token_types": ("type_vocab_size", 2),
}

NAMES = Names(
    layer="encoder.layers.{}.",
    embedding_norm="emb_ln",
    parts={
        ("self_attn.in_proj_",): ("attn.Wqkv",),
        ("self_attn.out_proj.",): ("attn.out_proj",),
        ("norm1.",): ("norm1",),
        ("up_proj.",): ("mlp.fc11",),
        ("gate_proj.",): ("mlp.fc12",),
        ("down_proj.",): ("mlp.fc2",),
        ("norm2.",): ("norm2",),
    },
)

# Which biases there are, in published folders -> keys of the parts.
BIASES = {
    "qkv_proj_bias": ("self_attn.in_proj_", "self_attn.out_proj."),
    "mlp_fc1_bias": ("gate_proj.", "up_proj."),
    "mlp_fc2_bias": ("down_proj.",),
}

# Fields of published folders that change numbers, and the one value of each that is read.
FIXED = {
    "prenorm": False,
    "parallel_block": False,
    "use_rms_norm": False,
    "causal": False,
    "rotary_emb_fraction": 1,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "moe_every_n_layers": 0,
}

GATES = {"swiglu": "silu", "geglu": "gelu"}


def read(settings: Settings, names: Names = NAMES) -> Architecture:
    """Read config.json, whoever wrote it."""
    published = settings.has("n_embd")
    fields = SIZES if published else NATIVE_SIZES
    sizes = read_sizes(settings, fields)
    dim = head_dim_of(settings, sizes, fields)
    if not published:
        activation = settings.get_choice("hidden_act", ACTIVATIONS, "silu")
        return post_norm(
            sizes,
            names,
            rotary=read_rotary(settings, dim, 1000.0),
            activation=ACTIVATIONS[activation],
            gated=True,
            eps=settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE),
            unbiased=[key for keys in BIASES.values() for key in keys],
        )
    require(settings, FIXED)
    if settings.has("rotary_scaling_factor"):
        # Past those the base depends on how long a text is, and its neighbours are.
        trained = settings.get_size("max_trained_positions", HIGHEST["max_positions"], 2048)
        sizes["max_positions"] = min(sizes["max_positions"], trained)
    return post_norm(
        sizes,
        names,
        rotary=settings.get_float("rotary_emb_base", 10000.0, 1.0, HIGHEST_BASE),
        activation=GATES[settings.get_choice("activation_function", GATES)],
        gated=True,
        eps=settings.get_float("layer_norm_epsilon", 1e-5, *EPS_RANGE),
        unbiased=[
            key
            for field, keys in BIASES.items()
            for key in keys
            if not settings.get(field, bool, True)
        ],
    )


PUBLISHED = Family(
    read=read,
    prefixes=("nomic_bert.", "bert."),
    # What pre-training and classifying need on top.
    unused=("pooler.", "cls.", "classifier."),
    classifier=dense_classifier("nomic_bert.pooler.dense", "tanh", "classifier"),
    tokenizer_class="BertTokenizer",
)

IN_MEMORY = replace(
    PUBLISHED,
    read=partial(read, names=Names(parts=NATIVE_ATTENTION | NATIVE_GATES)),
)

FAMILY = replace(PUBLISHED, variants={NATIVE: IN_MEMORY})

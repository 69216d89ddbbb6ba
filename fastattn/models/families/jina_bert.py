"""JinaBERT, which calls itself "bert": biases by distance for positions, and gates.

Günther et al. 2023, "Jina Embeddings 2: 8192-Token General-Purpose Text Embeddings for
Long Documents", section 3. Its code has two forms, which their tensors tell apart.
"""

from dataclasses import replace
from functools import partial

from ..checkpoint import Settings
from .family import (
    EPS_RANGE,
    Architecture,
    Family,
    dense_classifier,
    head_dim_of,
    read_sizes,
)
from .post_norm import Names, Parts, post_norm

# The fields of config.json that are sizes, with their defaults.
SIZES = {
    "vocab_size": ("vocab_size",),
    "hidden_size": ("hidden_size",),
    "num_layers": ("num_hidden_layers",),
    "num_heads": ("num_attention_heads",),
    "intermediate_size": ("intermediate_size",),
    "max_positions": ("max_position_embeddings",),
    "num_token_types": ("type_vocab_size", 2),
}

ATTENTION: Parts = {
    ("self_attn.in_proj_",): (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ),
    ("self_attn.out_proj.",): ("attention.output.dense",),
}
GATED = Names(
    layer="encoder.layer.{}.",
    parts={
        **ATTENTION,
        ("norm1.",): ("attention.output.LayerNorm",),
        # What is activated comes first.
        ("gate_proj.", "up_proj."): ("mlp.gated_layers",),
        ("down_proj.",): ("mlp.wo",),
        ("norm2.",): ("mlp.layernorm",),
    },
)

NORMED = Names(
    layer="encoder.layer.{}.",
    parts={
        **ATTENTION,
        ("self_attn.q_norm.",): ("attention.self.layer_norm_q",),
        ("self_attn.k_norm.",): ("attention.self.layer_norm_k",),
        ("inner_norm1.",): ("attention.output.LayerNorm",),
        ("norm1.",): ("layer_norm_1",),
        # What is activated comes last.
        ("up_proj.", "gate_proj."): ("mlp.up_gated_layer",),
        ("down_proj.",): ("mlp.down_layer",),
        ("norm2.",): ("layer_norm_2",),
    },
)

GATES = {"geglu": "gelu", "reglu": "relu"}


def read(settings: Settings, names: Names = GATED) -> Architecture:
    """Read config.json."""
    settings.get_choice("position_embedding_type", ["alibi"])
    if settings.get("is_decoder", bool, False):
        raise settings.error("is_decoder", "must be false: this is an encoder")
    sizes = read_sizes(settings, SIZES)
    head_dim_of(settings, sizes, SIZES)
    return post_norm(
        sizes,
        names,
        activation=GATES[settings.get_choice("feed_forward_type", GATES)],
        gated=True,
        eps=settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE),
        unbiased=("gate_proj.", "up_proj."),
        alibi=True,
    )


ONE = Family(
    read=read,
    prefixes=("bert.",),
    # A counter, and what pre-training and classifying need on top.
    unused=("embeddings.position_ids", "pooler.", "cls.", "classifier."),
    classifier=dense_classifier("bert.pooler.dense", "tanh", "classifier"),
    tokenizer_class="BertTokenizer",
)

# How a name ends that only the tensors of a form have -> the form.
FORMS = {
    "mlp.gated_layers.weight": ONE,
    "mlp.up_gated_layer.weight": replace(ONE, read=partial(read, names=NORMED)),
}

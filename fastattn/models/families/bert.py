"""BERT: three embeddings, layer-normalised, and the encoder of the paper with GELU.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 3.
"""

from collections.abc import Iterator
from functools import partial

from ...nn import EncoderLayer, LayerNorm
from ..checkpoint import Settings
from .family import (
    ACTIVATIONS,
    EPS_RANGE,
    Architecture,
    Family,
    SameRows,
    affine,
    read_sizes,
)

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

# Three matrices that are the rows of one here.
PROJECTIONS = ("attention.self.query", "attention.self.key", "attention.self.value")


def read(settings: Settings) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    settings.get_choice("position_embedding_type", ["absolute"], "absolute")
    if settings.get("is_decoder", bool, False):
        raise settings.error("is_decoder", "must be false: this is an encoder")
    sizes = read_sizes(settings, SIZES)
    hidden, heads = sizes["hidden_size"], sizes["num_heads"]
    if hidden % heads:
        multiple = f"a multiple of num_attention_heads {heads}"
        raise settings.wrong("hidden_size", multiple, hidden)
    activation = settings.get_choice("hidden_act", ACTIVATIONS, "gelu")
    eps = settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE)
    layer = partial(
        EncoderLayer,
        hidden,
        heads,
        sizes["intermediate_size"],
        activation=ACTIVATIONS[activation],
        norm_eps=eps,
        init="zeros",
    )
    return Architecture(
        vocab_size=sizes["vocab_size"],
        hidden_size=hidden,
        max_positions=sizes["max_positions"],
        num_token_types=sizes["num_token_types"],
        embedding_norm=partial(LayerNorm, eps=eps),
        layers=[layer] * sizes["num_layers"],
        weights=list(_weights(sizes)),
    )


def _weights(sizes: dict[str, int]) -> Iterator[SameRows]:
    """Say where all weights stand."""
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    for kind, rows in (
        ("word", "vocab_size"),
        ("position", "max_positions"),
        ("token_type", "num_token_types"),
    ):
        table = {f"embeddings.{kind}_embeddings": (sizes[rows], hidden)}
        yield from affine([f"{kind}_embeddings."], table, bias=False)
    yield from affine(["embedding_norm."], {"embeddings.LayerNorm": (hidden,)})
    parts: dict[str, dict[str, tuple[int, ...]]] = {
        "self_attn.in_proj_": dict.fromkeys(PROJECTIONS, (hidden, hidden)),
        "self_attn.out_proj.": {"attention.output.dense": (hidden, hidden)},
        "norm1.": {"attention.output.LayerNorm": (hidden,)},
        "linear1.": {"intermediate.dense": (inner, hidden)},
        "linear2.": {"output.dense": (hidden, inner)},
        "norm2.": {"output.LayerNorm": (hidden,)},
    }
    for i in range(sizes["num_layers"]):
        for part, tensors in parts.items():
            yield from affine(
                [f"encoder.layers.{i}.{part}"],
                {f"encoder.layer.{i}.{name}": shape for name, shape in tensors.items()},
            )


FAMILY = Family(
    read=read,
    prefixes=("bert.",),
    spellings={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
    # A counter that old versions stored, and what pre-training needs on top.
    unused=(
        "embeddings.position_ids",
        "pooler.",
        "cls.predictions.",
        "cls.seq_relationship.",
    ),
    tokenizer_class="BertTokenizer",
)

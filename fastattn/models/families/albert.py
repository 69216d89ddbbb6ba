"""ALBERT: a BERT of narrow tables, whose layers share their weights.

Lan et al. 2020, "ALBERT: A Lite BERT for Self-supervised Learning of Language
Representations", section 3.
"""

from functools import partial

from ..checkpoint import Settings
from .bert_like import SPELLINGS, LayerNames, read_bert_like
from .family import (
    ACTIVATIONS,
    EPS_RANGE,
    HIGHEST,
    Architecture,
    Family,
    HeadLayer,
    WordHead,
    dense_classifier,
)

NAMES = LayerNames(
    projections=("attention.query", "attention.key", "attention.value"),
    output="attention.dense",
    up="ffn",
    down="ffn_output",
    norms=("attention.LayerNorm", "full_layer_layer_norm"),
)


def read(settings: Settings) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    return read_bert_like(
        settings,
        prefixes=partial(_places, settings),
        names=NAMES,
        activation=("hidden_act", "gelu_new"),
        embedding_size=settings.get_size("embedding_size", HIGHEST["hidden_size"]),
        projection="encoder.embedding_hidden_mapping_in",
    )


def _places(settings: Settings, count: int) -> list[str]:
    """Say where the weights of each layer are: those of the groups are used many times."""
    groups = settings.get_size("num_hidden_groups", count, 1)
    inner = settings.get_size("inner_group_num", HIGHEST["num_layers"] // count, 1)
    return [
        f"encoder.albert_layer_groups.{int(i / (count / groups))}.albert_layers.{j}."
        for i in range(count)
        for j in range(inner)
    ]


def words(settings: Settings) -> WordHead:
    """Describe what predicts masked words."""
    activation = settings.get_choice("hidden_act", ACTIVATIONS, "gelu_new")
    transform = HeadLayer(
        dense="predictions.dense",
        activation=ACTIVATIONS[activation],
        norm="predictions.LayerNorm",
        eps=settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE),
    )
    return WordHead(
        transform=transform, decoder="predictions.decoder", bias="predictions.bias"
    )


FAMILY = Family(
    read=read,
    prefixes=("albert.",),
    spellings=SPELLINGS,
    # A counter that old versions stored, and heads.
    unused=(
        "embeddings.position_ids",
        "pooler.",
        "predictions.",
        "sop_classifier.",
        "classifier.",
    ),
    words=words,
    classifier=dense_classifier("albert.pooler", "tanh", "classifier"),
    tokenizer_class="AlbertTokenizer",
)

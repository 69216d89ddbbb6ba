"""ELECTRA: a BERT whose tables may be narrower than its layers.

Clark et al. 2020, "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
Generators", section 3.
"""

from ..checkpoint import Settings
from .bert_like import SPELLINGS, read_bert_like
from .family import (
    EPS_RANGE,
    HIGHEST,
    Architecture,
    Family,
    HeadLayer,
    WordHead,
    dense_classifier,
)


def read(settings: Settings) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    width, hidden = (
        settings.get_size(name, HIGHEST["hidden_size"])
        for name in ("embedding_size", "hidden_size")
    )
    return read_bert_like(
        settings,
        embedding_size=None if width == hidden else width,
        projection="embeddings_project",
    )


def words(settings: Settings) -> WordHead:
    """Describe what predicts masked words."""
    transform = HeadLayer(
        dense="generator_predictions.dense",
        activation="gelu",
        norm="generator_predictions.LayerNorm",
        eps=settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE),
    )
    return WordHead(transform=transform, decoder="generator_lm_head")


FAMILY = Family(
    read=read,
    prefixes=("electra.",),
    spellings=SPELLINGS,
    # A counter that old versions stored, and heads.
    unused=(
        "embeddings.position_ids",
        "generator_predictions.",
        "generator_lm_head.",
        "discriminator_predictions.",
        "classifier.",
    ),
    words=words,
    classifier=dense_classifier("classifier.dense", "gelu", "classifier.out_proj"),
    tokenizer_class="ElectraTokenizer",
)

"""ELECTRA: a BERT whose tables may be narrower than its layers.

Clark et al. 2020, "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
Generators", section 3.
"""

from ..checkpoint import Settings
from .bert_like import SPELLINGS, read_bert_like
from .family import HIGHEST, Architecture, Family, dense_classifier


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
    classifier=dense_classifier("classifier.dense", "gelu", "classifier.out_proj"),
    tokenizer_class="ElectraTokenizer",
)

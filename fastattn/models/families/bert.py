"""BERT: three embeddings, layer-normalised, and the encoder of the paper with GELU.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 3.
"""

from ..checkpoint import Settings
from . import jina_bert
from .bert_like import SPELLINGS, read_bert_like
from .family import ACTIVATIONS, EPS_RANGE, Family, HeadLayer, WordHead, dense_classifier


def words(settings: Settings) -> WordHead:
    """Describe what predicts masked words."""
    activation = settings.get_choice("hidden_act", ACTIVATIONS, "gelu")
    transform = HeadLayer(
        dense="cls.predictions.transform.dense",
        activation=ACTIVATIONS[activation],
        norm="cls.predictions.transform.LayerNorm",
        eps=settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE),
    )
    return WordHead(
        transform=transform,
        decoder="cls.predictions.decoder",
        bias="cls.predictions.bias",
    )


FAMILY = Family(
    read=read_bert_like,
    prefixes=("bert.",),
    spellings=SPELLINGS,
    # A counter that old versions stored, and what pre-training needs on top.
    unused=(
        "embeddings.position_ids",
        "pooler.",
        "cls.predictions.",
        "cls.seq_relationship.",
    ),
    # It goes by the same name.
    variants=jina_bert.FORMS,
    words=words,
    classifier=dense_classifier("bert.pooler.dense", "tanh", "classifier"),
    tokenizer_class="BertTokenizer",
)

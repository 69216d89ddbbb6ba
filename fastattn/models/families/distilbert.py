"""DistilBERT: a BERT without token types, of half as many layers, with its own names.

Sanh et al. 2019, "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and
lighter", section 3.
"""

from functools import partial

from ..checkpoint import Settings
from .bert_like import SPELLINGS, LayerNames, numbered, read_bert_like
from .family import ACTIVATIONS, Family, HeadLayer, WordHead, dense_classifier

SIZES = {
    "vocab_size": ("vocab_size",),
    "hidden_size": ("dim",),
    "num_layers": ("n_layers",),
    "num_heads": ("n_heads",),
    "intermediate_size": ("hidden_dim",),
    "max_positions": ("max_position_embeddings",),
}

NAMES = LayerNames(
    projections=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    output="attention.out_lin",
    up="ffn.lin1",
    down="ffn.lin2",
    norms=("sa_layer_norm", "output_layer_norm"),
)


def words(settings: Settings) -> WordHead:
    """Describe what predicts masked words."""
    activation = settings.get_choice("activation", ACTIVATIONS, "gelu")
    transform = HeadLayer(
        dense="vocab_transform",
        activation=ACTIVATIONS[activation],
        norm="vocab_layer_norm",
        eps=1e-12,
    )
    return WordHead(transform=transform, decoder="vocab_projector")


FAMILY = Family(
    read=partial(
        read_bert_like,
        sizes=SIZES,
        prefixes=numbered("transformer.layer.{}."),
        names=NAMES,
        activation=("activation", "gelu"),
        eps=1e-12,
    ),
    prefixes=("distilbert.",),
    spellings=SPELLINGS,
    # A counter that old versions stored, and heads.
    unused=(
        "embeddings.position_ids",
        "vocab_transform.",
        "vocab_layer_norm.",
        "vocab_projector.",
        "pre_classifier.",
        "classifier.",
    ),
    words=words,
    classifier=dense_classifier("pre_classifier", "relu", "classifier"),
    tokenizer_class="DistilBertTokenizer",
)

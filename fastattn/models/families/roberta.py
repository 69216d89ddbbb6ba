"""RoBERTa: a BERT whose positions are counted behind that of padding.

Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach", section 3.
"""

from ..checkpoint import Settings
from .bert_like import SPELLINGS, count_from_padding, read_bert_like
from .family import EPS_RANGE, Architecture, Family, HeadLayer, WordHead, dense_classifier


def read(settings: Settings) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    return counted(read_bert_like(settings), settings)


def counted(architecture: Architecture, settings: Settings) -> Architecture:
    """Let positions be counted behind that of padding, which config.json names."""
    padding = settings.get("pad_token_id", int, 1)
    highest = architecture.max_positions - 2
    if not 0 <= padding <= highest:
        expected = f"from 0 to {highest}, for max_position_embeddings holds one more"
        raise settings.wrong("pad_token_id", expected, padding)
    return count_from_padding(architecture, padding)


def words(settings: Settings) -> WordHead:
    """Describe what predicts masked words."""
    transform = HeadLayer(
        dense="lm_head.dense",
        activation="gelu",
        norm="lm_head.layer_norm",
        eps=settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE),
    )
    return WordHead(transform=transform, decoder="lm_head.decoder", bias="lm_head.bias")


FAMILY = Family(
    read=read,
    prefixes=("roberta.",),
    spellings=SPELLINGS,
    # A counter that old versions stored, and heads.
    unused=("embeddings.position_ids", "pooler.", "lm_head.", "classifier."),
    words=words,
    classifier=dense_classifier("classifier.dense", "tanh", "classifier.out_proj"),
    tokenizer_class="RobertaTokenizer",
)

"""BERT: three embeddings, layer-normalised, and the encoder of the paper with GELU.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 3.
"""

from . import jina_bert
from .bert_like import SPELLINGS, read_bert_like
from .family import Family, dense_classifier

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
    classifier=dense_classifier("bert.pooler.dense", "tanh", "classifier"),
    tokenizer_class="BertTokenizer",
)

"""XLM-RoBERTa: RoBERTa in a hundred languages.

Conneau et al. 2020, "Unsupervised Cross-lingual Representation Learning at Scale",
section 3.
"""

from dataclasses import replace

from . import jina_v3
from .roberta import FAMILY as ROBERTA

FAMILY = replace(
    ROBERTA,
    # They go by the same name.
    variants=jina_v3.FORMS,
    tokenizer_class="XLMRobertaTokenizer",
)

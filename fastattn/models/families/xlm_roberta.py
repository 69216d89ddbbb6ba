"""XLM-RoBERTa: RoBERTa in a hundred languages.

Conneau et al. 2020, "Unsupervised Cross-lingual Representation Learning at Scale",
section 3.
"""

from dataclasses import replace

from .roberta import FAMILY as ROBERTA

FAMILY = replace(ROBERTA, tokenizer_class="XLMRobertaTokenizer")

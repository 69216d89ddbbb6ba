"""XLM-RoBERTa: RoBERTa in a hundred languages.

Conneau et al. 2020, "Unsupervised Cross-lingual Representation Learning at Scale",
section 3.
"""

from .roberta import FAMILY as ROBERTA

FAMILY = ROBERTA

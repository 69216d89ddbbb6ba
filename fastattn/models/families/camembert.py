"""CamemBERT: RoBERTa in French.

Martin et al. 2020, "CamemBERT: a Tasty French Language Model", section 4.
"""

from dataclasses import replace

from .roberta import FAMILY as ROBERTA

FAMILY = replace(ROBERTA, tokenizer_class="CamembertTokenizer")

"""The classes of sentence-transformers, with its methods and keywords, without torch.

A script needs one other import: ``from fastattn.integrations.sentence_transformers import
SentenceTransformer, CrossEncoder, SparseEncoder, util``. What a keyword asks for is done,
or refused by name where it would change numbers, or has no effect where it cannot.
"""

from . import models, util
from .cross_encoder import CrossEncoder
from .sentence_transformer import SentenceTransformer
from .sparse_encoder import SparseEncoder
from .util import SimilarityFunction, quantize_embeddings

# The version of sentence-transformers whose signatures these are.
__version__ = "6.2.0"

__all__ = [
    "CrossEncoder",
    "SentenceTransformer",
    "SimilarityFunction",
    "SparseEncoder",
    "models",
    "quantize_embeddings",
    "util",
]

"""The classes of sentence-transformers, with its methods and keywords, without torch.

A script needs one other import: ``from fastattn.integrations.sentence_transformers import
SentenceTransformer, CrossEncoder, SparseEncoder, util``. What a keyword asks for is done,
or refused by name where it would change numbers, or has no effect where it cannot.
"""

import sys
from typing import Never

from .. import THEIRS
from . import left_out, models, util
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

# Where older scripts find what is in util.
sys.modules |= dict.fromkeys(
    (f"{__name__}.quantization", f"{__name__}.similarity_functions"), util
)
# There, modules of a kind of model are packages, in which others are looked for.
_kinds = "sentence_transformer", "cross_encoder", "sparse_encoder"
for _kind in _kinds:
    sys.modules[f"{__name__}.{_kind}"].__path__ = []
sys.meta_path.append(
    left_out.Finder(
        {
            package
            for name in (__name__, THEIRS)
            for package in (name, *(f"{name}.{kind}" for kind in _kinds))
        }
    )
)


def __getattr__(name: str) -> Never:
    """Say why something of sentence-transformers cannot be imported."""
    if name in left_out.MODULES or name in left_out.NAMES:
        raise left_out.refuse_import(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""A corpus of any size: into shards of vectors, and what is done with them."""

from .encoding import encode_corpus
from .vectors import Vectors, open_vectors, quantize_vectors

__all__ = ["Vectors", "encode_corpus", "open_vectors", "quantize_vectors"]

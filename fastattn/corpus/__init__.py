"""A corpus of any size: into shards of vectors, and what is done with them."""

from .encoding import encode_corpus
from .shards import folder_line, read_manifest
from .sources import Fields, has_records, open_source
from .texts import read_texts
from .vectors import Vectors, open_vectors, quantize_vectors

__all__ = [
    "Fields",
    "Vectors",
    "encode_corpus",
    "folder_line",
    "has_records",
    "open_source",
    "open_vectors",
    "quantize_vectors",
    "read_manifest",
    "read_texts",
]

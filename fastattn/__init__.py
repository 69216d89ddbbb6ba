"""Transformer encoders on CPUs, at the speed the hardware allows, from NumPy arrays.

The functions are here, the layers in :mod:`fastattn.nn`, pictures in
:mod:`fastattn.plot`. :func:`fastattn.load` reads a model folder: a :class:`TextEncoder`
gives vectors of texts, a :class:`CrossEncoder` scores pairs of texts, or texts, and a
:class:`SparseEncoder` gives weights to words. Nothing optional is imported before it is
used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    from ._threads import get_num_threads, num_threads, set_num_threads
except ModuleNotFoundError as error:
    if error.name != f"{__name__}._threads":
        raise
    raise ImportError(
        f"{__path__[0]} is fastattn's source, whose C is not compiled, and Python finds it "
        "before what is installed: start it in another folder, or `pip install -e .` here"
    ) from None
from .config import show_config
from .errors import ModelFormatError, TruncationWarning
from .functional import gelu, layer_norm, linear, matmul, rms_norm, softmax
from .positions import (
    alibi_slopes,
    apply_rotary,
    rotary_positions,
    sinusoidal_positions,
)
from .scaled_dot import attention, attention_varlen, attention_weights
from .search import top_k

if TYPE_CHECKING:
    from . import nn, plot
    from .comparison import compare_compute
    from .corpus import encode_corpus, open_vectors, quantize_vectors
    from .cross_encoder import CrossEncoder
    from .integrations.sentence_transformers import SentenceTransformer
    from .loading import load
    from .models.download import download
    from .page import explain
    from .sparse_encoder import SparseEncoder
    from .sparse_vectors import SparseVectors
    from .text import TextEncoder
    from .tracing import Trace, trace

__version__ = "0.1.0"

__all__ = [
    "CrossEncoder",
    "ModelFormatError",
    "SentenceTransformer",
    "SparseEncoder",
    "SparseVectors",
    "TextEncoder",
    "Trace",
    "TruncationWarning",
    "alibi_slopes",
    "apply_rotary",
    "attention",
    "attention_varlen",
    "attention_weights",
    "compare_compute",
    "download",
    "encode_corpus",
    "explain",
    "gelu",
    "get_num_threads",
    "layer_norm",
    "linear",
    "load",
    "matmul",
    "nn",
    "num_threads",
    "open_vectors",
    "plot",
    "quantize_vectors",
    "rms_norm",
    "rotary_positions",
    "set_num_threads",
    "show_config",
    "sinusoidal_positions",
    "softmax",
    "top_k",
    "trace",
]

# The module of what needs layers; nothing has the name of its module, which would hide it.
LAZY = {
    "CrossEncoder": "cross_encoder",
    "SentenceTransformer": "integrations.sentence_transformers",
    "SparseEncoder": "sparse_encoder",
    "SparseVectors": "sparse_vectors",
    "TextEncoder": "text",
    "Trace": "tracing",
    "compare_compute": "comparison",
    "download": "models.download",
    "encode_corpus": "corpus",
    "explain": "page",
    "load": "loading",
    "open_vectors": "corpus",
    "quantize_vectors": "corpus",
    "trace": "tracing",
}


def __getattr__(name: str) -> Any:
    """Import layers, pictures and models when they are first asked for."""
    if name in ("nn", "plot"):
        return import_module(f".{name}", __name__)
    if name in LAZY:
        return getattr(import_module(f".{LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, the lazy ones included."""
    return sorted({*globals(), *__all__})

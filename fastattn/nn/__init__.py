"""Layers of transformer encoders.

A layer is built with its sizes, takes weights from a PyTorch state dict, and is called
with a padded batch. Inside, a batch is packed tokens from the first layer to the last
(:mod:`fastattn.padding`). Layers hold weights and nothing that changes a
result, so one layer may be called from many threads at once; and they pickle.
"""

from .attention import MultiHeadAttention
from .cache import KeyValueCache
from .embedding import Embedding, PositionalEncoding
from .encoder import Encoder, EncoderLayer
from .feed_forward import FeedForward
from .layer import Layer
from .linear import Linear
from .norm import LayerNorm, RMSNorm

__all__ = [
    "Embedding",
    "Encoder",
    "EncoderLayer",
    "FeedForward",
    "KeyValueCache",
    "Layer",
    "LayerNorm",
    "Linear",
    "MultiHeadAttention",
    "PositionalEncoding",
    "RMSNorm",
]

"""Gemma 3 as an embedder: a decoder with windows that may see both sides.

Schechter Vera et al. 2025, "EmbeddingGemma: Powerful and Lightweight Text
Representations", section 2; Gemma Team 2025, "Gemma 3 Technical Report", section 2.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

from ..checkpoint import Settings
from .attention import FULL, SLIDING, read_kinds, read_rotary_of
from .family import (
    ACTIVATIONS,
    EPS_RANGE,
    HIGHEST,
    Architecture,
    Family,
    read_sizes,
    require,
)
from .llama_like import BOTH_SIDES, CAUSAL, SIZES, Decoder, read_heads, score

NORMS = {
    "norm1.": "input_layernorm",
    "inner_norm1.": "post_attention_layernorm",
    "norm2.": "pre_feedforward_layernorm",
    "inner_norm2.": "post_feedforward_layernorm",
}

# Kind of layers -> what the base of their positions was once called, and its default.
BASES = {FULL: ("rope_theta", 1e6), SLIDING: ("rope_local_base_freq", 10000.0)}

# Fields that change numbers, and the one value of each that is read.
FIXED = {"attn_logit_softcapping": None, "is_causal": True}


def read(settings: Settings) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    require(settings, FIXED)
    sizes = read_sizes(settings, SIZES)
    heads = read_heads(settings, sizes, 256, 4)
    activation = settings.get_choice("hidden_activation", ACTIVATIONS, "gelu_pytorch_tanh")
    decoder = Decoder(
        sizes=sizes,
        heads=heads,
        activation=ACTIVATIONS[activation],
        eps=settings.get_float("rms_norm_eps", 1e-6, *EPS_RANGE),
        attention_bias=settings.get("attention_bias", bool, False),
        norms=NORMS,
        norm_offset=1.0,
    )
    return decoder.architecture(
        _attention(settings, sizes["num_layers"], heads["head_dim"]),
        embedding_scale=math.sqrt(sizes["hidden_size"]),
    )


def _attention(settings: Settings, count: int, dim: int) -> Iterator[dict[str, Any]]:
    """Read how far each layer sees, and how its heads are turned and scaled."""
    scalar = settings.get_float("query_pre_attn_scalar", 256.0)
    period = settings.get_size("sliding_window_pattern", HIGHEST["num_layers"], 6)
    reach = settings.get_size("sliding_window", HIGHEST["max_positions"], 4096)
    windows = {FULL: CAUSAL, SLIDING: (reach - 1, 0)}
    if settings.has("use_bidirectional_attention") and settings.get(
        "use_bidirectional_attention", bool
    ):
        windows = {FULL: BOTH_SIDES, SLIDING: (reach // 2, reach // 2)}
    for kind in read_kinds(settings, count, lambda i: (i + 1) % period > 0):
        yield {
            "scale": scalar**-0.5,
            "window": windows[kind],
            "rotary": read_rotary_of(kind, settings, dim, *BASES[kind]),
        }


FAMILY = Family(
    read=read,
    prefixes=("model.",),
    # Heads.
    unused=("lm_head.", "score."),
    classifier=partial(score, padding=0),
    tokenizer_class="GemmaTokenizer",
)

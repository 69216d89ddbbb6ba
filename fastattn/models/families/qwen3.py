"""Qwen3 as an embedder: a decoder whose last token has seen all.

Zhang et al. 2025, "Qwen3 Embedding: Advancing Text Embedding and Reranking Through
Foundation Models", section 2; Yang et al. 2025, "Qwen3 Technical Report", section 2.
"""

from collections.abc import Iterator

from ...scores import Window
from ..checkpoint import Settings
from .attention import FULL, SLIDING, read_kinds, read_rotary
from .family import ACTIVATIONS, EPS_RANGE, HIGHEST, Architecture, Family, read_sizes
from .llama_like import BOTH_SIDES, CAUSAL, SIZES, Decoder, read_heads, score


def read(settings: Settings) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    sizes = read_sizes(settings, SIZES)
    heads = read_heads(settings, sizes, 128, 32)
    decoder = Decoder(
        sizes=sizes,
        heads=heads,
        activation=ACTIVATIONS[settings.get_choice("hidden_act", ACTIVATIONS, "silu")],
        eps=settings.get_float("rms_norm_eps", 1e-6, *EPS_RANGE),
        attention_bias=settings.get("attention_bias", bool, False),
    )
    rotary = read_rotary(settings, heads["head_dim"], 10000.0)
    windows = _read_windows(settings, sizes["num_layers"])
    return decoder.architecture({"rotary": rotary, "window": w} for w in windows)


def _read_windows(settings: Settings, count: int) -> Iterator[Window]:
    """Read how far each layer sees."""
    causal = settings.get("is_causal", bool, True)
    most = settings.get_size("max_window_layers", HIGHEST["num_layers"], 28)
    slides = settings.get("use_sliding_window", bool, False)
    kinds = read_kinds(settings, count, lambda i: slides and i >= most)
    if SLIDING in kinds and not slides:
        raise settings.error("use_sliding_window", f"must be true for {SLIDING}")
    reach = HIGHEST["max_positions"]
    if slides:
        reach = settings.get_size("sliding_window", reach, 4096)
    of_kind = {
        SLIDING: (reach - 1, 0) if causal else (reach, reach),
        FULL: CAUSAL if causal else BOTH_SIDES,
    }
    for kind in kinds:
        yield of_kind[kind]


FAMILY = Family(
    read=read,
    prefixes=("model.",),
    # Heads.
    unused=("lm_head.", "score."),
    classifier=score,
    tokenizer_class="Qwen2Tokenizer",
)

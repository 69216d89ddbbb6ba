"""ModernBERT: pre-norm layers with gates, most of which see a window.

Warner et al. 2024, "Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder",
section 2.1.
"""

from collections.abc import Callable, Iterator
from functools import partial

from ...nn import FeedForward, LayerNorm, MultiHeadAttention
from ..checkpoint import Settings
from .attention import FULL, SLIDING, read_kinds, read_rotary_of
from .family import (
    ACTIVATIONS,
    AS_IT_IS,
    EPS_RANGE,
    HIGHEST,
    Architecture,
    Classifier,
    Family,
    HeadLayer,
    SameRows,
    WordHead,
    affine,
    build_layer,
    head_dim_of,
    inside,
    read_sizes,
)

# The fields of config.json that are sizes, with their defaults.
SIZES = {
    "vocab_size": ("vocab_size", 50368),
    "hidden_size": ("hidden_size", 768),
    "num_layers": ("num_hidden_layers", 22),
    "num_heads": ("num_attention_heads", 12),
    "intermediate_size": ("intermediate_size", 1152),
    "max_positions": ("max_position_embeddings", 8192),
}

# Kind of layers -> what the base of their positions was once called, and its default.
BASES = {FULL: ("global_rope_theta", 160000.0), SLIDING: ("local_rope_theta", 10000.0)}


def read(settings: Settings) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    sizes = read_sizes(settings, SIZES)
    biases = {
        part: settings.get(f"{part}_bias", bool, False)
        for part in ("attention", "mlp", "norm")
    }
    eps = settings.get_float("norm_eps", 1e-5, *EPS_RANGE)
    norm = partial(LayerNorm, eps=eps, bias=biases["norm"])
    activation = settings.get_choice("hidden_activation", ACTIVATIONS, "gelu")
    feed_forward = partial(
        FeedForward,
        sizes["hidden_size"],
        sizes["intermediate_size"],
        ACTIVATIONS[activation],
        gated=True,
        bias=biases["mlp"],
    )
    return Architecture(
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["hidden_size"],
        max_positions=sizes["max_positions"],
        embedding_norm=norm,
        layers=[
            # What the first layer gets is normalised already.
            partial(
                build_layer, attention, feed_forward, before=(norm if i else None, norm)
            )
            for i, attention in enumerate(_attentions(settings, sizes, biases["attention"]))
        ],
        final_norm=norm,
        weights=list(_weights(sizes, biases)),
    )


def _attentions(
    settings: Settings, sizes: dict[str, int], bias: bool
) -> Iterator[Callable[..., MultiHeadAttention]]:
    """Say what each layer attends to, and how positions turn its heads."""
    dim = head_dim_of(settings, sizes, SIZES)
    period = settings.get_size("global_attn_every_n_layers", HIGHEST["num_layers"], 3)
    reach = settings.get_size("local_attention", HIGHEST["max_positions"], 128) // 2
    for kind in read_kinds(settings, sizes["num_layers"], lambda i: i % period > 0):
        yield partial(
            MultiHeadAttention,
            sizes["hidden_size"],
            sizes["num_heads"],
            bias=bias,
            window=(reach, reach) if kind == SLIDING else None,
            rotary=read_rotary_of(kind, settings, dim, *BASES[kind]),
        )


def _weights(sizes: dict[str, int], biases: dict[str, bool]) -> Iterator[SameRows]:
    """Say where all weights stand."""
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    table = {"embeddings.tok_embeddings": (sizes["vocab_size"], hidden)}
    yield from affine(["word_embeddings."], table, bias=False)
    parts: list[tuple[str, tuple[str, ...], str, tuple[int, ...]]] = [
        ("attention", ("self_attn.in_proj_",), "attn.Wqkv", (3 * hidden, hidden)),
        ("attention", ("self_attn.out_proj.",), "attn.Wo", (hidden, hidden)),
        ("norm", ("norm1.",), "attn_norm", (hidden,)),
        # What is activated comes first.
        ("mlp", ("gate_proj.", "up_proj."), "mlp.Wi", (2 * inner, hidden)),
        ("mlp", ("down_proj.",), "mlp.Wo", (hidden, inner)),
        ("norm", ("norm2.",), "mlp_norm", (hidden,)),
    ]
    for i in range(sizes["num_layers"]):
        for part, keys, name, shape in parts:
            if i or name != "attn_norm":
                places = affine(keys, {name: shape}, biases[part])
                yield from inside(f"encoder.layers.{i}.", f"layers.{i}.", places)
    for key, name in (
        ("embedding_norm.", "embeddings.norm"),
        ("encoder.norm.", "final_norm"),
    ):
        yield from affine([key], {name: (hidden,)}, biases["norm"])


def head(settings: Settings) -> HeadLayer:
    """Describe what classifiers and what predicts words begin with."""
    activation = settings.get_choice("classifier_activation", ACTIVATIONS, "gelu")
    return HeadLayer(
        dense="head.dense",
        bias=settings.get("classifier_bias", bool, False),
        activation=ACTIVATIONS[activation],
        norm="head.norm",
        norm_bias=settings.get("norm_bias", bool, False),
        eps=settings.get_float("norm_eps", 1e-5, *EPS_RANGE),
    )


def classifier(settings: Settings) -> Classifier:
    """Describe the head behind the first token, or behind the mean of all."""
    return Classifier(
        layers=(head(settings), HeadLayer(dense="classifier")),
        pooling=settings.get_choice("classifier_pooling", ("cls", "mean"), "cls"),
    )


def words(settings: Settings) -> WordHead:
    """Describe what predicts masked words."""
    has_bias = settings.get("decoder_bias", bool, True)
    return WordHead(transform=head(settings), decoder="decoder", has_bias=has_bias)


FAMILY = Family(
    read=read,
    prefixes=("model.",),
    # What predicts words, or classifies, on top.
    unused=("head.", "decoder.", "classifier."),
    words=words,
    classifier=classifier,
    tokenizer_class=AS_IT_IS,
)

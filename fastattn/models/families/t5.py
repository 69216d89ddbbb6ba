"""The encoder of T5: pre-norm layers whose scores have a learned bias by distance.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer", section 2.1.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from ...nn import FeedForward, MultiHeadAttention, RMSNorm
from ...nn.relative import RelativeBias
from ..checkpoint import Settings
from .family import (
    ACTIVATIONS,
    EPS_RANGE,
    HIGHEST,
    Architecture,
    Family,
    SameRows,
    Shape,
    affine,
    build_layer,
    inside,
    read_sizes,
    require,
)

# The fields of config.json that are sizes, with their defaults.
SIZES = {
    "vocab_size": ("vocab_size", 32128),
    "hidden_size": ("d_model", 512),
    "num_layers": ("num_layers", 6),
    "num_heads": ("num_heads", 8),
    "intermediate_size": ("d_ff", 2048),
}

# The forms of the feed-forward network -> its activation. One is not what it is called.
FORMS = {
    **ACTIVATIONS,
    **{f"gated-{name}": function for name, function in ACTIVATIONS.items()},
    "gated-gelu": "gelu_tanh",
}

# The highest that are read.
HIGHEST_DISTANCE = 2**12
HIGHEST_BUCKETS = 2**10


def read(settings: Settings, words: str = "shared") -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    form = settings.get_choice("feed_forward_proj", FORMS, "relu")
    gated = form.startswith("gated-")
    # What older versions wrote besides.
    same = [name for name, function in ACTIVATIONS.items() if function == FORMS[form]]
    settings.get_choice("dense_act_fn", same, same[0])
    require(settings, {"is_gated_act": gated, "is_decoder": False})
    sizes = read_sizes(settings, SIZES)
    head_dim = settings.get_size("d_kv", HIGHEST["hidden_size"], 64)
    bias = _read_bias(settings, sizes["num_heads"])
    norm = partial(RMSNorm, eps=settings.get_float("layer_norm_epsilon", 1e-6, *EPS_RANGE))
    self_attn = partial(
        MultiHeadAttention,
        sizes["hidden_size"],
        sizes["num_heads"],
        head_dim=head_dim,
        bias=False,
        scale=1.0,
        relative_bias=bias,
    )
    feed_forward = partial(
        FeedForward,
        sizes["hidden_size"],
        sizes["intermediate_size"],
        FORMS[form],
        gated=gated,
        bias=False,
    )
    layer = partial(build_layer, self_attn, feed_forward, before=(norm, norm))
    return Architecture(
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["hidden_size"],
        # Distances are not limited.
        max_positions=HIGHEST["max_positions"],
        relative=bias,
        layers=[layer] * sizes["num_layers"],
        final_norm=norm,
        weights=list(_weights(sizes, words, head_dim, gated, bias)),
    )


def _read_bias(settings: Settings, heads: int) -> RelativeBias:
    """Read into how many buckets distances fall, and up to which."""
    count = settings.get_size("relative_attention_num_buckets", HIGHEST_BUCKETS, 32)
    if count < 4:
        field = "relative_attention_num_buckets"
        raise settings.wrong(field, f"from 4 to {HIGHEST_BUCKETS}", count)
    field = "relative_attention_max_distance"
    farthest = settings.get_size(field, HIGHEST_DISTANCE, 128)
    if farthest <= count // 4:
        raise settings.wrong(field, f"more than {count // 4}", farthest)
    return RelativeBias(heads, count, farthest)


def _weights(
    sizes: dict[str, int], words: str, head_dim: int, gated: bool, bias: RelativeBias
) -> Iterator[SameRows]:
    """Say where all weights stand."""
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    width = sizes["num_heads"] * head_dim
    table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"
    up, down = (inner, hidden), (hidden, inner)
    dense: dict[str, dict[str, Shape]] = {
        "linear1.": {"wi": up},
        "linear2.": {"wo": down},
    }
    if gated:
        dense = {
            "gate_proj.": {"wi_0": up},
            "up_proj.": {"wi_1": up},
            "down_proj.": {"wo": down},
        }
    yield from affine(["word_embeddings."], {words: (sizes["vocab_size"], hidden)}, False)
    shape = bias.num_buckets, bias.num_heads
    yield from affine(["relative."], {table: shape}, bias=False)
    yield from affine(["encoder.norm."], {"encoder.final_layer_norm": (hidden,)}, False)
    attention: dict[str, dict[str, Shape]] = {
        "self_attn.in_proj_": dict.fromkeys(("q", "k", "v"), (width, hidden)),
        "self_attn.out_proj.": {"o": (hidden, width)},
    }
    for i in range(sizes["num_layers"]):
        ours, block = f"encoder.layers.{i}.", f"encoder.block.{i}.layer."
        for part, parts in (("0.SelfAttention", attention), ("1.DenseReluDense", dense)):
            for key, tensors in parts.items():
                places = affine([key], tensors, bias=False)
                yield from inside(ours, f"{block}{part}.", places)
        for key, name in (("norm1.", "0.layer_norm"), ("norm2.", "1.layer_norm")):
            places = affine([key], {name: (hidden,)}, bias=False)
            yield from inside(ours, block, places)


WORDS = "encoder.embed_tokens"

SHARED = Family(
    read=read,
    # The shared words again, and what follows the encoder.
    unused=(f"{WORDS}.", "decoder.", "lm_head.", "classification_head."),
    tokenizer_class="T5Tokenizer",
)

# Files that hold what is shared under its other name alone.
RENAMED = replace(SHARED, read=partial(read, words=WORDS), unused=SHARED.unused[1:])

FAMILY = replace(SHARED, variants={"shared.weight": SHARED, f"{WORDS}.weight": RENAMED})

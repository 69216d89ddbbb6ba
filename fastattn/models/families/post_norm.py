"""What BERTs without a table of positions share: post-norm layers of some form.

Their files differ in names, in biases, in what attention knows of positions, and in
whether the feed-forward network has a gate.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from ...nn import FeedForward, LayerNorm, MultiHeadAttention
from .family import Architecture, SameRows, Shape, affine, build_layer, inside

# Keys of parts of a layer -> the tensors of whose rows they are made, as SameRows has it.
Parts: TypeAlias = dict[tuple[str, ...], tuple[str, ...]]

NATIVE_ATTENTION: Parts = {
    ("self_attn.in_proj_",): ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.out_proj.",): ("self_attn.o_proj",),
    ("norm1.",): ("post_attention_layernorm",),
    ("norm2.",): ("post_mlp_layernorm",),
}
NATIVE_GATES: Parts = {
    ("gate_proj.",): ("mlp.gate_proj",),
    ("up_proj.",): ("mlp.up_proj",),
    ("down_proj.",): ("mlp.down_proj",),
}

# How only the names end that transformers gives them in memory.
NATIVE = "self_attn.q_proj.weight"


@dataclass(frozen=True, kw_only=True)
class Names:
    """What tensors are called, without their last word; unless given, as in memory.

    Attributes
    ----------
    parts : dict
        Those of a layer.
    layer : str
        What stands in front of them, with the number of the layer.
    embedding_norm : str
        The norm behind the embeddings.
    """

    parts: Parts
    layer: str = "layers.{}."
    embedding_norm: str = "embeddings.LayerNorm"


def post_norm(
    sizes: Mapping[str, int],
    names: Names,
    *,
    activation: str,
    gated: bool,
    eps: float,
    unbiased: Collection[str] = (),
    **attention: Any,
) -> Architecture:
    """Describe a model.

    Parameters
    ----------
    sizes : dict of str to int
        As :func:`read_sizes` gives them.
    names : Names
        The names of tensors.
    activation : str
        One of fastattn's.
    gated : bool
        Whether it is that of a gate.
    eps : float
        What the norms add to the variance.
    unbiased : collection of str
        The keys of the parts that have no bias.
    **attention : optional
        What else :class:`fastattn.nn.MultiHeadAttention` takes.
    """
    hidden = sizes["hidden_size"]
    norm = partial(LayerNorm, eps=eps)
    self_attn = partial(
        MultiHeadAttention,
        hidden,
        sizes["num_heads"],
        bias="self_attn.in_proj_" not in unbiased,
        out_bias="self_attn.out_proj." not in unbiased,
        **attention,
    )
    first, last = ("gate_proj.", "down_proj.") if gated else ("linear1.", "linear2.")
    feed_forward = partial(
        FeedForward,
        hidden,
        sizes["intermediate_size"],
        activation,
        gated=gated,
        bias=first not in unbiased,
        out_bias=last not in unbiased,
    )
    normed = ("inner_norm1.",) in names.parts
    layer = partial(
        build_layer,
        self_attn,
        feed_forward,
        qk_norm=partial(norm, hidden) if ("self_attn.q_norm.",) in names.parts else None,
        inside=(norm if normed else None, None),
        after=(norm, norm),
        # Who normalises what attention gives, adds its input first.
        twice=(normed, False),
    )
    return Architecture(
        vocab_size=sizes["vocab_size"],
        hidden_size=hidden,
        max_positions=sizes["max_positions"],
        num_token_types=sizes.get("num_token_types", 0),
        embedding_norm=norm,
        layers=[layer] * sizes["num_layers"],
        weights=list(_weights(sizes, names, unbiased)),
    )


def _weights(
    sizes: Mapping[str, int], names: Names, unbiased: Collection[str]
) -> Iterator[SameRows]:
    """Say where all weights stand."""
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    for kind, rows in ("word", "vocab_size"), ("token_type", "num_token_types"):
        if rows in sizes:
            table = {f"embeddings.{kind}_embeddings": (sizes[rows], hidden)}
            yield from affine([f"{kind}_embeddings."], table, bias=False)
    yield from affine(["embedding_norm."], {names.embedding_norm: (hidden,)})
    shapes: dict[str, Shape] = {
        "self_attn.in_proj_": (3 * hidden, hidden),
        "self_attn.out_proj.": (hidden, hidden),
        "self_attn.q_norm.": (hidden,),
        "self_attn.k_norm.": (hidden,),
        "inner_norm1.": (hidden,),
        "norm1.": (hidden,),
        "norm2.": (hidden,),
        "linear1.": (inner, hidden),
        "gate_proj.": (inner, hidden),
        "up_proj.": (inner, hidden),
        "linear2.": (hidden, inner),
        "down_proj.": (hidden, inner),
    }
    for keys, tensors in names.parts.items():
        shape = shapes[keys[0]]
        share = shape[0] * len(keys) // len(tensors), *shape[1:]
        places = list(affine(keys, dict.fromkeys(tensors, share), keys[0] not in unbiased))
        for i in range(sizes["num_layers"]):
            yield from inside(f"encoder.layers.{i}.", names.layer.format(i), places)

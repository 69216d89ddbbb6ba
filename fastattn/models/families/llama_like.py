"""What decoders share that serve as encoders: pre-norm layers with rotary positions.

Heads may share keys and values, and be normalised before they are turned.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ...nn import EncoderLayer, FeedForward, MultiHeadAttention, RMSNorm
from ...scores import Window
from ..checkpoint import Settings
from .family import (
    HIGHEST,
    Architecture,
    Classifier,
    HeadLayer,
    SameRows,
    Shape,
    affine,
    build_layer,
    inside,
)

# The fields of config.json that are sizes.
SIZES: Mapping[str, tuple[Any, ...]] = {
    "vocab_size": ("vocab_size",),
    "hidden_size": ("hidden_size",),
    "num_layers": ("num_hidden_layers",),
    "num_heads": ("num_attention_heads",),
    "intermediate_size": ("intermediate_size",),
    "max_positions": ("max_position_embeddings",),
}

# The norms of a layer, by their keys.
NORMS = {"norm1.": "input_layernorm", "norm2.": "post_attention_layernorm"}

# How far a query sees.
CAUSAL: Window = (None, 0)
BOTH_SIDES: Window = (None, None)


def read_heads(
    settings: Settings, sizes: Mapping[str, int], head_dim: int, num_kv_heads: int
) -> dict[str, Any]:
    """Read of which heads a layer is; the last two are where config.json says nothing."""
    if settings.has("num_key_value_heads"):
        num_kv_heads = settings.get_size("num_key_value_heads", HIGHEST["num_heads"])
    if sizes["num_heads"] % num_kv_heads:
        divisor = f"a divisor of num_attention_heads {sizes['num_heads']}"
        raise settings.wrong("num_key_value_heads", divisor, num_kv_heads)
    if settings.has("head_dim"):
        head_dim = settings.get_size("head_dim", HIGHEST["hidden_size"])
    return {
        "num_heads": sizes["num_heads"],
        "num_kv_heads": num_kv_heads,
        "head_dim": head_dim,
    }


def score(settings: Settings, padding: int | None = None) -> Classifier:
    """Describe the dense layer behind the last token that is no padding by its id.

    `padding` is that id where config.json does not say it.
    """
    if settings.has("pad_token_id"):
        padding = settings.get("pad_token_id", int)
    layer = HeadLayer(dense="score", bias=False)
    return Classifier(layers=(layer,), pooling="lasttoken", padding=padding)


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """What the layers are made of, and what their tensors are called.

    Attributes
    ----------
    sizes, heads : dict of str to int
        As :func:`read_sizes` and :func:`read_heads` give them.
    activation : str
        That of the gate, one of fastattn's.
    eps : float
        What norms add to the mean square.
    attention_bias, mlp_bias : bool
        Whether dense layers have biases.
    norms : dict of str to str
        Keys of the norms of a layer -> their tensors.
    qk_norm : bool
        Whether queries and keys are normalised, head by head.
    norm_offset : float
        What the weights of norms are more than what is stored.
    """

    sizes: Mapping[str, int]
    heads: Mapping[str, Any]
    activation: str
    eps: float
    attention_bias: bool = False
    mlp_bias: bool = False
    norms: Mapping[str, str] = field(default_factory=lambda: NORMS)
    qk_norm: bool = True
    norm_offset: float = 0.0

    def architecture(
        self, attention: Iterable[Mapping[str, Any]], **more: Any
    ) -> Architecture:
        """Describe the model, by what attention in each layer takes, and what else."""
        return Architecture(
            vocab_size=self.sizes["vocab_size"],
            hidden_size=self.sizes["hidden_size"],
            max_positions=self.sizes["max_positions"],
            layers=[self._layer(settings) for settings in attention],
            final_norm=partial(RMSNorm, eps=self.eps),
            weights=list(self._weights()),
            **more,
        )

    def _layer(self, attention: Mapping[str, Any]) -> Callable[[], EncoderLayer]:
        hidden, norm = self.sizes["hidden_size"], partial(RMSNorm, eps=self.eps)
        self_attn = partial(
            MultiHeadAttention,
            hidden,
            bias=self.attention_bias,
            **self.heads,
            **attention,
        )
        feed_forward = partial(
            FeedForward,
            hidden,
            self.sizes["intermediate_size"],
            self.activation,
            gated=True,
            bias=self.mlp_bias,
        )
        inner = norm if "inner_norm1." in self.norms else None
        return partial(
            build_layer,
            self_attn,
            feed_forward,
            qk_norm=partial(norm, self.heads["head_dim"]) if self.qk_norm else None,
            before=(norm, norm),
            inside=(inner, inner),
        )

    def _weights(self) -> Iterator[SameRows]:
        """Say where all weights stand."""
        hidden = self.sizes["hidden_size"]
        table = {"embed_tokens": (self.sizes["vocab_size"], hidden)}
        yield from affine(["word_embeddings."], table, bias=False)
        yield from self._norm("encoder.norm.", "norm", hidden)
        places = list(self._layer_weights())
        for i in range(self.sizes["num_layers"]):
            yield from inside(f"encoder.layers.{i}.", f"layers.{i}.", places)

    def _layer_weights(self) -> Iterator[SameRows]:
        hidden, inner = self.sizes["hidden_size"], self.sizes["intermediate_size"]
        count, of_keys, dim = (
            self.heads[name] for name in ("num_heads", "num_kv_heads", "head_dim")
        )
        attention: dict[str, dict[str, Shape]] = {
            "self_attn.in_proj_": {
                "self_attn.q_proj": (count * dim, hidden),
                "self_attn.k_proj": (of_keys * dim, hidden),
                "self_attn.v_proj": (of_keys * dim, hidden),
            },
            "self_attn.out_proj.": {"self_attn.o_proj": (hidden, count * dim)},
        }
        dense: dict[str, dict[str, Shape]] = {
            "gate_proj.": {"mlp.gate_proj": (inner, hidden)},
            "up_proj.": {"mlp.up_proj": (inner, hidden)},
            "down_proj.": {"mlp.down_proj": (hidden, inner)},
        }
        for parts, bias in ((attention, self.attention_bias), (dense, self.mlp_bias)):
            for key, tensors in parts.items():
                yield from affine([key], tensors, bias)
        for key, name in self.norms.items():
            yield from self._norm(key, name, hidden)
        if self.qk_norm:
            for name in ("self_attn.q_norm", "self_attn.k_norm"):
                yield from self._norm(f"{name}.", name, dim)

    def _norm(self, key: str, name: str, size: int) -> Iterator[SameRows]:
        for place in affine([key], {name: (size,)}, bias=False):
            yield replace(place, offset=self.norm_offset)

"""What BERT and many after it share: tables, a norm of their sum, and post-norm layers.

Their files differ in names, in a table or two, and in how positions are counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...nn import EncoderLayer, LayerNorm
from ..checkpoint import Settings
from .family import (
    ACTIVATIONS,
    EPS_RANGE,
    Architecture,
    Indices,
    SameRows,
    affine,
    head_dim_of,
    read_sizes,
)

# The fields of config.json that are sizes, with the defaults of transformers.
SIZES: Mapping[str, tuple[Any, ...]] = {
    "vocab_size": ("vocab_size",),
    "hidden_size": ("hidden_size",),
    "num_layers": ("num_hidden_layers",),
    "num_heads": ("num_attention_heads",),
    "intermediate_size": ("intermediate_size",),
    "max_positions": ("max_position_embeddings",),
    "num_token_types": ("type_vocab_size", 2),
}

# The tables, and how many rows they have.
TABLES = {
    "word": "vocab_size",
    "position": "max_positions",
    "token_type": "num_token_types",
}

# How the names of weights began and ended once.
SPELLINGS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


@dataclass(frozen=True, kw_only=True)
class LayerNames:
    """What the tensors of a layer are called, without their last word.

    Attributes
    ----------
    prefix : str
        Where the number of the layer stands in it, in front of all others.
    projections : sequence of str
        Of queries, keys and values: three matrices that are the rows of one here.
    output, up, down : str
        The dense layers behind the heads, and of the feed-forward network.
    norms : pair of str
        Those after attention and after the feed-forward network.
    """

    prefix: str = "encoder.layer.{}."
    projections: Sequence[str] = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    )
    output: str = "attention.output.dense"
    up: str = "intermediate.dense"
    down: str = "output.dense"
    norms: tuple[str, str] = "attention.output.LayerNorm", "output.LayerNorm"

    def weights(self, layer: int, hidden: int, inner: int) -> Iterator[SameRows]:
        """Say where the weights of a layer stand."""
        parts: dict[str, dict[str, tuple[int, ...]]] = {
            "self_attn.in_proj_": dict.fromkeys(self.projections, (hidden, hidden)),
            "self_attn.out_proj.": {self.output: (hidden, hidden)},
            "norm1.": {self.norms[0]: (hidden,)},
            "linear1.": {self.up: (inner, hidden)},
            "linear2.": {self.down: (hidden, inner)},
            "norm2.": {self.norms[1]: (hidden,)},
        }
        prefix = self.prefix.format(layer)
        for part, tensors in parts.items():
            yield from affine(
                [f"encoder.layers.{layer}.{part}"],
                {f"{prefix}{name}": shape for name, shape in tensors.items()},
            )


def read_bert_like(
    settings: Settings,
    *,
    sizes: Mapping[str, tuple[Any, ...]] = SIZES,
    names: LayerNames = LayerNames(),
    activation: str = "hidden_act",
    eps: float | None = None,
) -> Architecture:
    """Read config.json; what transformers has a default for may be missing.

    Parameters
    ----------
    settings : Settings
        The config.json.
    sizes : dict of str to tuple
        Its fields that are sizes, as for :func:`read_sizes`. Without one for the number
        of token types there is no table of them.
    names : LayerNames
        The names of tensors.
    activation : str
        The field that names the activation.
    eps : float, optional
        What the norms add to the variance, where config.json does not say it.
    """
    settings.get_choice("position_embedding_type", ["absolute"], "absolute")
    if settings.get("is_decoder", bool, False):
        raise settings.error("is_decoder", "must be false: this is an encoder")
    read = read_sizes(settings, sizes)
    hidden, inner = read["hidden_size"], read["intermediate_size"]
    head_dim_of(settings, read, sizes)
    function = ACTIVATIONS[settings.get_choice(activation, ACTIVATIONS, "gelu")]
    if eps is None:
        eps = settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE)
    layer = partial(
        EncoderLayer,
        hidden,
        read["num_heads"],
        inner,
        activation=function,
        norm_eps=eps,
        init="zeros",
    )
    weights = [*_tables(read, hidden)]
    for i in range(read["num_layers"]):
        weights += names.weights(i, hidden, inner)
    return Architecture(
        vocab_size=read["vocab_size"],
        hidden_size=hidden,
        max_positions=read["max_positions"],
        num_token_types=read.get("num_token_types", 0),
        embedding_norm=partial(LayerNorm, eps=eps),
        layers=[layer] * read["num_layers"],
        weights=weights,
    )


def _tables(sizes: Mapping[str, int], width: int) -> Iterator[SameRows]:
    """Say where the weights of the embeddings stand."""
    for kind, rows in TABLES.items():
        if rows in sizes:
            table = {f"embeddings.{kind}_embeddings": (sizes[rows], width)}
            yield from affine([f"{kind}_embeddings."], table, bias=False)
    yield from affine(["embedding_norm."], {"embeddings.LayerNorm": (width,)})


def count_from_padding(architecture: Architecture, padding: int) -> Architecture:
    """Let positions be counted as RoBERTa does: those of tokens from `padding` + 1 on.

    A token that is padding by its id, wherever it stands, is at position `padding` and
    does not count.
    """
    return replace(
        architecture,
        max_positions=architecture.max_positions - padding - 1,
        position_ids=partial(counted_positions, padding),
    )


def counted_positions(
    padding: int, input_ids: Indices, positions: Indices, cu_seqlens: Indices
) -> Indices:
    """Count the tokens of each sequence that are not padding by their id."""
    counts = input_ids != padding
    counted = np.concatenate([[0], np.cumsum(counts)])
    before = np.repeat(counted[cu_seqlens[:-1]], np.diff(cu_seqlens))
    rows: Indices = (counted[1:] - before) * counts + padding
    return rows

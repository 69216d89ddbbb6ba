"""What BERT and many after it share: tables, a norm of their sum, and post-norm layers.

Their files differ in names, in a table or two, and in how positions are counted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
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
    projections : sequence of str
        Of queries, keys and values: three matrices that are the rows of one here.
    output, up, down : str
        The dense layers behind the heads, and of the feed-forward network.
    norms : pair of str
        Those after attention and after the feed-forward network.
    """

    projections: Sequence[str] = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    )
    output: str = "attention.output.dense"
    up: str = "intermediate.dense"
    down: str = "output.dense"
    norms: tuple[str, str] = "attention.output.LayerNorm", "output.LayerNorm"

    def weights(
        self, layer: int, prefix: str, hidden: int, inner: int
    ) -> Iterator[SameRows]:
        """Say where the weights of a layer stand, behind a prefix in the file."""
        parts: dict[str, dict[str, tuple[int, ...]]] = {
            "self_attn.in_proj_": dict.fromkeys(self.projections, (hidden, hidden)),
            "self_attn.out_proj.": {self.output: (hidden, hidden)},
            "norm1.": {self.norms[0]: (hidden,)},
            "linear1.": {self.up: (inner, hidden)},
            "linear2.": {self.down: (hidden, inner)},
            "norm2.": {self.norms[1]: (hidden,)},
        }
        for part, tensors in parts.items():
            yield from affine(
                [f"encoder.layers.{layer}.{part}"],
                {f"{prefix}{name}": shape for name, shape in tensors.items()},
            )


def numbered(prefix: str) -> Callable[[int], Sequence[str]]:
    """Let the tensors of each layer begin with a prefix that has its number."""
    return lambda count: [prefix.format(i) for i in range(count)]


LAYERS = numbered("encoder.layer.{}.")


def read_bert_like(
    settings: Settings,
    *,
    sizes: Mapping[str, tuple[Any, ...]] = SIZES,
    prefixes: Callable[[int], Sequence[str]] = LAYERS,
    names: LayerNames = LayerNames(),
    activation: tuple[str, str] = ("hidden_act", "gelu"),
    eps: float | None = None,
    embedding_size: int | None = None,
    projection: str = "",
    **attention: Any,
) -> Architecture:
    """Read config.json; what transformers has a default for may be missing.

    Parameters
    ----------
    settings : Settings
        The config.json.
    sizes : dict of str to tuple
        Its fields that are sizes, as for :func:`read_sizes`. Without one for the number
        of token types there is no table of them.
    prefixes : callable
        Number of layers -> how the tensors of each begin. Where some begin alike they are
        one layer.
    names : LayerNames
        How the tensors of a layer end.
    activation : pair of str
        The field that names the activation, and its default.
    eps : float, optional
        What the norms add to the variance, where config.json does not say it.
    embedding_size : int, optional
        As for :class:`Architecture`.
    projection : str, optional
        The tensors of the dense layer behind the embeddings.
    **attention : optional
        What else an encoder layer takes.
    """
    settings.get_choice("position_embedding_type", ["absolute"], "absolute")
    if settings.get("is_decoder", bool, False):
        raise settings.error("is_decoder", "must be false: this is an encoder")
    read = read_sizes(settings, sizes)
    hidden, inner = read["hidden_size"], read["intermediate_size"]
    head_dim_of(settings, read, sizes)
    field, default = activation
    function = ACTIVATIONS[settings.get_choice(field, ACTIVATIONS, default)]
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
        **attention,
    )
    places = prefixes(read["num_layers"])
    layers = {prefix: cache(layer) for prefix in places}
    weights = [*_tables(read, embedding_size or hidden)]
    if embedding_size is not None:
        matrix = {projection: (hidden, embedding_size)}
        weights += affine(["embedding_projection."], matrix)
    for prefix in layers:
        weights += names.weights(places.index(prefix), prefix, hidden, inner)
    return Architecture(
        vocab_size=read["vocab_size"],
        hidden_size=hidden,
        max_positions=read["max_positions"],
        num_token_types=read.get("num_token_types", 0),
        embedding_norm=partial(LayerNorm, eps=eps),
        embedding_size=embedding_size,
        layers=[layers[prefix] for prefix in places],
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

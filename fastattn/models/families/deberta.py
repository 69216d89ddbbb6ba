"""DeBERTa, versions 2 and 3: a BERT whose scores ask what tokens are to distances.

He, Liu, Gao and Chen 2021, "DeBERTa: Decoding-enhanced BERT with Disentangled Attention",
section 3.1; He, Gao and Chen 2023, "DeBERTaV3". Version 2 puts far distances in buckets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from ...nn import LayerNorm
from ...nn.relative import RelativePositions
from ..checkpoint import Settings
from .bert_like import SIZES, SPELLINGS
from .family import (
    ACTIVATIONS,
    EPS_RANGE,
    HIGHEST,
    Architecture,
    Classifier,
    Family,
    HeadLayer,
    Indices,
    SameRows,
    affine,
    head_dim_of,
    inside,
    read_sizes,
    require,
)
from .post_norm import Names, Parts, post_norm

LAYER = "encoder.layer.{}."

PARTS: Parts = {
    ("self_attn.in_proj_",): (
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
    ),
    ("self_attn.out_proj.",): ("attention.output.dense",),
    ("norm1.",): ("attention.output.LayerNorm",),
    ("linear1.",): ("intermediate.dense",),
    ("linear2.",): ("output.dense",),
    ("norm2.",): ("output.LayerNorm",),
}

# What a score can have besides: of the query and the place of the key, "content to
# position", and the other way round -> the projection of the places for that.
TERMS = {"c2p": "pos_key_proj", "p2c": "pos_query_proj"}


def read(settings: Settings) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    names = [name for name in SIZES if name != "num_token_types"]
    sizes = read_sizes(settings, {name: SIZES[name] for name in names})
    if settings.has("type_vocab_size") and settings.fields["type_vocab_size"] != 0:
        types = {"num_token_types": SIZES["num_token_types"]}
        sizes |= read_sizes(settings, types)
    head_dim = head_dim_of(settings, sizes, SIZES)
    _refuse_other_forms(settings, sizes["hidden_size"], head_dim)
    eps = settings.get_float("layer_norm_eps", 1e-7, *EPS_RANGE)
    terms = _read_terms(settings)
    relative = _read_relative(settings, sizes, terms, eps)
    architecture = post_norm(
        sizes,
        Names(parts=PARTS, layer=LAYER),
        activation=ACTIVATIONS[settings.get_choice("hidden_act", ACTIVATIONS, "gelu")],
        gated=False,
        eps=eps,
        # As many terms as there could be, whether there are vectors of distances or not.
        scale=(head_dim * (1 + len(terms))) ** -0.5,
        relative=relative,
    )
    weights = [*architecture.weights]
    if settings.get("position_biased_input", bool, True):
        shape = sizes["max_positions"], sizes["hidden_size"]
        weights += affine(
            ["position_embeddings."], {"embeddings.position_embeddings": shape}, bias=False
        )
    if relative is not None:
        weights += _relative_weights(relative, sizes)
    return replace(architecture, relative=relative, weights=weights)


def _refuse_other_forms(settings: Settings, hidden: int, head_dim: int) -> None:
    """Refuse what is computed in another way than here."""
    require(
        settings,
        {
            "attention_head_size": head_dim,
            "conv_kernel_size": 0,
            "embedding_size": hidden,
            "is_decoder": False,
            "position_embedding_type": "absolute",
            "z_steps": 0,
        },
    )


def _read_terms(settings: Settings) -> tuple[str, ...]:
    """Read what comes to a score."""
    value = settings.fields.get("pos_att_type") or []
    given = value.lower().split("|") if isinstance(value, str) else value
    if not isinstance(given, list):
        raise settings.wrong("pos_att_type", "a list of c2p and p2c", value)
    found = {str(term).strip() for term in given}
    if not found <= TERMS.keys():
        raise settings.wrong("pos_att_type", "of c2p and p2c", value)
    return tuple(term for term in TERMS if term in found)


def _read_relative(
    settings: Settings, sizes: Mapping[str, int], terms: tuple[str, ...], eps: float
) -> RelativePositions | None:
    """Read how far distances are told apart, and what becomes of their vectors."""
    norms = settings.get("norm_rel_ebd", str, "none").lower().split("|")
    if not {norm.strip() for norm in norms} <= {"none", "layer_norm"}:
        raise settings.wrong("norm_rel_ebd", "none or layer_norm", "|".join(norms))
    if not settings.get("relative_attention", bool, False):
        return None
    if not terms:
        problem = "must name c2p or p2c where relative_attention is true"
        raise settings.error("pos_att_type", problem)
    span = settings.get("max_relative_positions", int, -1)
    span = sizes["max_positions"] if span < 1 else span
    if span > HIGHEST["max_positions"]:
        expected = f"at most {HIGHEST['max_positions']}"
        raise settings.wrong("max_relative_positions", expected, span)
    buckets = settings.get("position_buckets", int, -1)
    distances = np.arange(1 - sizes["max_positions"], sizes["max_positions"])
    if buckets > 0:
        if not 1 < buckets < 2 * (span - 1):
            expected = f"from 2 to {2 * (span - 1) - 1}, for distances up to {span}"
            raise settings.wrong("position_buckets", expected, buckets)
        distances = buckets_of(distances, buckets, span)
        span = buckets
    hidden = sizes["hidden_size"]
    normed = any(norm.strip() == "layer_norm" for norm in norms)
    return RelativePositions(
        hidden,
        np.clip(distances + span, 0, 2 * span - 1),
        2 * span,
        norm=LayerNorm(hidden, eps) if normed else None,
        terms=terms,
        shared=settings.get("share_att_key", bool, False),
    )


def buckets_of(distances: Indices, count: int, farthest: int) -> Indices:
    """Give the bucket of each distance, which has its sign.

    Half of the buckets on a side are of one distance, the others are of ever more, to the
    last before `farthest` as its logarithm grows.
    """
    exact = count // 2
    far = np.maximum(np.abs(distances), exact)
    grown = np.log(far / exact) / np.log((farthest - 1) / exact)
    wide = exact + np.ceil(grown * (exact - 1)).astype(np.int64)
    buckets: Indices = np.where(far == exact, distances, np.sign(distances) * wide)
    return buckets


def _relative_weights(
    relative: RelativePositions, sizes: Mapping[str, int]
) -> Iterator[SameRows]:
    """Say where the weights stand that have to do with distances."""
    hidden = sizes["hidden_size"]
    for name, layer in relative.state_dict().items():
        tensor = (
            "encoder.LayerNorm" if name.startswith("norm.") else "encoder.rel_embeddings"
        )
        kind = name.rpartition(".")[2]
        yield SameRows((f"relative.{name}",), {f"{tensor}.{kind}": layer.shape})
    for i in range(0 if relative.shared else sizes["num_layers"]):
        for term in relative.terms:
            name = TERMS[term]
            places = affine(
                [f"self_attn.{name}."], {f"attention.self.{name}": (hidden, hidden)}
            )
            yield from inside(f"encoder.layers.{i}.", LAYER.format(i), places)


def classifier(settings: Settings) -> Classifier:
    """Describe the head: a pooler of the first token, whose activation is its own."""
    activation = settings.get_choice("pooler_hidden_act", HEAD_ACTIVATIONS, "gelu")
    if settings.has("pooler_hidden_size"):
        require(settings, {"pooler_hidden_size": settings.get("hidden_size", int)})
    pooler = HeadLayer(dense="pooler.dense", activation=HEAD_ACTIVATIONS[activation])
    return Classifier(layers=(pooler, HeadLayer(dense="classifier")))


HEAD_ACTIVATIONS = {**ACTIVATIONS, "tanh": "tanh"}

FAMILY = Family(
    read=read,
    prefixes=("deberta.",),
    spellings=SPELLINGS,
    # A counter that old versions stored, places that are no part of the sum but were in
    # training, and what predicts words or classifies.
    unused=(
        "embeddings.position_ids",
        "embeddings.position_embeddings.",
        "pooler.",
        "classifier.",
        "cls.predictions.",
        "lm_predictions.",
        "mask_predictions.",
    ),
    classifier=classifier,
    tokenizer_class="DebertaV2Tokenizer",
)

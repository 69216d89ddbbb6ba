"""BERT: its settings, the names of its weights, its forward pass.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 3: a sum of three embeddings, layer-normalised, and then the
encoder of Vaswani et al. 2017 with GELU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from numpy import float32, int64
from numpy.typing import ArrayLike, NDArray

from .. import _rowwise
from .._program import Program
from ..arrays import as_integers
from ..nn import Encoder
from ..nn.recorder import program_for
from ..padding import packing_of, pad, unpad
from .checkpoint import Settings, Stored, Tensors
from .folder import Folder

# What transformers calls an activation -> what it is. Three names are of one formula.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}

# The sizes in config.json and the highest that are read. They are ten to a hundred times
# those of the largest models there are: beyond is damage.
HIGHEST_SIZES = {
    "vocab_size": 2**24,
    "hidden_size": 2**16,
    "num_hidden_layers": 2**10,
    "num_attention_heads": 2**10,
    "intermediate_size": 2**20,
    "max_position_embeddings": 2**20,
    "type_vocab_size": 2**10,
}
DEFAULT_SIZES = {"type_vocab_size": (2,)}

# From the smallest float32 that divides without overflow to a norm that is hardly one.
EPS_RANGE = (2.0**-126, 1.0)

# The parts of an encoder layer: three that are the rows of one matrix here, and the
# others, torch's name -> BERT's.
PROJECTIONS = ("attention.self.query", "attention.self.key", "attention.self.value")
LAYER_NAMES = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}

# What trace calls the rows of the three embedding tables.
EMBEDDINGS = ("embeddings", "positions", "token_types")

# Tensors that take no part in hidden states: a counter that old versions stored, and
# what pre-training needs on top of them.
UNUSED = (
    "embeddings.position_ids",
    "pooler.",
    "cls.predictions.",
    "cls.seq_relationship.",
)


@dataclass(frozen=True)
class BertConfig:
    """The sizes and choices of a BERT, named as in its config.json."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    hidden_act: str
    layer_norm_eps: float

    @classmethod
    def read(cls, settings: Settings) -> "BertConfig":
        """Check config.json; what transformers has a default for may be missing."""
        settings.get_choice("position_embedding_type", ["absolute"], "absolute")
        if settings.get("is_decoder", bool, False):
            raise settings.error("is_decoder", "must be false: this is an encoder")
        sizes = {
            field: settings.get_size(field, highest, *DEFAULT_SIZES.get(field, ()))
            for field, highest in HIGHEST_SIZES.items()
        }
        hidden_size, heads = sizes["hidden_size"], sizes["num_attention_heads"]
        if hidden_size % heads:
            multiple = f"a multiple of num_attention_heads {heads}"
            raise settings.wrong("hidden_size", multiple, hidden_size)
        return cls(
            **sizes,
            hidden_act=settings.get_choice("hidden_act", ACTIVATIONS, "gelu"),
            layer_norm_eps=settings.get_float("layer_norm_eps", 1e-12, *EPS_RANGE),
        )


class BertModel:
    """The encoder of a BERT: token ids in, hidden states out.

    It may be called from many threads at once, and pickles.

    Parameters
    ----------
    config : BertConfig
        Sizes and choices.
    tensors : Tensors
        The weights by BERT's names; all of them are taken.
    weights : {"float32", "float16", "bfloat16", "int8"}
        How the matrices of the layers are stored
        (:meth:`fastattn.nn.Encoder.store_weights_as`).

    Attributes
    ----------
    config : BertConfig
        Sizes and choices.
    embedding_tables : tuple of float32 arrays (rows, hidden)
        Of words, positions and token types, read-only: views of the mapped file where
        it holds float32.
    encoder : Encoder
        The layers.
    """

    def __init__(
        self, config: BertConfig, tensors: Tensors, weights: str = "float32"
    ) -> None:
        self.config = config
        dim = config.hidden_size
        self.embedding_tables = tuple(
            tensors.take(f"embeddings.{kind}_embeddings.weight", (rows, dim))
            for kind, rows in (
                ("word", config.vocab_size),
                ("position", config.max_position_embeddings),
                ("token_type", config.type_vocab_size),
            )
        )
        self._norm = (
            tensors.take("embeddings.LayerNorm.weight", (dim,)),
            tensors.take("embeddings.LayerNorm.bias", (dim,)),
            config.layer_norm_eps,
        )
        # Nothing is allocated by what config.json says before the file bears it out.
        layers = [
            _find_layer(config, tensors, f"encoder.layer.{index}.")
            for index in range(config.num_hidden_layers)
        ]
        tensors.finish()
        self.encoder = Encoder(
            dim,
            config.num_attention_heads,
            config.intermediate_size,
            config.num_hidden_layers,
            activation=ACTIVATIONS[config.hidden_act],
            norm_eps=config.layer_norm_eps,
            init="zeros",
        )
        self.encoder.store_weights_as(weights)
        for layer, found in zip(self.encoder.layers, layers, strict=True):
            layer.load_state_dict(_state_dict(found))
            # All of a layer is in memory twice now; the next may have the second place.
            tensors.release()

    @classmethod
    def read(
        cls, folder: Folder, settings: Settings, weights: str = "float32"
    ) -> "BertModel":
        """Read the weights of a folder whose config.json is `settings`."""
        return cls(BertConfig.read(settings), Tensors(folder, _rename), weights)

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
    ) -> NDArray[float32]:
        """Compute the hidden states of token ids.

        Parameters
        ----------
        input_ids : array_like of int (batch, length)
            Token ids, 0 to ``vocab_size - 1`` at real positions; `length` is at most
            ``max_position_embeddings``.
        attention_mask : array_like of bool or of the integers 0 and 1, optional
            (batch, length); True or 1 at real positions, which all are unless given. A
            token keeps the position of its column, wherever the padding is.
        token_type_ids : array_like of int (batch, length), optional
            Which text of a pair a token is of, 0 to ``type_vocab_size - 1``; 0 unless
            given.

        Returns
        -------
        array (batch, length, hidden) float32
            What transformers calls last_hidden_state, with zeros at padded positions.

        Raises
        ------
        TypeError
            If the ids are not integers.
        ValueError
            If a shape is wrong, or an id out of its range.

        Notes
        -----
        A sequence gives the same bits alone, in any batch and with any padding on its
        right. On text, hidden states of MiniLM are within 5e-6 of what transformers
        computes in float64.

        Examples
        --------
        >>> import fastattn as fa
        >>> model = fa.load("all-MiniLM-L6-v2")
        >>> input_ids, mask = [[101, 7592, 102], [101, 102, 0]], [[1, 1, 1], [1, 1, 0]]
        >>> model.model(input_ids, mask).shape
        (2, 3, 384)
        """
        ids = as_integers(input_ids, "input_ids")
        if ids.ndim != 2:
            raise ValueError(f"input_ids must have shape (batch, length), got {ids.shape}")
        batch, length = ids.shape
        if length > self.config.max_position_embeddings:
            raise ValueError(
                f"input_ids must have at most {self.config.max_position_embeddings} "
                f"positions, got {length}"
            )
        packing = packing_of(batch, length, padding_mask=attention_mask)
        tokens = unpad(ids, packing)
        _check_range(tokens, "input_ids", self.config.vocab_size)
        types = np.zeros(len(tokens), int64)
        if token_type_ids is not None:
            given = as_integers(token_type_ids, "token_type_ids")
            if given.shape != ids.shape:
                raise ValueError(
                    f"token_type_ids must have the shape of input_ids {ids.shape}, "
                    f"got {given.shape}"
                )
            types = unpad(given, packing)
            _check_range(types, "token_type_ids", self.config.type_vocab_size)
        hidden = np.empty((len(tokens), self.config.hidden_size), float32)
        program = program_for(packing)
        self.steps(program, tokens, types, packing.columns, packing.cu_seqlens, hidden)
        program.run()
        return pad(hidden, packing)

    def steps(
        self,
        program: Program,
        input_ids: NDArray[int64],
        token_type_ids: NDArray[int64],
        positions: NDArray[int64],
        cu_seqlens: NDArray[int64],
        out: NDArray[float32],
    ) -> None:
        """Add the model to a program: packed ids (tokens,), out (tokens, hidden)."""
        indices = input_ids, positions, token_type_ids
        if program.recorder is not None:
            self._record(program, indices)
        _rowwise.embed(program, self.embedding_tables, indices, out, norm=self._norm)
        program.record("embedding_norm", out)
        # Every layer may write where it reads: they all run in place, in out.
        buffers = self.encoder.buffers(len(out))
        self.encoder.steps(program, out, out, cu_seqlens, buffers, positions=positions)

    def _record(self, program: Program, indices: Sequence[NDArray[int64]]) -> None:
        """Record what is looked up, none of which is stored."""
        rows = [
            partial(table.take, ids, 0)
            for table, ids in zip(self.embedding_tables, indices, strict=True)
        ]
        for name, take in zip(EMBEDDINGS, rows, strict=True):
            program.record(name, take)
        program.record("embedding_sum", lambda: reduce(np.add, [take() for take in rows]))


def _rename(stored: str) -> str | None:
    """Translate the name of a stored tensor; None for one that takes no part."""
    name = stored.removeprefix("bert.")
    if name.startswith(UNUSED):
        return None
    for old, new in (("gamma", "weight"), ("beta", "bias")):
        if name.endswith(f"LayerNorm.{old}"):
            return name.removesuffix(old) + new
    return name


def _find_layer(config: BertConfig, tensors: Tensors, prefix: str) -> dict[str, Stored]:
    """Find the weights of one layer, by BERT's names without the prefix."""
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(PROJECTIONS, (hidden, hidden)),
        "attention.output.dense": (hidden, hidden),
        "attention.output.LayerNorm": (hidden,),
        "intermediate.dense": (inner, hidden),
        "output.dense": (hidden, inner),
        "output.LayerNorm": (hidden,),
    }
    found = {}
    for part, shape in shapes.items():
        found[f"{part}.weight"] = tensors.find(f"{prefix}{part}.weight", shape)
        found[f"{part}.bias"] = tensors.find(f"{prefix}{part}.bias", shape[:1])
    return found


def _state_dict(found: dict[str, Stored]) -> dict[str, ArrayLike]:
    """Name the weights of one layer as torch and fastattn.nn do."""
    state: dict[str, ArrayLike] = {}
    for kind in ("weight", "bias"):
        parts = [found[f"{part}.{kind}"] for part in PROJECTIONS]
        state[f"self_attn.in_proj_{kind}"] = np.concatenate(parts)
        for ours, theirs in LAYER_NAMES.items():
            state[f"{ours}.{kind}"] = found[f"{theirs}.{kind}"]
    return state


def _check_range(ids: NDArray[int64], name: str, limit: int) -> None:
    """Make sure that ids are from 0 to limit - 1."""
    # As unsigned numbers, those below 0 are the largest.
    if ids.view(np.uint64).max(initial=0) >= limit:
        wrong = ids[(ids < 0) | (ids >= limit)]
        raise ValueError(f"{name} must be from 0 to {limit - 1}, got {wrong[0]}")

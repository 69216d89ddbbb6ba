"""What a family of models is: how its folders say what to build, and of which tensors.

Sizes, architectures and weights have names here that are no family's.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from numpy import int64
from numpy.typing import NDArray

from ...nn import EncoderLayer, FeedForward, LayerNorm, MultiHeadAttention
from ...nn.norm import RowNorm
from ...nn.relative import RelativeBias, RelativePositions
from ..checkpoint import Settings

Shape: TypeAlias = tuple[int, ...]
Indices: TypeAlias = NDArray[int64]
MakeNorm: TypeAlias = Callable[[int], RowNorm]

# The highest sizes that are read. They are ten to a hundred times those of the largest
# models there are: beyond is damage.
HIGHEST = {
    "vocab_size": 2**24,
    "hidden_size": 2**16,
    "num_layers": 2**10,
    "num_heads": 2**10,
    "intermediate_size": 2**20,
    "max_positions": 2**20,
    "num_token_types": 2**10,
}

# From the smallest float32 that divides without overflow to a norm that is hardly one.
EPS_RANGE = (2.0**-126, 1.0)

# The field that names the task of which an adapter is merged into the weights.
TASK = "default_task"

# The class of transformers that takes tokenizer.json as it is.
AS_IT_IS = "TokenizersBackend"

# What transformers calls an activation -> what it is. Some names are of one formula.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


@dataclass(frozen=True)
class LowRank:
    """What is added to a matrix for one of several tasks: ``scale * left @ right``.

    Attributes
    ----------
    left, right : pair of str and tuple of int
        Name and shape of a tensor: (tasks, rows, rank) and (tasks, rank, columns).
    task : int or None
        For which task, by its number; nothing is added for None.
    scale : float
        What the product is multiplied by.
    """

    left: tuple[str, Shape]
    right: tuple[str, Shape]
    task: int | None
    scale: float


@dataclass(frozen=True)
class SameRows:
    """The rows of some weights of a model are, in their order, those of some tensors.

    Queries, keys and values, three tensors of a BERT, are one weight; of other families
    one tensor is two weights.

    Attributes
    ----------
    weights : tuple of str
        Keys of the model's state dict. Several have the same number of rows.
    tensors : dict of str to tuple of int
        Names in the file, and shapes.
    offset : float
        How much more the weights are than what the file holds.
    added : dict of str to LowRank
        What is added to tensors, by their names.
    """

    weights: tuple[str, ...]
    tensors: Mapping[str, Shape]
    offset: float = 0.0
    added: Mapping[str, LowRank] = field(default_factory=dict)


def names_in(places: Iterable[SameRows]) -> set[str]:
    """Give the names of all tensors that weights stand in."""
    return {name for rows in places for name in rows.tensors}


def affine(
    weights: Sequence[str], tensors: Mapping[str, Shape], bias: bool = True
) -> Iterator[SameRows]:
    """Describe the weight of a dense layer or of a norm, and its bias.

    All names are without their last word: "weight" follows on what `weights` says and
    ".weight" on what `tensors` says; `tensors` has the shapes of weights.
    """
    shapes = {"weight": tensors}
    if bias:
        shapes["bias"] = {name: shape[:1] for name, shape in tensors.items()}
    for kind, of_kind in shapes.items():
        yield SameRows(
            tuple(weight + kind for weight in weights),
            {f"{name}.{kind}": shape for name, shape in of_kind.items()},
        )


def inside(ours: str, theirs: str, places: Iterable[SameRows]) -> Iterator[SameRows]:
    """Put two prefixes in front of the names: of the keys of weights, and of tensors."""
    for place in places:
        yield replace(
            place,
            weights=tuple(ours + key for key in place.weights),
            tensors={theirs + name: shape for name, shape in place.tensors.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What to build, and where its weights stand.

    Attributes
    ----------
    vocab_size, hidden_size : int
        Rows of the table of words, and size of a vector between layers.
    max_positions : int
        Tokens of the longest sequence.
    position_ids : callable, optional
        ``(input_ids, positions, cu_seqlens)`` of packed tokens -> which row of the table
        of positions each takes; unless given, the one of its position.
    num_token_types : int
        Rows of the table of token types; 0 where there is none. Where it is 1, all
        tokens are of that type, whatever the tokenizer says.
    embedding_norm : callable, optional
        ``(embedding_size)`` -> the norm behind the sum of the rows.
    embedding_scale : float
        What the sum is multiplied by, in front of the norm.
    embedding_size : int, optional
        Columns of the tables, where a dense layer makes the hidden size of them behind
        the norm.
    relative : RelativeBias or RelativePositions, optional
        The one that the layers share.
    layers : sequence of callable
        ``()`` -> an encoder layer, whose weights are loaded after. They may differ, and
        where some give the same layer, its weights are those of its first place.
    final_norm : callable, optional
        ``(hidden_size)`` -> the norm behind the last layer.
    weights : sequence of SameRows
        All weights of the model, by the keys of its state dict, and where they stand:
        word_embeddings.weight, and where there are such, position_embeddings.weight,
        token_type_embeddings.weight, embedding_norm.*, embedding_projection.*,
        relative.*, encoder.layers.0.*, encoder.norm.*.
    """

    vocab_size: int
    hidden_size: int
    max_positions: int
    position_ids: Callable[[Indices, Indices, Indices], Indices] | None = None
    num_token_types: int = 0
    embedding_norm: Callable[[int], LayerNorm] | None = None
    embedding_scale: float = 1.0
    embedding_size: int | None = None
    relative: RelativeBias | RelativePositions | None = None
    layers: Sequence[Callable[[], EncoderLayer]]
    final_norm: Callable[[int], RowNorm] | None = None
    weights: Sequence[SameRows]


@dataclass(frozen=True, kw_only=True)
class HeadLayer:
    """norm(activation(dense(x))), and what its tensors are called without their last word.

    Attributes
    ----------
    dense : str
        Of the dense layer, the prefix of the family included where the file has it.
    bias : bool
        Whether it has one.
    activation : str or None
        One of fastattn's.
    norm : str, optional
        Of the layer norm behind it, if there is one.
    norm_bias : bool
        Whether that has a bias.
    eps : float
        What it adds to the variance.
    """

    dense: str
    bias: bool = True
    activation: str | None = None
    norm: str | None = None
    norm_bias: bool = True
    eps: float = 1e-5

    def weights(self, key: str, inputs: int, outputs: int) -> Iterator[SameRows]:
        """Say where its weights stand, by keys that begin with `key`."""
        yield from affine([key], {self.dense: (outputs, inputs)}, self.bias)
        if self.norm is not None:
            yield from affine([f"{key}norm."], {self.norm: (outputs,)}, self.norm_bias)


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """From the hidden states of a text to a number for each label.

    Attributes
    ----------
    layers : sequence of HeadLayer
        All keep the size of a vector but the last, which gives the labels.
    pooling : str
        Which vector of a text they take.
    of_tokens : int
        How many of the layers, the first, are applied to the vectors of tokens, so that
        those behind them take one of what they give.
    padding : int, optional
        The id of tokens that do not count at the end of a text, where the last is taken.
    """

    layers: Sequence[HeadLayer]
    pooling: str = "cls"
    of_tokens: int = 0
    padding: int | None = None

    def sizes(self, hidden_size: int, labels: int) -> Iterator[tuple[HeadLayer, int]]:
        """Give each layer with the size of what it gives."""
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            yield layer, labels if i == last else hidden_size

    def weights(self, hidden_size: int, labels: int) -> Iterator[SameRows]:
        """Say where all weights stand, by the keys of the state dict of the head."""
        for i, (layer, outputs) in enumerate(self.sizes(hidden_size, labels)):
            yield from layer.weights(f"head.{i}.", hidden_size, outputs)


@dataclass(frozen=True, kw_only=True)
class WordHead:
    """From a hidden state to a number for each word: that of its vector in a table.

    Attributes
    ----------
    transform : HeadLayer
        What hidden states go through before; they get the width of the table.
    decoder : str
        What its table, if it has one of its own, and a number to add for each word are
        called without their last word.
    bias : str, optional
        Another name of these numbers, where the table is that of the encoder.
    has_bias : bool
        Whether there are such numbers.
    """

    transform: HeadLayer
    decoder: str
    bias: str | None = None
    has_bias: bool = True

    def weights(
        self, hidden_size: int, width: int, vocab_size: int, stored: Collection[str]
    ) -> Iterator[SameRows]:
        """Say where its weights stand, given what a file has of the decoder.

        That holds, as in transformers; what it has not of it, the encoder shares.
        """
        yield from self.transform.weights("head.0.", hidden_size, width)
        own = f"{self.decoder}.weight"
        if own in stored:
            yield SameRows(("decoder.weight",), {own: (vocab_size, width)})
        if self.has_bias:
            name = f"{self.decoder}.bias"
            if name not in stored and self.bias is not None:
                name = self.bias
            yield SameRows(("decoder.bias",), {name: (vocab_size,)})


def dense_classifier(
    dense: str, activation: str, output: str
) -> Callable[[Settings], Classifier]:
    """Say that two dense layers are behind the first token, by what they are called."""
    layers = HeadLayer(dense=dense, activation=activation), HeadLayer(dense=output)
    return lambda settings: Classifier(layers=layers)


@dataclass(frozen=True, kw_only=True)
class Family:
    """How the folders of models of one kind are read.

    Attributes
    ----------
    read : callable
        ``(settings)``, the config.json -> the Architecture; what is not known is refused.
    prefixes : tuple of str
        What may stand in front of the names of tensors.
    spellings : dict of str to str
        How names of tensors once ended -> how they end now.
    unused : tuple of str
        How the names of tensors begin that take no part in hidden states.
    variants : dict of str to Family
        How the name of a tensor ends -> the family of folders that have such a tensor,
        where config.json does not tell them apart.
    classifier : callable, optional
        ``(settings)`` -> the Classifier that models for the classification of sequences
        have; families without one have none that is read.
    words : callable, optional
        ``(settings)`` -> the WordHead that models have which predict masked words, alike.
    adapters : tuple of str
        The fields of config.json that are about adapters for tasks, of which the one of
        TASK is merged into the weights; families without adapters have none.
    tokenizer_class : str, optional
        By which of its classes transformers makes the tokenizer where no file names one;
        unless given, by one that takes tokenizer.json as it is. `AS_IT_IS` is that one
        whatever class the files name.
    """

    read: Callable[[Settings], Architecture]
    prefixes: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    variants: Mapping[str, "Family"] = field(default_factory=dict)
    classifier: Callable[[Settings], Classifier] | None = None
    words: Callable[[Settings], WordHead] | None = None
    adapters: tuple[str, ...] = ()
    tokenizer_class: str | None = None

    def with_tensors(self, names: Collection[str]) -> "Family":
        """Give the one that tensors of these names are of: this one, or a variant."""
        for ending, family in self.variants.items():
            if any(name.endswith(ending) for name in names):
                return family
        return self

    def name_of(self, stored: str, taken: Collection[str] = ()) -> str | None:
        """Give the name by which a stored tensor is known, or None if it takes no part.

        `taken` are the names of those that do whatever they begin with, in a head with
        their prefixes.
        """
        name = self._without_prefix(stored)
        for old, new in self.spellings.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        own = {self._without_prefix(full): full for full in taken}
        return own.get(name, None if name.startswith(self.unused) else name)

    def prefix_among(self, names: Collection[str]) -> str:
        """Give the prefix that some of these names have; where none has one, the usual."""
        for prefix in self.prefixes:
            if any(name.startswith(prefix) for name in names):
                return prefix
        return "".join(self.prefixes[:1])

    def prefixed(self, prefix: str, tensors: Mapping[str, Shape]) -> dict[str, Shape]:
        """Give tensors whose names have a prefix another one in its place."""
        bare = {name: self._without_prefix(name) for name in tensors}
        return {
            name if bare[name] == name else prefix + bare[name]: shape
            for name, shape in tensors.items()
        }

    def _without_prefix(self, name: str) -> str:
        for prefix in self.prefixes:
            name = name.removeprefix(prefix)
        return name


def read_sizes(settings: Settings, fields: Mapping[str, tuple[Any, ...]]) -> dict[str, int]:
    """Read the sizes in a config.json.

    Parameters
    ----------
    settings : Settings
        The config.json.
    fields : dict of str to tuple
        Size, a key of `HIGHEST` -> the field that says it, and what transformers takes
        for one that is missing, if anything.
    """
    return {
        size: settings.get_size(name, HIGHEST[size], *default)
        for size, (name, *default) in fields.items()
    }


def require(settings: Settings, fields: Mapping[str, Any]) -> None:
    """Refuse any value but one of fields that change numbers; they may be missing."""
    for name, value in fields.items():
        if settings.has(name) and settings.fields[name] != value:
            raise settings.wrong(name, json.dumps(value), settings.fields[name])


def head_dim_of(
    settings: Settings, sizes: Mapping[str, int], fields: Mapping[str, tuple[Any, ...]]
) -> int:
    """Divide a vector by its heads, by the sizes that :func:`read_sizes` gave."""
    hidden, heads = sizes["hidden_size"], sizes["num_heads"]
    if hidden % heads:
        multiple = f"a multiple of {fields['num_heads'][0]} {heads}"
        raise settings.wrong(fields["hidden_size"][0], multiple, hidden)
    return hidden // heads


def build_layer(
    self_attn: Callable[..., MultiHeadAttention],
    feed_forward: Callable[..., FeedForward],
    *,
    qk_norm: Callable[[], RowNorm] | None = None,
    twice: tuple[bool, bool] = (False, False),
    **norms: tuple[MakeNorm | None, MakeNorm | None],
) -> EncoderLayer:
    """Make a layer of parts whose weights will be loaded.

    `qk_norm` makes the norms of queries and of keys; `twice` and `norms` are those of
    :meth:`fastattn.nn.EncoderLayer.from_parts`, a norm by what makes it for a size.
    """
    pair = qk_norm and (qk_norm(), qk_norm())
    attention = self_attn(init="zeros", qk_norm=pair)
    size = attention.hidden_size
    made = {
        place: (first and first(size), second and second(size))
        for place, (first, second) in norms.items()
    }
    return EncoderLayer.from_parts(
        attention, feed_forward(init="zeros"), twice=twice, **made
    )

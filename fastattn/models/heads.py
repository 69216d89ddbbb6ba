"""Heads that classify: from the hidden states of a text to a number for each label."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy import float32, int64
from numpy.typing import NDArray

from .. import _rowwise
from .._program import Program
from ..nn import Layer, LayerNorm, Linear
from .checkpoint import Settings
from .families.family import (
    Architecture,
    Classifier,
    Family,
    HeadLayer,
    Indices,
    SameRows,
    inside,
    names_in,
)
from .folder import Folder
from .model import Config, EncoderModel, Parts, build, describe, find_parts
from .tensor_files import TensorFiles
from .tensors import Tensors

# Far more than any model has.
MOST_LABELS = 2**16

Array = NDArray[float32]


class DenseStack(Layer):
    """Dense layers one behind the other, each with an activation and perhaps a norm."""

    def __init__(
        self, key: str, inputs: int, layers: Iterable[tuple[HeadLayer, int]]
    ) -> None:
        super().__init__()
        self._key = key
        self._layers: list[tuple[Linear, str | None, LayerNorm | None]] = []
        for layer, outputs in layers:
            linear = Linear(inputs, outputs, layer.bias, init="zeros")
            norm = layer.norm and LayerNorm(outputs, layer.eps, layer.norm_bias)
            self._layers.append((linear, layer.activation, norm or None))
            inputs = outputs

    def _children(self) -> Mapping[str, Layer]:
        children: dict[str, Layer] = {}
        for i, (linear, _, norm) in enumerate(self._layers):
            children[f"{self._key}{i}."] = linear
            if norm is not None:
                children[f"{self._key}{i}.norm."] = norm
        return children

    def steps(self, program: Program, x: Array, part: slice = slice(None)) -> Array:
        """Add the layers, or some, to a program: of x (rows, inputs), (rows, outputs)."""
        for linear, activation, norm in self._layers[part]:
            y = np.empty((len(x), linear.out_features), float32)
            linear.steps(program, x, y, activation=activation, norm=norm)
            x = y
        return x


class Head(Layer):
    """What classifies a text by its hidden states; :func:`read_classifier` makes one.

    Attributes
    ----------
    labels : tuple of str
        The names of the numbers that it gives.
    pooling : str
        Which vector of a text it looks at.
    places : sequence of SameRows
        Where its weights, and those of the encoder, stand in a file.
    """

    def __init__(
        self,
        classifier: Classifier,
        hidden_size: int,
        labels: tuple[str, ...],
        places: Sequence[SameRows],
    ) -> None:
        super().__init__()
        self.labels = labels
        self.pooling = classifier.pooling
        self.places = places
        self._padding = classifier.padding
        self._of_tokens = classifier.of_tokens
        layers = classifier.sizes(hidden_size, len(labels))
        self._stack = DenseStack("head.", hidden_size, layers)

    def _children(self) -> Mapping[str, Layer]:
        return self._stack._children()

    def steps(
        self, program: Program, hidden: Array, ids: Indices, cu_seqlens: Indices
    ) -> Array:
        """Add the head to a program: of hidden (tokens, hidden), (texts, labels).

        `ids` are those of the tokens, and `cu_seqlens` says where those of each text start.
        """
        if self._padding is not None:
            cu_seqlens = ends_without(ids, cu_seqlens, self._padding)
        first, rest = slice(self._of_tokens), slice(self._of_tokens, None)
        rows = self._stack.steps(program, hidden, first)
        vectors = np.empty((len(cu_seqlens) - 1, rows.shape[1]), float32)
        read = rows[: cu_seqlens[-1]]
        _rowwise.pool(program, read, cu_seqlens, self.pooling, vectors)
        return self._stack.steps(program, vectors, rest)


def ends_without(ids: Indices, cu_seqlens: Indices, padding: int) -> Indices:
    """Let each text end before the padding at its end, of whose tokens the last is wanted.

    Padding is known by its id; of a text that is nothing else the first token is left. What
    was cut off begins the next text then, whose last token is what it was.
    """
    starts, filled = cu_seqlens[:-1], np.diff(cu_seqlens) > 0
    ends = np.zeros(len(cu_seqlens), int64)
    behind = np.where(ids != padding, np.arange(1, len(ids) + 1), 0)
    if filled.any():
        last = np.maximum.reduceat(behind, starts[filled])
        ends[1:][filled] = np.maximum(last, starts[filled] + 1)
    return np.maximum.accumulate(ends)


def read_classifier(folder: Folder, weights: str) -> tuple[EncoderModel, Head]:
    """Read a model that classifies, whose matrices are then stored as `weights` says."""
    described = settings, family, architecture, _ = describe(folder)
    if family.classifier is None:
        problem = f"{settings.get('model_type', str)} has no head that is read"
        raise settings.error("model_type", problem)
    labels, size = read_labels(settings), architecture.hidden_size
    classifier = family.classifier(settings)
    own = list(classifier.weights(size, len(labels)))
    model, parts, places = read_headed(weights, described, own)
    head = Head(classifier, size, labels, places)
    head.store_weights_as(weights)
    for part, layer in head._children().items():
        layer.load_state_dict(parts[part])
    return model, head


def read_headed(
    weights: str,
    described: tuple[Settings, Family, Architecture, TensorFiles],
    own: Sequence[SameRows],
) -> tuple[EncoderModel, Parts, list[SameRows]]:
    """Read a model with a head, whose `own` weights come along, and where all stand."""
    settings, family, architecture, files = described
    taken = names_in([*architecture.weights, *own])
    tensors = Tensors(files, partial(family.name_of, taken=taken))
    parts = find_parts([*architecture.weights, *own], tensors)
    model = build(Config(settings.fields), architecture, parts, tensors, weights)
    # Where there is a head, the names of the encoder's tensors have a prefix.
    prefix = family.prefix_among(files.names)
    places = [
        *inside("", prefix, architecture.weights),
        *(replace(p, tensors=family.prefixed(prefix, p.tensors)) for p in own),
    ]
    return model, parts, places


def read_labels(settings: Settings) -> tuple[str, ...]:
    """Read the names of the labels in a config.json; transformers leaves two out."""
    if not settings.has("id2label"):
        count = settings.get_size("num_labels", MOST_LABELS, 2)
        return tuple(f"LABEL_{i}" for i in range(count))
    stored = Settings(settings.path, settings.get("id2label", dict))
    count = len(stored.fields)
    if not 1 <= count <= MOST_LABELS or set(stored.fields) != set(map(str, range(count))):
        expected = f"an object of names by number, from 0 on, at most {MOST_LABELS}"
        raise settings.wrong("id2label", expected, stored.fields)
    return tuple(stored.get(str(i), str) for i in range(count))

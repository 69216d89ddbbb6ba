"""Every value between the input and the output of a layer or a model."""

import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .arrays import as_choice, as_index, as_text
from .errors import TruncationWarning
from .models import EncoderModel
from .models.batches import pack
from .models.modules import TOKENS, Features
from .models.pairs import encode_pair
from .models.tokenization import Tokenization, Tokens
from .nn import Encoder, EncoderLayer, FeedForward, MultiHeadAttention
from .nn.recorder import Complete, Recorder, program_for, recording
from .text_base import TextModel

if TYPE_CHECKING:
    from tokenizers import Encoding

__all__ = ["LAYER_VALUES", "MODEL_VALUES", "Trace", "trace"]

Array = NDArray[np.float32]
Traceable = EncoderModel | Encoder | EncoderLayer | MultiHeadAttention | FeedForward

# The values outside and inside of encoder layers, in the order of a post-norm encoder.
MODEL_VALUES = (
    "embeddings",
    "positions",
    "token_types",
    "embedding_sum",
    "embedding_norm",
    "embedding_output",
    "output",
)
LAYER_VALUES = (
    "queries",
    "keys",
    "values",
    "relative_scores",
    "scores",
    "weights",
    "context",
    "attention_output",
    "attention_sum",
    "attention_norm",
    "intermediate",
    "feed_forward_output",
    "feed_forward_sum",
    "feed_forward_norm",
    "output",
)


class Trace(Mapping[str, Array]):
    """The values of a forward pass by their names; :func:`trace` makes one.

    Attributes
    ----------
    layers : tuple of Trace
        The values inside each encoder layer, empty for one that was not asked for; an
        empty tuple where there is no stack of layers.
    encoding : tokenizers.Encoding or None
        What the tokenizer made of a text, of a long one no more than is read.

    Examples
    --------
    >>> import fastattn as fa
    >>> encoder = fa.nn.Encoder(8, 2, 16, num_layers=3, rng=0)
    >>> fa.trace(encoder, [[1.0] * 8] * 5, names=["keys", "weights", "output"])
    Trace
      output (5, 8)
      layers 0 to 2: Trace
        keys (2, 5, 4)
        weights (2, 5, 5)
        output (5, 8)
    """

    def __init__(
        self,
        values: Mapping[str, Array],
        layers: tuple["Trace", ...] = (),
        encoding: "Encoding | None" = None,
    ) -> None:
        self._values = dict(values)
        self.layers = layers
        self.encoding = encoding

    @property
    def tokens(self) -> list[str]:
        """The tokens of a text, special ones included."""
        return [] if self.encoding is None else list(self.encoding.tokens)

    def __getitem__(self, name: str) -> Array:
        """Give a value by its name."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """List the names, in the order in which the values are computed."""
        return iter(self._values)

    def __len__(self) -> int:
        """Count the values."""
        return len(self._values)

    def __repr__(self) -> str:
        """Show names and shapes, a line each, and layers that are alike once."""
        lines = [f"{name} {value.shape}" for name, value in self.items()]
        indices = range(len(self.layers))
        for shown, alike in groupby(indices, lambda i: repr(self.layers[i])):
            which = list(alike)
            lines += f"layers {which[0]} to {which[-1]}: {shown}".splitlines()
        return "\n  ".join(["Trace", *lines])


def trace(
    model: Any,
    inputs: Any,
    *arguments: Any,
    names: str | Iterable[str] | None = None,
    layers: int | Iterable[int] | None = None,
    **keywords: Any,
) -> Any:
    """Compute a forward pass and keep the values on the way, under the paper's names.

    Parameters
    ----------
    model : what `load` gives, EncoderModel, or a layer of fastattn.nn
        What to look into: one that looks along sequences.
    inputs : str, list of str, or array_like
        For a model that is loaded, a text, several, or token ids; else what `model` is
        called with.
    *arguments, **keywords
        What else `model` takes when it is called: masks, lengths, a source. For a text,
        ``pair="another text"`` puts a second one behind it.
    names : str or iterable of str, optional
        The values to keep, all by default. Nothing is computed that comes after the last
        of them.
    layers : int or iterable of int, optional
        The encoder layers to look into, all by default; -1 is the last.

    Returns
    -------
    Trace, or list of Trace for a list of texts
        The values. There is a batch dimension in front where `inputs` has one.

    Raises
    ------
    TypeError
        If there is nothing to look into in `model`, or `model` refuses the inputs.
    ValueError
        If a name is unknown or `model` has no such value, or there is no such layer.
    ModelFormatError
        If what tokenizer.json says to do cannot be done to a text.

    Warns
    -----
    TruncationWarning
        If a text has more tokens than the model reads.

    Notes
    -----
    Of a whole model, with L tokens:

    =================== ==================== ============================================
    embeddings          (L, hidden)          the rows of the table of words ...
    positions           (L, hidden)          ... of positions ...
    token_types         (L, hidden)          ... and of token types
    embedding_sum       (L, hidden)          their sum, scaled
    embedding_norm      (L, hidden)          normalised: the input of the first layer
    embedding_output    (L, hidden)          widened, where tables are narrower than that
    output              (L, hidden)          the hidden states
    1_Pooling, ...      (dim,), (L, dim)     of a text: what each of ``model.modules``
                                             makes of them, the vector of the text last
    logits              (labels,)            of a text, or a pair, by a CrossEncoder: its
                                             scores, before an activation
    words               (vocab_size,)        of a text by a SparseEncoder: the weights of
                                             all words
    =================== ==================== ============================================

    Of each encoder layer; a layer traced by itself has those that it computes:

    =================== ==================== ============================================
    queries             (heads, L, head_dim) what attention reads, turned by rotary
    keys, values        (heads, L, head_dim) positions where the layer has them
    relative_scores     (heads, L, L)        what vectors of distances add to scores
    scores              (heads, L, L)        queries keys^T / sqrt(head_dim), with ALiBi
                                             and masks: -inf where a query may not look
    weights             (heads, L, L)        softmax of the scores; rows add up to 1
    context             (heads, L, head_dim) weights values
    attention_output    (L, hidden)          the heads side by side, through the output
                                             projection
    attention_sum       (L, hidden)          with the residual
    attention_norm      (L, hidden)          normalised; pre-norm: the input of attention
    intermediate        (L, intermediate)    the first dense layer, activated, and times
                                             the other one where there is a gate
    feed_forward_output (L, hidden)          the last dense layer of it
    feed_forward_sum    (L, hidden)          with the residual
    feed_forward_norm   (L, hidden)          normalised; pre-norm: the input of the
                                             feed-forward network
    output              (L, hidden)          what the layer gives to the next one
    =================== ==================== ============================================

    Padded positions hold zeros, and -inf in scores. What the fast path stores is taken
    from it, and the same to the bit as without a trace: all but scores, which are as
    accurate as the formula in float32. Time and memory beyond the forward pass are what
    is asked for: scores take L x L, weights L x L x L operations a head.

    References
    ----------
    Vaswani et al., "Attention Is All You Need" (2017), section 3; Devlin et al., "BERT"
    (2019), figure 2, for the embeddings.

    Examples
    --------
    >>> import fastattn as fa
    >>> model = fa.load("all-MiniLM-L6-v2")
    >>> trace = fa.trace(model, "A cat sleeps.", names=["embeddings", "weights"])
    >>> trace.tokens
    ['[CLS]', 'a', 'cat', 'sleeps', '.', '[SEP]']
    >>> trace["embeddings"].shape
    (6, 384)
    >>> trace.layers[0]["weights"].shape
    (12, 6, 6)

    A layer by itself, and one value of it:

    >>> layer = fa.nn.MultiHeadAttention(8, 2, rng=0)
    >>> fa.trace(layer, [[1.0] * 8] * 3, names="weights")["weights"][0].round(2)
    array([[0.33, 0.33, 0.33],
           [0.33, 0.33, 0.33],
           [0.33, 0.33, 0.33]], dtype=float32)
    """
    more = tuple(model._values) if isinstance(model, TextModel) else ()
    asked = _names(names, more), layers
    if isinstance(model, TextModel):
        if isinstance(inputs, str):
            return _trace_text(model, inputs, *asked, *arguments, **keywords)
        if isinstance(inputs, list | tuple) and all(isinstance(x, str) for x in inputs):
            return [_trace_text(model, x, *asked, *arguments, **keywords) for x in inputs]
        model = model.model
    if not isinstance(model, Traceable):
        kind = type(model).__name__
        raise TypeError(
            f"there is nothing to look into in a {kind}: give what load gives, or a layer"
        )
    for name in {"cache", "return_weights"} & keywords.keys():
        raise TypeError(f"trace does not take {name}")
    leading = np.shape(inputs)[: 2 if isinstance(model, EncoderModel) else -1]

    def shaped(value: Array) -> Array:
        if isinstance(model, FeedForward):  # all vectors were recorded as one sequence
            return value.reshape(*leading, value.shape[-1])
        return value.reshape(*leading[:-1], *value.shape[1:])  # one may be without a batch

    return _record(model, *asked, partial(model, inputs, *arguments, **keywords), shaped)


def _trace_text(
    model: TextModel,
    text: str,
    names: frozenset[str] | None,
    layers: int | Iterable[int] | None,
    pair: str | None = None,
) -> Trace:
    """Trace one text, or a pair of them."""
    if pair is not None:
        as_text(pair, "pair")
    encoding = _encoding(model, text, pair)
    if encoding.overflowing:
        message = f"the text was cut at {model.max_length} tokens"
        warnings.warn(message, TruncationWarning, stacklevel=3)
    tokens = Tokens(np.array(encoding.ids), np.array(encoding.type_ids), False)
    return _record(
        *(model.model, names, layers, partial(_compute, model, tokens)),
        *(operator.itemgetter(0), encoding, tuple(model._values)),
    )


def _encoding(model: TextModel, text: str, pair: str | None) -> "Encoding":
    """Tokenize a text, no more of it than is read, or a pair of them."""
    if pair is None:
        tokenization = Tokenization(model.tokenizer, model.prompt, 1)
        return tokenization.encodings([text], lambda _: "the text")[0]
    return encode_pair(model.tokenizer, model.prompt, (text, pair))


def _compute(model: TextModel, tokens: Tokens) -> None:
    """Compute all values of one text, those of what follows the encoder too."""
    ids, types, sequences = pack([tokens])
    packing = sequences.queries
    hidden = np.empty((len(ids), model.model.hidden_size), np.float32)
    program = program_for(packing)
    model.model.steps(program, ids, types, sequences, hidden)
    model._add_values(program, Features({TOKENS: hidden}, packing.cu_seqlens, ids))
    program.run()


def _record(
    model: Traceable,
    names: frozenset[str] | None,
    layers: int | Iterable[int] | None,
    call: Callable[[], object],
    shaped: Callable[[Array], Array],
    encoding: "Encoding | None" = None,
    modules: tuple[str, ...] = (),
) -> Trace:
    """Make a call of a model, and a trace of its values, each through `shaped`.

    `modules` are the names of those behind it.
    """
    encoder = model.encoder if isinstance(model, EncoderModel) else model
    count = len(encoder.layers) if isinstance(encoder, Encoder) else 0
    whole = isinstance(model, EncoderModel | Encoder)
    outside = (MODEL_VALUES if whole else LAYER_VALUES) + modules
    scopes = [(None, outside), *((i, LAYER_VALUES) for i in _indices(layers, count))]
    recorder = Recorder(
        {
            (layer, name)
            for layer, known in scopes
            for name in known
            if names is None or name in names
        }
    )
    if recorder.wanted:
        with suppress(Complete), recording(recorder):
            call()
    missing = (names or frozenset()) - {name for _, name in recorder.values}
    if missing:
        raise ValueError(f"this {type(model).__name__} has no {', '.join(sorted(missing))}")

    def inside(layer: int | None) -> dict[str, Array]:
        values = recorder.values.items()
        return {name: shaped(value) for (i, name), value in values if i == layer}

    stack = tuple(Trace(inside(i)) for i in range(count))
    return Trace(inside(None), stack, encoding)


def _names(
    names: str | Iterable[str] | None, modules: tuple[str, ...]
) -> frozenset[str] | None:
    """Check the names that are asked for, those of modules among them."""
    if names is None:
        return None
    asked = frozenset([names] if isinstance(names, str) else names)
    known = (*MODEL_VALUES[:-1], *LAYER_VALUES, *modules)
    for name in asked:
        as_choice(name, "names", known)
    return asked


def _indices(layers: int | Iterable[int] | None, count: int) -> list[int]:
    """Check the layers that are asked for, counted from the end where negative."""
    if layers is None:
        return list(range(count))
    asked = layers if isinstance(layers, Iterable) else [layers]
    indices = [as_index(i, "layers") for i in asked]
    for i in indices:
        if not -count <= i < count:
            raise ValueError(f"there are {count} layers to look into, got {i}")
    return [i % count for i in indices]

"""Heads that predict words: from hidden states to a number for each word of a text."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy import float32, int64
from numpy.typing import NDArray

from .._program import Program
from ..nn import Layer, Linear
from .families.family import SameRows, WordHead
from .folder import Folder
from .heads import DenseStack, read_headed
from .model import EncoderModel, describe
from .sparse import Splade
from .splade import splade_steps

Array = NDArray[float32]

# Weights that are in memory at once, before those that are zero are left out: 32 MB.
NUMBERS = 2**23


class Words(Layer):
    """What scores every word of the vocabulary at each token of a text.

    Attributes
    ----------
    places : sequence of SameRows
        Where its weights, and those of the encoder, stand in a file.
    width, vocab_size : int
        Sizes of what words are compared with, and of what comes of it.
    """

    def __init__(
        self,
        head: WordHead,
        hidden_size: int,
        width: int,
        vocab_size: int,
        places: Sequence[SameRows],
    ) -> None:
        super().__init__()
        self.places = places
        self.width, self.vocab_size = width, vocab_size
        self._stack = DenseStack("head.", hidden_size, [(head.transform, width)])
        self._decoder = Linear(width, vocab_size, head.has_bias, init="zeros")

    def _children(self) -> Mapping[str, Layer]:
        return {**self._stack._children(), "decoder.": self._decoder}

    def steps(self, program: Program, hidden: Array) -> Array:
        """Add what words are compared with: of hidden (tokens, hidden), (tokens, width)."""
        return self._stack.steps(program, hidden)

    def add_weights(
        self, program: Program, x: Array, starts: NDArray[int64], splade: Splade
    ) -> Array:
        """Add the weights of words to a program: of x (tokens, width), (texts, words)."""
        out = np.zeros((len(starts) - 1, self.vocab_size), float32)
        splade_steps(
            program,
            self._decoder,
            x,
            starts,
            out,
            pooling=splade.pooling,
            activation=splade.activation,
        )
        return out

    def weigh(
        self, x: Array, starts: NDArray[int64], splade: Splade, num_threads: int | None
    ) -> Iterator[Array]:
        """Compute the weights of all words for some texts at a time: (texts, words)."""
        step = max(1, NUMBERS // self.vocab_size)
        for first in range(0, len(starts) - 1, step):
            own = starts[first : first + step + 1]
            program = Program(num_threads=num_threads)
            read = x[own[0] : own[-1]]
            out = self.add_weights(program, read, own - own[0], splade)
            program.run()
            yield out


def read_words(folder: Folder, weights: str) -> tuple[EncoderModel, Words]:
    """Read a model that predicts words, its matrices then stored as `weights` says."""
    described = settings, family, architecture, files = describe(folder)
    if family.words is None:
        problem = f"{settings.get('model_type', str)} has no head for words that is read"
        raise settings.error("model_type", problem)
    head = family.words(settings)
    hidden = architecture.hidden_size
    sizes = hidden, architecture.embedding_size or hidden, architecture.vocab_size
    stored = files.names
    if not settings.get("tie_word_embeddings", bool, True):
        # transformers shares nothing then.
        stored = [*stored, f"{head.decoder}.weight", f"{head.decoder}.bias"]
    own = list(head.weights(*sizes, stored))
    model, parts, places = read_headed(weights, described, own)
    words = Words(head, *sizes, places)
    words.store_weights_as(weights)
    # A table of the decoder's own stands in the place of the one that it shares.
    parts["decoder."] = {
        "weight": model.word_embeddings.table_for_lookup,
        **parts["decoder."],
    }
    for part, layer in words._children().items():
        layer.load_state_dict(parts[part])
    return model, words

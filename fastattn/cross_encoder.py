"""Pairs of texts in, scores out: a tokenizer, an encoder and a head together."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from . import _rowwise
from ._program import Program
from .arrays import as_choice, as_flag, as_index, as_text
from .keywords import Renamed, check_options, in_our_words
from .models import EncoderModel
from .models.folder import Folder
from .models.heads import Head, read_classifier
from .models.modules import TOKENS, Features
from .models.pairs import PairTokenization, Template, read_template
from .models.saving import Writer
from .models.scoring import ACTIVATIONS as KNOWN
from .models.scoring import TASK, read_scoring, scoring_fields, scoring_files
from .models.sentence import General
from .models.tokenization import Tokenization, Tokens
from .models.tokenizer import read_tokenizer
from .nn.recorder import Kind
from .text_base import BATCH_TOKENS, ON_TRUNCATION, OnTruncation, TextModel, as_iterable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Scores = NDArray[float32]

# What scores may go through, "softmax" over the labels of an input.
ACTIVATIONS = (*KNOWN.values(), "softmax")

PAIRS = "a str, a (text, text) tuple, or several of one kind"


class CrossEncoder(TextModel):
    """A model that scores pairs of texts, or texts; :func:`fastattn.load` makes one.

    A reranker scores how well a document answers a query, a classifier has a label for
    each score. It may be used from many threads at once, and pickles.

    Attributes
    ----------
    model : EncoderModel
        ``model(input_ids, attention_mask=None, token_type_ids=None)`` gives the
        hidden states (batch, length, hidden) of token ids.
    head : Head
        What makes scores of the hidden states of an input.
    tokenizer : tokenizers.Tokenizer
        Cuts at `max_length` tokens and does not pad.
    special_tokens : dict of str
        Its special tokens by the names that transformers has for them: "pad_token", ...
    config : Config
        The settings in config.json, by the names they have there.
    max_length : int
        Tokens of a pair, or of a text, that are read, special tokens included. It can be
        set, as that of a :class:`TextEncoder`.
    labels : tuple of str
        The names of the scores of an input.
    activation : str
        What scores go through unless :meth:`predict` is told otherwise.
    prompt : str
        What stands in front of every text, or of the first of a pair, unless
        :meth:`predict` is told otherwise.
    prompts : dict of str
        The prompts of the folder by name.
    """

    _kind: ClassVar[str] = "CrossEncoder"
    _takes_pairs: ClassVar[bool] = True
    # Of sentence-transformers.
    activation_fn = Renamed("activation, the name of one")

    def __init__(
        self,
        model: EncoderModel,
        tokenizer: "Tokenizer",
        special_tokens: dict[str, str],
        *,
        head: Head,
        template: Template,
        activation: str,
        prompt: str,
        prompts: dict[str, str],
    ) -> None:
        super().__init__(model, tokenizer, special_tokens, prompt=prompt, prompts=prompts)
        self.head = head
        self.activation = activation
        self._template = template

    @classmethod
    def _read(cls, folder: Folder, weights: str) -> Self:
        scoring = read_scoring(folder)
        model, head = read_classifier(scoring.transformer, weights)
        tokenizer, special_tokens = read_tokenizer(scoring.transformer, model, TASK)
        alone = "sigmoid" if len(head.labels) == 1 else "identity"
        return cls(
            model,
            tokenizer,
            special_tokens,
            head=head,
            template=read_template(scoring.transformer, tokenizer, model),
            activation=scoring.activation or alone,
            prompt=scoring.general.prompt,
            prompts=scoring.general.prompts,
        )

    def __repr__(self) -> str:
        """Show the settings."""
        return (
            f"CrossEncoder({self.model}, max_length={self.max_length}, "
            f"labels={list(self.labels)}, activation={self.activation!r})"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the scores of an input."""
        return self.head.labels

    @property
    def nbytes(self) -> int:
        """Bytes that the weights take, in the formats they have."""
        return self.model.nbytes + self.head.nbytes

    @in_our_words
    def predict(
        self,
        inputs: str | tuple[str, str] | Iterable[str] | Iterable[tuple[str, str]],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        activation: str | None = None,
        batch_tokens: int = BATCH_TOKENS,
        on_truncation: OnTruncation = "warn",
        show_progress: bool | None = None,
        num_threads: int | None = None,
    ) -> Any:
        """Give scores to pairs of texts, or to texts.

        Parameters
        ----------
        inputs : (str, str), str, or iterable of either
            A pair of texts as a tuple, or one text; or any number of one kind. A list of
            two str is two texts, each with scores of its own, and no pair.
        prompt : str, optional
            Put in front of every text, or of the first of a pair; unless given, what the
            folder says, which mostly is nothing.
        prompt_name : str, optional
            The name of a prompt, one of :attr:`prompts`, in place of `prompt`.
        activation : str, optional
            What scores go through: "identity", "sigmoid", "tanh", "relu", "gelu", "silu",
            or "softmax" over the labels; what the folder says unless given.
        batch_tokens : int, optional
            Tokens computed at a time: memory grows with it, the result stays the same.
        on_truncation : {"warn", "ignore", "error"}
            What to do about inputs of more than `max_length` tokens: cut them and count
            them in one TruncationWarning, cut them, or refuse them.
        show_progress : bool, optional
            Show a progress bar; unless given, on long work when standard error is a
            terminal and tqdm is installed.
        num_threads : int, optional
            Threads to compute with; unless given, :func:`fastattn.get_num_threads`.

        Returns
        -------
        float32 array (inputs,) or (inputs, labels)
            The scores in the order of the inputs. Of a single input a scalar, or
            (labels,).

        Raises
        ------
        TypeError
            If an input is neither a text nor a pair, by its index, or there are both, or
            an option is of the wrong type.
        ValueError
            If an option has a value that it cannot have, a text holds a lone surrogate,
            or an input is too long and `on_truncation` is "error".
        ModelFormatError
            If what tokenizer.json says to do cannot be done to these texts.

        Warns
        -----
        TruncationWarning
            If inputs were cut; it says how many.

        Notes
        -----
        A pair is put together by the tokenizer's own template. One that is too long loses
        tokens of the longer text, and where both are longer than half of what is read,
        each keeps half. A text that stands in many pairs becomes tokens once.

        Unless a folder says otherwise, a single label goes through the sigmoid and
        several through nothing, as in sentence-transformers; pipelines of transformers
        take the softmax of several. The scores of an input are the same to the bit
        whatever else is in the call and whatever `batch_tokens` and the number of threads
        are. Memory beyond the weights and the result is O(batch_tokens).

        Examples
        --------
        >>> import fastattn as fa
        >>> model = fa.load("cross-encoder/ms-marco-MiniLM-L6-v2")
        >>> model.predict([("Is it cold?", "Yes."), ("Is it cold?", "A cat.")]).shape
        (2,)
        >>> model.predict(("Is it cold?", "Yes.")).shape
        ()
        """
        items, of_pairs, single = _as_inputs(inputs)
        scores = self._scores(
            items,
            partial(PairTokenization, self._template) if of_pairs else Tokenization,
            prompt=prompt,
            prompt_name=prompt_name,
            activation=activation,
            batch_tokens=batch_tokens,
            on_truncation=on_truncation,
            show_progress=show_progress,
            num_threads=num_threads,
        )
        result = scores[:, 0] if len(self.labels) == 1 else scores
        return result[0] if single else result

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        return_documents: bool = False,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Put documents in the order in which they answer a query.

        Parameters
        ----------
        query : str
            The first text of every pair.
        documents : iterable of str
            The second texts.
        top_k : int, optional
            Give so many of them, the best; all unless given.
        return_documents : bool, default False
            Give the texts of the documents, too.
        **options : optional
            What else :meth:`predict` takes, by keyword.

        Returns
        -------
        list of dict
            The best first, equal ones as they were: "corpus_id", the index of the
            document, "score", a float, and with `return_documents` "text".

        Raises
        ------
        TypeError, ModelFormatError
            As :meth:`predict`.
        ValueError
            If the model has several labels, `top_k` is less than 1, or as
            :meth:`predict`.

        Warns
        -----
        TruncationWarning
            If documents, or the query, were cut.

        Notes
        -----
        The scores are those that :meth:`predict` gives for the pairs. The query becomes
        tokens once.

        Examples
        --------
        >>> import fastattn as fa
        >>> model = fa.load("cross-encoder/ms-marco-MiniLM-L6-v2")
        >>> ranked = model.rank("Is it cold?", ["Yes.", "A cat.", "No."], top_k=2)
        >>> [sorted(entry) for entry in ranked]
        [['corpus_id', 'score'], ['corpus_id', 'score']]
        >>> ranked[0]["score"] >= ranked[1]["score"]
        True
        """
        check_options(CrossEncoder.rank, options, CrossEncoder.predict)
        if len(self.labels) > 1:
            raise ValueError(
                f"rank is about one score, and this model has {len(self.labels)} labels: "
                "predict gives the scores of pairs"
            )
        as_text(query, "query")
        as_flag(return_documents, "return_documents")
        if isinstance(documents, str):
            raise TypeError("documents must be several str, got str: pass a list of one")
        given = enumerate(as_iterable(documents, "documents", "several str"))
        texts = [as_text(text, f"documents[{index}]") for index, text in given]
        if top_k is not None:
            top_k = as_index(top_k, "top_k", 1)
        tokenize = partial(
            PairTokenization,
            self._template,
            name=lambda index, side: f"documents[{index}]" if side else "query",
        )
        scores = self._scores([(query, text) for text in texts], tokenize, **options)[:, 0]
        best = np.argsort(-scores, kind="stable")[:top_k]
        return [
            {"corpus_id": int(i), "score": float(scores[i])}
            | ({"text": texts[i]} if return_documents else {})
            for i in best
        ]

    def _files(self) -> dict[str, Writer]:
        general = General(self.prompt, self.prompts, "cosine", None)
        return (
            self.model.files(self.head, self.head.places, scoring_fields(self.activation))
            | self._tokenizer_files()
            | scoring_files(general, self.max_length, self.activation)
        )

    def _scores(
        self,
        items: list[Any],
        tokenize: Callable[["Tokenizer", str, int], Any],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        activation: str | None = None,
        batch_tokens: int = BATCH_TOKENS,
        on_truncation: OnTruncation = "warn",
        show_progress: bool | None = None,
        num_threads: int | None = None,
    ) -> Scores:
        """Give scores (inputs, labels) to inputs, in a method that a user has called."""
        if activation is None:
            activation = self.activation
        as_choice(activation, "activation", ACTIVATIONS)
        if activation == "softmax" and len(self.labels) == 1:
            raise ValueError('activation "softmax" is over labels, and this model has one')
        batch_tokens = as_index(batch_tokens, "batch_tokens", 1)
        as_choice(on_truncation, "on_truncation", ON_TRUNCATION)
        scores = np.empty((len(items), len(self.labels)), float32)
        for indices, tokens in self._batches(
            items,
            self._choose_prompt(prompt, prompt_name),
            tokenize,
            batch_tokens=batch_tokens,
            on_truncation=on_truncation,
            show_progress=show_progress,
            num_threads=num_threads,
        ):
            scores[indices] = self._compute(tokens, activation, num_threads)
        return scores

    @property
    def _values(self) -> dict[str, str]:
        return {"logits": f"{self.activation} of {', '.join(self.labels)}"}

    def _add_values(self, program: Program, features: Features) -> None:
        program.record("logits", self._logits(program, features), Kind.MATRIX)

    def _logits(self, program: Program, features: Features) -> Scores:
        """Add the scores of inputs, before an activation, to a program."""
        hidden = features.vectors[TOKENS]
        return self.head.steps(program, hidden, features.ids, features.starts)

    def _compute(
        self, texts: list[Tokens], activation: str, num_threads: int | None
    ) -> Scores:
        """Compute one batch: the scores of each input."""
        program, features = self._hidden_states(texts, num_threads)
        scores = self._logits(program, features)
        if activation == "softmax":
            _rowwise.softmax(program, scores, scores)
        elif activation != "identity":
            _rowwise.activate(program, scores.ravel(), activation, scores.ravel())
        program.run()
        return scores


def _as_inputs(inputs: Any) -> tuple[list[Any], bool, bool]:
    """Make a list of what a user gave: whether it is of pairs, and of a single input."""
    if isinstance(inputs, str):
        return [inputs], False, True
    if isinstance(inputs, tuple) and any(isinstance(text, str) for text in inputs):
        return [_as_pair(inputs, "inputs")], True, True
    items = list(as_iterable(inputs, "inputs", PAIRS))
    of_pairs = bool(items) and not isinstance(items[0], str)
    if of_pairs:
        return [_as_pair(x, f"inputs[{i}]") for i, x in enumerate(items)], True, False
    for index, item in enumerate(items):
        if not isinstance(item, str):
            kind = type(item).__name__
            raise TypeError(f"inputs[{index}] must be a str as those before, got {kind}")
    return items, False, False


def _as_pair(value: Any, name: str) -> tuple[str, str]:
    """Check a pair of texts."""
    if not isinstance(value, tuple | list):
        kind = type(value).__name__
        raise TypeError(f"{name} must be a (text, text) tuple, got {kind}")
    if len(value) != 2:
        kinds = ", ".join(type(text).__name__ for text in value)
        raise TypeError(f"{name} must be two texts, got ({kinds}): pass texts as a list")
    first, second = value
    return as_text(first, f"{name}[0]"), as_text(second, f"{name}[1]")

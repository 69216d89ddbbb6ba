"""The class CrossEncoder: pairs of texts in, scores out."""

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, ClassVar

import numpy as np

from ...arrays import as_flag, as_index, as_text
from ...cross_encoder import CrossEncoder as Encoder
from ...functional import softmax
from .base import Model, check_batch_size, takes_old_names
from .left_out import refuse_keywords
from .pool import Pool
from .tensors import apply, in_form

# Keywords of versions before, which `rank` takes.
WITHOUT_EFFECT = ("num_workers", "apply_softmax", "convert_to_numpy", "convert_to_tensor")


class CrossEncoder(Model):
    """A model that scores pairs of texts, as sentence-transformers has it.

    It is a :class:`fastattn.CrossEncoder`, its attribute `encoder`, with the constructor,
    the methods and the keywords of ``sentence_transformers.CrossEncoder``.

    Parameters
    ----------
    model_name_or_path : str or path
        As :func:`fastattn.load` takes it; a name that is not on this machine is downloaded
        unless `local_files_only` is true.
    num_labels : int, optional
        It must be what the model has.
    max_length : int, optional
        Tokens of a pair that are read.
    activation_fn : callable, optional
        What scores go through: a function of tensors, or of arrays where torch is not
        imported; what the folder says unless given.
    keep_in_fp32_modules : list of str, optional
        It has no effect: scores are float32.
    **options
        As for :class:`SentenceTransformer`.

    Examples
    --------
    >>> from fastattn.integrations.sentence_transformers import CrossEncoder
    >>> model = CrossEncoder("cross-encoder/ms-marco-MiniLM-L6-v2")
    >>> model.predict([["Is it cold?", "Yes."], ["Is it cold?", "A cat."]]).shape
    (2,)
    """

    _class: ClassVar[type[Encoder]] = Encoder
    _prompt_names: ClassVar[tuple[str, ...]] = ()
    encoder: Encoder

    @takes_old_names
    def __init__(
        self,
        model_name_or_path: Any = None,
        *,
        num_labels: int | None = None,
        max_length: int | None = None,
        activation_fn: Callable[[Any], Any] | None = None,
        keep_in_fp32_modules: list[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model_name_or_path, **options)
        if num_labels not in (None, self.num_labels):
            raise ValueError(
                f"num_labels must be {self.num_labels}, which the model has, "
                f"got {num_labels!r}"
            )
        if max_length is not None:
            self.max_seq_length = max_length
        self.activation_fn = activation_fn

    @property
    def num_labels(self) -> int:
        """How many scores a pair has."""
        return len(self.encoder.labels)

    @property
    def max_length(self) -> int:
        """The same as `max_seq_length`."""
        return self.max_seq_length

    @max_length.setter
    def max_length(self, value: int) -> None:
        self.max_seq_length = value

    @property
    def activation_fn(self) -> Callable[[Any], Any] | None:
        """What scores go through; None is what the folder says. It can be set."""
        return self._activation_fn

    @activation_fn.setter
    def activation_fn(self, function: Callable[[Any], Any] | None) -> None:
        self._activation_fn = _as_function(function)

    default_activation_function = activation_fn

    def set_keep_in_fp32_modules(self, module_names: list[str]) -> None:
        """Do nothing: scores are float32."""

    @takes_old_names
    def predict(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: Callable[[Any], Any] | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        pool: Pool | None = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Give scores to pairs of texts.

        Parameters
        ----------
        inputs : list of [str, str], or one
            Pairs, as lists or tuples; a single one gives its score alone. A str is a text
            of its own.
        prompt_name, prompt : str, optional
            What is put in front of the first of a pair, by its name, or the text of it.
        show_progress_bar : bool, optional
            As `show_progress` of :meth:`fastattn.CrossEncoder.predict`.
        activation_fn : callable, optional
            What scores (n, labels) go through, in place of the attribute of this name.
        apply_softmax : bool
            Take the softmax over several labels, too.
        convert_to_numpy, convert_to_tensor : bool
            An array, or a tensor; with neither of them a list of tensors.
        device : str or list of str, optional
            "cpu", or a list of as many as there are to be processes.
        pool : dict, optional
            Processes that :meth:`start_multi_process_pool` started.
        chunk_size : int, optional
            Pairs that a process gets at a time.
        batch_size : int
            It has no effect, nor has `num_workers`.

        Returns
        -------
        array (n,) or (n, labels) float32
            The scores.
        """
        kwargs.pop("num_workers", None)
        refuse_keywords("predict", kwargs)
        check_batch_size(batch_size)
        if not isinstance(inputs, str | tuple):
            inputs = _listed(inputs, "inputs")
        single = self.is_singular_input(inputs)
        function = _as_function(activation_fn) or self.activation_fn
        options: dict[str, Any] = {
            "prompt": self._prompt("predict", prompt, prompt_name),
            "activation": "identity" if function else None,
            "show_progress": show_progress_bar,
            "on_truncation": "ignore",
        }
        items = [_as_input(each) for each in ([inputs] if single else inputs)]
        parts = self._each("predict", items, options, device, pool, chunk_size)
        scores = np.concatenate(parts).reshape(len(items), self.num_labels)
        if function:
            scores = apply(function, scores).reshape(scores.shape)
        if apply_softmax and self.num_labels > 1:
            scores = softmax(scores)
        rows = scores[:, 0] if self.num_labels == 1 else scores
        given = in_form(rows, convert_to_numpy, convert_to_tensor)
        return given[0] if single else given

    @takes_old_names
    def rank(
        self,
        query: str,
        documents: list[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: Callable[[Any], Any] | None = None,
        device: Any = None,
        pool: Pool | None = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """Put documents in the order in which they answer a query.

        Parameters
        ----------
        query : str
            The first text of every pair.
        documents : list of str
            The second texts.
        top_k : int, optional
            Give so many of them, the best; all unless given.
        return_documents : bool
            Give their texts, too.
        prompt_name, prompt, show_progress_bar, activation_fn, device, pool, chunk_size, \
        batch_size
            As for :meth:`predict`.

        Returns
        -------
        list of dict
            "corpus_id" and "score", with `return_documents` "text", the best first.
        """
        if self.num_labels != 1:
            raise ValueError(
                f"rank is about one score, and this model has {self.num_labels} labels: "
                "predict gives the scores of pairs"
            )
        for name in WITHOUT_EFFECT:
            kwargs.pop(name, None)
        refuse_keywords("rank", kwargs)
        as_flag(return_documents, "return_documents")
        if top_k is not None:
            as_index(top_k, "top_k", 1)
        as_text(query, "query")
        if isinstance(documents, str):
            raise TypeError("documents must be a list of str, got str")
        given = enumerate(_listed(documents, "documents"))
        documents = [as_text(text, f"documents[{index}]") for index, text in given]
        scores = self.predict(
            [(query, document) for document in documents],
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            activation_fn=activation_fn,
            device=device,
            pool=pool,
            chunk_size=chunk_size,
        )
        return [
            {"corpus_id": int(i), "score": float(scores[i])}
            | ({"text": documents[i]} if return_documents else {})
            for i in np.argsort(-scores, kind="stable")[:top_k]
        ]

    def is_singular_input(self, inputs: Any) -> bool:
        """Whether something is one pair, or one text."""
        if isinstance(inputs, str):
            return True
        return len(inputs) > 0 and isinstance(inputs[0], str)


def _as_function(given: Any) -> Callable[[Any], Any] | None:
    """Check what scores are to go through."""
    if given is not None and not callable(given):
        raise TypeError(
            f"activation_fn must be a function of scores, as torch.nn.Sigmoid() is, got "
            f"{given!r}: fastattn.load(...).predict(..., activation=) takes names"
        )
    function: Callable[[Any], Any] | None = given
    return function


def _as_input(given: Any) -> Any:
    """Make a tuple of a pair that may be a list or an array."""
    return given if isinstance(given, str) else tuple(_listed(given, "a pair"))


def _listed(given: Any, name: str) -> list[Any]:
    """Make a list of what has an order; the keys of a mapping are not what it holds."""
    if isinstance(given, Mapping | Set) or not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a list, got {type(given).__name__}")
    return list(given)

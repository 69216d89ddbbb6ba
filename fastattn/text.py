"""Texts in, vectors out: a tokenizer, an encoder and a pooling together."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy import float32
from numpy.typing import ArrayLike, NDArray

from . import similarity
from ._program import Program
from ._threads import thread_count
from .arrays import as_choice, as_flag, as_index
from .errors import TruncationWarning
from .keywords import check_options, in_our_words
from .models import EncoderModel, read_model
from .models.chain import KINDS, Chain, read_chain
from .models.folder import Folder, errors_of_library
from .models.module_list import STATIC, list_modules
from .models.modules import Features
from .models.saving import Writer
from .models.sentence import General, read_general, sentence_files
from .models.static import read_static, static_files
from .models.tokenization import Tokens
from .models.tokenizer import read_static_tokenizer, read_tokenizer
from .quantize import Precision, as_precision
from .streams import Part, parts
from .text_base import (
    BATCH_TOKENS,
    DOCUMENT_PROMPTS,
    ON_TRUNCATION,
    QUERY_PROMPTS,
    OnTruncation,
    TextModel,
    as_iterable,
    as_texts,
    progress,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class _Vectors(NamedTuple):
    """What sentence vectors are to be: of so many values, of unit length, stored how."""

    dim: int
    normalize: bool
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class _Call:
    """The options of a call, checked; `wanted` None: the vectors of tokens."""

    prompt: str
    prompt_tokens: int
    wanted: _Vectors | None
    batch_tokens: int
    on_truncation: OnTruncation
    show_progress: bool | None
    num_threads: int | None

    def empty(self, count: int) -> Any:
        """Make room for the results of so many texts."""
        if self.wanted is None:
            return [None] * count
        return self.wanted.precision.empty(count, self.wanted.dim)


class TextEncoder(TextModel):
    """A model that turns texts into vectors; :func:`fastattn.load` makes one.

    It may be used from many threads at once, and pickles.

    Attributes
    ----------
    model : EncoderModel
        ``model(input_ids, attention_mask=None, token_type_ids=None)`` gives the
        hidden states (batch, length, hidden) of token ids.
    tokenizer : tokenizers.Tokenizer
        Cuts at `max_length` tokens and does not pad.
    special_tokens : dict of str
        Its special tokens by the names that transformers has for them: "pad_token", ...
    config : Config
        The settings in config.json, by the names they have there.
    max_length : int
        Tokens of a text that are read, special tokens included. Set it to read fewer, or
        as many as the model has positions for; that holds from the next call on, in every
        thread.
    modules : mapping of str to module
        What makes one vector of the hidden states of a text, in order, by the names that
        sentence-transformers has for the folders of its modules: "1_Pooling", ...
    dim : int
        Values of a vector that :meth:`encode` gives unless told otherwise.
    prompt : str
        What :meth:`encode` puts in front of every text unless told otherwise.
    prompts : dict of str
        The prompts of the folder by name, for ``encode(texts, prompt=prompts["query"])``.
    similarity_fn_name : {"cosine", "dot", "euclidean", "manhattan"}
        How :meth:`similarity` compares vectors.
    truncate_dim : int or None
        How many leading values :meth:`encode` keeps of each vector unless told otherwise;
        None keeps all.
    """

    _kind: ClassVar[str] = "TextEncoder"

    def __init__(
        self,
        model: EncoderModel,
        tokenizer: "Tokenizer",
        special_tokens: dict[str, str],
        *,
        modules: Chain,
        prompt: str,
        prompts: dict[str, str],
        similarity_fn_name: str = "cosine",
        truncate_dim: int | None = None,
    ) -> None:
        super().__init__(model, tokenizer, special_tokens, prompt=prompt, prompts=prompts)
        self.modules = modules
        self.similarity_fn_name = similarity_fn_name
        self.truncate_dim = truncate_dim

    @classmethod
    def _read(cls, folder: Folder, weights: str) -> Self:
        general = read_general(folder)
        listed = list_modules(folder, KINDS, ("Transformer", STATIC))
        if listed.static:
            model = read_static(listed.transformer)
            tokenizer = read_static_tokenizer(listed.transformer, model)
        else:
            model = read_model(listed.transformer, weights)
            tokenizer = read_tokenizer(listed.transformer, model)
        return cls(
            model,
            *tokenizer,
            modules=read_chain(listed, model.hidden_size, weights),
            **general._asdict(),
        )

    def __repr__(self) -> str:
        """Show the settings."""
        return (
            f"TextEncoder({self.model}, max_length={self.max_length}, "
            f"modules={self.modules})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the weights take, those of the modules too."""
        return super().nbytes + sum(module.nbytes for module in self.modules.values())

    @property
    def similarity_fn_name(self) -> str:
        """How :meth:`similarity` compares vectors; it can be set."""
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, name: str) -> None:
        self._similarity_fn_name: str = as_choice(
            name, "similarity_fn_name", similarity.FUNCTIONS
        )

    @property
    def truncate_dim(self) -> int | None:
        """Values that :meth:`encode` keeps of a vector, None for all; it can be set."""
        return self._truncate_dim

    @truncate_dim.setter
    def truncate_dim(self, value: int | None) -> None:
        given = value is not None
        self._truncate_dim = as_index(value, "truncate_dim", 1) if given else None

    @property
    def dim(self) -> int:
        """Values of a vector that :meth:`encode` gives unless told otherwise."""
        # sentence-transformers lets a folder cut at more values than there are.
        return min(self.truncate_dim or self.modules.dim, self.modules.dim)

    @in_our_words
    def encode(
        self,
        inputs: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int = BATCH_TOKENS,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        output: Literal["sentence", "tokens"] = "sentence",
        precision: str = "float32",
        ranges: ArrayLike | None = None,
        on_truncation: OnTruncation = "warn",
        show_progress: bool | None = None,
        num_threads: int | None = None,
    ) -> Any:
        """Turn texts into vectors.

        Parameters
        ----------
        inputs : str or iterable of str
            One text, or any number of them: a list, a column of a table, a generator.
        prompt : str, optional
            Put in front of every text; unless given, what the folder says, which mostly
            is nothing.
        prompt_name : str, optional
            The name of a prompt in `prompts`, in place of `prompt`.
        batch_tokens : int, optional
            Tokens computed at a time: memory grows with it, the result stays the same.
        normalize : bool, optional
            Scale vectors to unit length; what the folder says unless given.
        truncate_dim : int, optional
            Keep so many leading values of each vector, and if they are scaled, scale
            them to unit length; what the folder says unless given. sentence-transformers
            scales before it cuts where the folder asks for scaling; the directions are
            the same.
        output : {"sentence", "tokens"}
            One vector per text, or one for each of its tokens, special tokens included:
            hidden states, and what modules make of them that are about tokens.
        precision : str, default "float32"
            How sentence vectors are stored: "float32", "float16", "int8", "uint8", or, with
            a bit for each value that says whether it is positive, "binary" and "ubinary".
        ranges : array_like (2, dim), optional
            For "int8" and "uint8", which need them: the lowest and the highest value of
            each component, between which 256 integers are spread.
        on_truncation : {"warn", "ignore", "error"}
            What to do about texts of more than `max_length` tokens: cut them and count
            them in one TruncationWarning, cut them, or refuse them.
        show_progress : bool, optional
            Show a progress bar; unless given, on long work when standard error is a
            terminal and tqdm is installed.
        num_threads : int, optional
            Threads to compute with; unless given, :func:`fastattn.get_num_threads`.

        Returns
        -------
        array (dim,) or (texts, dim)
            The vector of one str; the vectors of several texts, in their order: float32
            unless `precision` says otherwise, int8 for "binary", uint8 for "ubinary", which
            have ``(dim + 7) // 8`` columns. With `truncate_dim`, that instead of `dim`.
            With ``output="tokens"``, an array (tokens, hidden) for one str, and a list of
            them for several texts.

        Raises
        ------
        TypeError
            If a text is not a str, by its index, if `inputs` are a table, a mapping or a
            set, or an option is of the wrong type.
        ValueError
            If an option has a value that it cannot have, a text holds a lone surrogate,
            or one is too long and `on_truncation` is "error".
        ModelFormatError
            If what tokenizer.json says to do cannot be done to these texts.

        Warns
        -----
        TruncationWarning
            If texts were cut; it says how many.

        Notes
        -----
        The vector of a text is the same to the bit whatever else is in the call and
        whatever `batch_tokens` and the number of threads are. Unit vectors are within
        1e-6 of what transformers computes in float64. Memory beyond the weights and the
        result is O(batch_tokens).

        Examples
        --------
        >>> import fastattn as fa
        >>> model = fa.load("all-MiniLM-L6-v2")
        >>> model.encode("This is an example sentence")[:3].round(4)
        array([0.0677, 0.0635, 0.0487], dtype=float32)
        """
        texts = as_texts(inputs)
        call = self._call(
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            output=output,
            precision=precision,
            ranges=ranges,
            on_truncation=on_truncation,
            show_progress=show_progress,
            num_threads=num_threads,
        )
        results = call.empty(len(texts))
        for indices, tokens in self._batches(
            texts,
            call.prompt,
            batch_tokens=call.batch_tokens,
            on_truncation=call.on_truncation,
            show_progress=call.show_progress,
            num_threads=call.num_threads,
        ):
            self._compute(tokens, call, results, indices)
        return results[0] if isinstance(inputs, str) else results

    def encode_query(self, inputs: str | Iterable[str], **options: Any) -> Any:
        """Turn queries into vectors: :meth:`encode` with the prompt "query".

        Parameters
        ----------
        inputs : str or iterable of str
            One query, or any number of them.
        **options
            Those of :meth:`encode`. A `prompt` or a `prompt_name` stands in place of the
            one that is named "query"; without any of them the default is what it is.

        Returns
        -------
        array (dim,) or (texts, dim)
            As :meth:`encode`.

        Examples
        --------
        >>> import fastattn as fa
        >>> prompts = {"query": "Represent this sentence for searching: "}
        >>> model = fa.load("all-MiniLM-L6-v2", prompts=prompts)
        >>> model.encode_query("Who sleeps?").shape
        (384,)
        """
        return self.encode(inputs, **self._with_prompt(options, QUERY_PROMPTS))

    def encode_document(self, inputs: str | Iterable[str], **options: Any) -> Any:
        """Turn documents into vectors: :meth:`encode` with the prompt for them.

        Parameters
        ----------
        inputs : str or iterable of str
            One document, or any number of them.
        **options
            Those of :meth:`encode`. A `prompt` or a `prompt_name` stands in place of the
            first that there is of "document", "passage" and "corpus"; without any of them
            the default is what it is.

        Returns
        -------
        array (dim,) or (texts, dim)
            As :meth:`encode`.
        """
        return self.encode(inputs, **self._with_prompt(options, DOCUMENT_PROMPTS))

    def encode_stream(self, inputs: Iterable[str], **options: Any) -> Iterator[Any]:
        """Turn texts into vectors as they come, however many there are.

        Parameters
        ----------
        inputs : iterable of str
            The texts, which may have no end.
        **options
            Those of :meth:`encode`.

        Yields
        ------
        array (n, dim), or list of array (tokens, hidden) with ``output="tokens"``
            The results of the next texts, in order.

        Raises
        ------
        TypeError, ValueError
            As :meth:`encode`: about options at once, about a text when the results of all
            before it have been given.

        Warns
        -----
        TruncationWarning
            At the first text that is cut, and at the end with their number.

        Notes
        -----
        A vector has the bits that :meth:`encode` gives it. Memory is that of about a
        thousand texts and of a batch.

        Examples
        --------
        >>> import fastattn as fa
        >>> model = fa.load("all-MiniLM-L6-v2")
        >>> lines = (f"line {i}" for i in range(1500))
        >>> [block.shape for block in model.encode_stream(lines)]
        [(1024, 384), (476, 384)]
        """
        check_options(TextEncoder.encode_stream, options, TextEncoder.encode)
        call = self._call(**options)
        return self._stream(parts(as_iterable(inputs)), call)

    def _stream(self, texts: Iterator[Part], call: _Call) -> Iterator[Any]:
        """Compute one part of the texts after the other."""
        count = cut = 0
        with progress(None, call.show_progress) as advance:
            for part in texts:
                results, is_cut = self._part(part, call, advance)
                size, problem = len(part.texts), part.problem
                limit, first = self.max_length, int(is_cut.argmax()) if size else 0
                if is_cut.any() and call.on_truncation == "error":
                    size = first
                    name = f"inputs[{part.first + first}]"
                    problem = ValueError(f"{name} has more than {limit} tokens")
                elif is_cut.any() and call.on_truncation == "warn" and not cut:
                    message = f"inputs[{part.first + first}] cut at {limit} tokens"
                    warnings.warn(message, TruncationWarning, stacklevel=2)
                if size:
                    yield results[:size]
                if problem is not None:
                    raise problem
                count, cut = count + size, cut + int(is_cut.sum())
        if cut and call.on_truncation == "warn":
            message = f"{cut} of {count} texts cut at {self.max_length} tokens"
            warnings.warn(message, TruncationWarning, stacklevel=2)

    def _part(
        self, part: Part, call: _Call, advance: Callable[[int], Any]
    ) -> tuple[Any, NDArray[np.bool_]]:
        """Compute one part: its results, and which of its texts were cut."""
        results = call.empty(len(part.texts))
        is_cut = np.zeros(len(part.texts), np.bool_)
        for indices, tokens in self._batches(
            part.texts,
            call.prompt,
            batch_tokens=call.batch_tokens,
            on_truncation="ignore",
            show_progress=False,
            num_threads=call.num_threads,
        ):
            self._compute(tokens, call, results, indices)
            is_cut[indices] = [text.cut for text in tokens]
            advance(len(indices))
        return results, is_cut

    def similarity(self, a: ArrayLike, b: ArrayLike) -> NDArray[float32]:
        """Compare each vector of `a` with each of `b`, as the model's folder says.

        Parameters
        ----------
        a, b : array_like (n, dim) and (m, dim), or (dim,) for one vector, float32
            What :meth:`encode` gives.

        Returns
        -------
        array (n, m) float32
            By `similarity_fn_name`: "cosine" ``a[i] . b[j] / (|a[i]| |b[j]|)``, from -1
            to 1 up to rounding, 0 where a vector is zero; "dot" ``a[i] . b[j]``;
            "euclidean" and "manhattan" the distance of that name, negative.

        Raises
        ------
        TypeError
            If a vector is not float32.
        ValueError
            If the vectors of `a` and `b` differ in length.

        Examples
        --------
        >>> import fastattn as fa
        >>> model = fa.load("all-MiniLM-L6-v2")
        >>> cat, kitten, stocks = model.encode(["A cat", "A kitten", "Stocks fell"])
        >>> model.similarity(cat, [kitten, stocks]).round(1)
        array([[0.8, 0.1]], dtype=float32)
        """
        return similarity.every(self.similarity_fn_name, a, b)

    def similarity_pairwise(self, a: ArrayLike, b: ArrayLike) -> NDArray[float32]:
        """Compare each vector of `a` with the one of `b` in its place.

        Parameters
        ----------
        a, b : array_like (n, dim), or (dim,) for one vector, float32
            What :meth:`encode` gives, of one shape.

        Returns
        -------
        array (n,), or () for one pair, float32
            By `similarity_fn_name`, as :meth:`similarity`.

        Raises
        ------
        TypeError
            If a vector is not float32.
        ValueError
            If the shapes of `a` and `b` differ.

        Examples
        --------
        >>> import fastattn as fa
        >>> model = fa.load("all-MiniLM-L6-v2")
        >>> cat, kitten, stocks = model.encode(["A cat", "A kitten", "Stocks fell"])
        >>> model.similarity_pairwise([cat, cat], [kitten, stocks]).round(1)
        array([0.8, 0.1], dtype=float32)
        """
        return similarity.pairwise(self.similarity_fn_name, a, b)

    def _files(self) -> dict[str, Writer]:
        general = General(
            self.prompt, self.prompts, self.similarity_fn_name, self.truncate_dim
        )
        files = self.model.files() | self._tokenizer_files()
        files |= sentence_files(general, self.max_length)
        if self.modules.static:
            files = static_files(files)
        return files | self.modules.files()

    @property
    def _values(self) -> dict[str, str]:
        return {name: repr(module) for name, module in self.modules.items()}

    def _add_values(self, program: Program, features: Features) -> None:
        features.prompt_tokens = self._count_prompt_tokens(self.prompt)
        self.modules.add_all(program, features)

    def _call(
        self,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int = BATCH_TOKENS,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        output: str = "sentence",
        precision: str = "float32",
        ranges: ArrayLike | None = None,
        on_truncation: OnTruncation = "warn",
        show_progress: bool | None = None,
        num_threads: int | None = None,
    ) -> _Call:
        """Check the options of a call."""
        as_choice(output, "output", ("sentence", "tokens"))
        wanted = None
        if output == "sentence":
            wanted = self._vectors(normalize, truncate_dim, precision, ranges)
        elif (normalize, truncate_dim, precision, ranges) != (None, None, "float32", None):
            raise ValueError(
                "normalize, truncate_dim, precision and ranges are about sentence vectors: "
                'with output="tokens" there are none'
            )
        if show_progress is not None:
            as_flag(show_progress, "show_progress")
        thread_count(num_threads)
        prompt = self._choose_prompt(prompt, prompt_name)
        return _Call(
            prompt=prompt,
            prompt_tokens=self._count_prompt_tokens(prompt),
            wanted=wanted,
            batch_tokens=as_index(batch_tokens, "batch_tokens", 1),
            on_truncation=as_choice(on_truncation, "on_truncation", ON_TRUNCATION),
            show_progress=show_progress,
            num_threads=num_threads,
        )

    def _count_prompt_tokens(self, prompt: str) -> int:
        """Count the tokens of a prompt that modules leave out, the first one among them.

        The special token behind a text is none of them; it stands behind the prompt alone.
        """
        if self.modules.include_prompt or not prompt:
            return 0
        with errors_of_library("tokenizer.json"):
            tokens = self.tokenizer.encode(prompt).tokens
        return len(tokens) - len({*tokens[-1:]} & {*self.special_tokens.values()})

    def _vectors(
        self,
        normalize: bool | None,
        truncate_dim: int | None,
        precision: str,
        ranges: ArrayLike | None,
    ) -> _Vectors:
        """Find out what sentence vectors are to be."""
        dim, unit = self.dim, self.modules.unit
        if truncate_dim is not None:
            dim = as_index(truncate_dim, "truncate_dim", 1, self.modules.dim)
        if normalize is not None:
            unit = as_flag(normalize, "normalize")
        return _Vectors(dim, unit, as_precision(precision, ranges, dim))

    def _compute(
        self, texts: list[Tokens], call: _Call, results: Any, indices: list[int]
    ) -> None:
        """Compute one batch, and put what comes of each text into its place."""
        program, features = self._hidden_states(texts, call.num_threads)
        starts, features.prompt_tokens = features.starts, call.prompt_tokens
        if call.wanted is None:
            vectors = self.modules.add_for_tokens(program, features)
            program.run()
            for index, states in zip(indices, np.split(vectors, starts[1:-1]), strict=True):
                results[index] = np.ascontiguousarray(states)
            return
        dim, normalize, precision = call.wanted
        vectors = self.modules.add_for_texts(program, features, dim, normalize)
        program.run()
        results[indices] = precision.of(vectors)

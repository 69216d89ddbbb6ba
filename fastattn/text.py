"""Texts in, vectors out: a tokenizer, an encoder and a pooling together."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from numpy import float32
from numpy.typing import ArrayLike, NDArray

from . import similarity
from ._program import Program
from .arrays import as_choice, as_flag, as_index
from .models import EncoderModel, read_model
from .models.batches import pack
from .models.chain import KINDS, Chain, read_chain
from .models.folder import Folder
from .models.module_list import list_modules
from .models.modules import TOKENS, Features
from .models.saving import write_folder
from .models.sentence import General, read_general, sentence_files
from .models.tokenization import Tokens
from .models.tokenizer import read_tokenizer
from .models.tokenizer_files import tokenizer_files
from .text_base import BATCH_TOKENS, ON_TRUNCATION, OnTruncation, TextModel, as_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class _Vectors(NamedTuple):
    """What sentence vectors are to be: how many values, and whether of unit length."""

    dim: int
    normalize: bool


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
        super().__init__(model, tokenizer, special_tokens)
        self.modules = modules
        self.prompt = prompt
        self.prompts = prompts
        self.similarity_fn_name = similarity_fn_name
        self.truncate_dim = truncate_dim

    @classmethod
    def _read(cls, folder: Folder, weights: str) -> Self:
        general = read_general(folder)
        listed = list_modules(folder, KINDS)
        model = read_model(listed.transformer, weights)
        return cls(
            model,
            *read_tokenizer(listed.transformer, model),
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
    def dim(self) -> int:
        """Values of a vector that :meth:`encode` gives unless told otherwise."""
        # sentence-transformers lets a folder cut at more values than there are.
        return min(self.truncate_dim or self.modules.dim, self.modules.dim)

    def encode(
        self,
        inputs: str | Iterable[str],
        *,
        prompt: str | None = None,
        batch_tokens: int = BATCH_TOKENS,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        output: Literal["sentence", "tokens"] = "sentence",
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
        array (dim,) or (texts, dim) float32
            The vector of one str; the vectors of several texts, in their order. With
            `truncate_dim`, that instead of `dim`. With ``output="tokens"``, an array
            (tokens, hidden) for one str, and a list of them for several texts.

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
        batch_tokens = as_index(batch_tokens, "batch_tokens", 1)
        if prompt is not None and not isinstance(prompt, str):
            raise TypeError(f"prompt must be a str, got {type(prompt).__name__}")
        as_choice(on_truncation, "on_truncation", ON_TRUNCATION)
        wanted = self._check_output(output, normalize, truncate_dim)
        results: Any = [None] * len(texts)
        if wanted is not None:
            results = np.empty((len(texts), wanted.dim), float32)
        for indices, tokens in self._batches(
            texts,
            self.prompt if prompt is None else prompt,
            batch_tokens=batch_tokens,
            on_truncation=on_truncation,
            show_progress=show_progress,
            num_threads=num_threads,
        ):
            computed = self._compute(tokens, wanted, num_threads)
            for index, result in zip(indices, computed, strict=True):
                results[index] = result
        return results[0] if isinstance(inputs, str) else results

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

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that :meth:`load` and sentence-transformers read.

        Parameters
        ----------
        folder : str or path
            A new folder, or an empty one. It is there as a whole or not at all.

        Raises
        ------
        FileExistsError
            If there is a file of this name, or something in the folder.

        Notes
        -----
        What is loaded from it gives the same vectors to the bit. The weights are written
        as the float32 numbers that are computed with, however they are stored; what has
        been set since `load`, `max_length` and prompts among it, is written as it is now.
        """
        general = General(
            self.prompt, self.prompts, self.similarity_fn_name, self.truncate_dim
        )
        write_folder(
            folder,
            self.model.files()
            | tokenizer_files(self.tokenizer, self.special_tokens)
            | self.modules.files()
            | sentence_files(general, self.max_length),
        )

    def _check_output(
        self, output: str, normalize: bool | None, truncate_dim: int | None
    ) -> _Vectors | None:
        """Find out what is wanted: sentence vectors, or None for hidden states."""
        as_choice(output, "output", ("sentence", "tokens"))
        if output == "sentence":
            dim = self.dim
            if truncate_dim is not None:
                dim = as_index(truncate_dim, "truncate_dim", 1, self.modules.dim)
            return _Vectors(
                dim=dim,
                normalize=(
                    self.modules.unit
                    if normalize is None
                    else as_flag(normalize, "normalize")
                ),
            )
        if normalize is not None or truncate_dim is not None:
            raise ValueError(
                "normalize and truncate_dim are about sentence vectors: with "
                'output="tokens" there are none'
            )
        return None

    def _compute(
        self, texts: list[Tokens], wanted: _Vectors | None, num_threads: int | None
    ) -> Iterable[NDArray[float32]]:
        """Compute one batch: a vector per text, or the hidden states of its tokens."""
        ids, types, sequences = pack(texts)
        hidden = np.empty((len(ids), self.model.hidden_size), float32)
        starts = sequences.queries.cu_seqlens
        program = Program(num_threads=num_threads)
        self.model.steps(program, ids, types, sequences, hidden)
        features = Features({TOKENS: hidden}, starts)
        if wanted is None:
            vectors = self.modules.add_for_tokens(program, features)
            program.run()
            return np.split(vectors, starts[1:-1])
        vectors = self.modules.add_for_texts(program, features, *wanted)
        program.run()
        return vectors

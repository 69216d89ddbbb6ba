"""Texts in, sparse vectors of words out: a tokenizer, an encoder and its word head."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy import float32, int64
from numpy.typing import NDArray

from ._program import Program
from .arrays import as_choice, as_index
from .keywords import in_our_words
from .models import EncoderModel
from .models.folder import Folder
from .models.modules import TOKENS, Features
from .models.router import DOCUMENT, QUERY
from .models.saving import Writer
from .models.sentence import General
from .models.sparse import TASK, Splade, read_sparse, sparse_files
from .models.token_weights import TokenWeights, read_token_weights
from .models.tokenization import Tokens
from .models.tokenizer import read_tokenizer
from .models.words import Words, read_words
from .nn.recorder import Kind
from .sparse_vectors import Row, SparseVectors
from .text_base import (
    BATCH_TOKENS,
    DOCUMENT_PROMPTS,
    ON_TRUNCATION,
    QUERY_PROMPTS,
    OnTruncation,
    TextModel,
    as_texts,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Decoded = list[tuple[str, float]]


class SparseEncoder(TextModel):
    """A model that turns texts into weights of words; :func:`fastattn.load` makes one.

    It may be used from many threads at once, and pickles.

    Attributes
    ----------
    model : EncoderModel
        ``model(input_ids, attention_mask=None, token_type_ids=None)`` gives the
        hidden states (batch, length, hidden) of token ids.
    words : Words
        What scores every word of the vocabulary at each token.
    splade : Splade
        What makes one weight of the scores of a word: its `pooling` and `activation`.
    query_weights : TokenWeights or None
        Of a model whose queries need no encoder, a weight for each token; their tokenizer
        has a limit of its own, and `max_length` is that of documents.
    default_route : str or None
        Whether a text is a "query" or a "document" for :meth:`encode`.
    max_active_dims : int or None
        How many weights :meth:`encode` keeps of a text, the heaviest; None for all.
    similarity_fn_name : str
        How :meth:`similarity` compares vectors: "dot" unless the folder says otherwise.
    tokenizer : tokenizers.Tokenizer
        Cuts at `max_length` tokens and does not pad.
    special_tokens : dict of str
        Its special tokens by the names that transformers has for them: "pad_token", ...
    config : Config
        The settings in config.json, by the names they have there.
    max_length : int
        Tokens of a text that are read, as of a :class:`TextEncoder`.
    prompt : str
        What stands in front of every text unless :meth:`encode` is told otherwise.
    prompts : dict of str
        The prompts of the folder by name.

    Notes
    -----
    The weight of a word is ``log(1 + max(0, max_t score_t))`` over the tokens t of the
    text, or the sum of these over the tokens, or log1p of it again, as the folder says.

    References
    ----------
    Formal et al., "SPLADE v2: Sparse Lexical and Expansion Model for Information
    Retrieval" (2021), section 2.
    """

    _kind: ClassVar[str] = "SparseEncoder"

    def __init__(
        self,
        model: EncoderModel,
        tokenizer: "Tokenizer",
        special_tokens: dict[str, str],
        *,
        words: Words,
        splade: Splade,
        query_weights: TokenWeights | None,
        default_route: str | None,
        max_active_dims: int | None,
        similarity_fn_name: str,
        prompt: str,
        prompts: dict[str, str],
    ) -> None:
        super().__init__(model, tokenizer, special_tokens, prompt=prompt, prompts=prompts)
        self.words = words
        self.splade = splade
        self.query_weights = query_weights
        self.default_route = default_route
        self.max_active_dims = max_active_dims
        self.similarity_fn_name = similarity_fn_name

    @classmethod
    def _read(cls, folder: Folder, weights: str) -> Self:
        said = read_sparse(folder)
        model, words = read_words(said.transformer, weights)
        query = None
        if said.query is not None:
            query = read_token_weights(said.query, words.vocab_size)
        return cls(
            model,
            *read_tokenizer(said.transformer, model, TASK),
            words=words,
            splade=said.splade,
            query_weights=query,
            default_route=said.default,
            max_active_dims=said.max_active_dims,
            similarity_fn_name=said.general.similarity_fn_name,
            prompt=said.general.prompt,
            prompts=said.general.prompts,
        )

    def _compute_in(self, precision: str) -> None:
        super()._compute_in(precision)
        self.words.compute_in(precision)

    def __repr__(self) -> str:
        """Show the settings."""
        query = "" if self.query_weights is None else f", {self.query_weights}"
        return (
            f"SparseEncoder({self.model}, max_length={self.max_length}, "
            f"pooling={self.splade.pooling!r}, activation={self.splade.activation!r}"
            f"{query})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the weights take, in the formats they have."""
        query = 0 if self.query_weights is None else self.query_weights.model.nbytes
        return self.model.nbytes + self.words.nbytes + query

    @in_our_words
    def encode(
        self,
        inputs: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        max_active_dims: int | None = None,
        batch_tokens: int = BATCH_TOKENS,
        on_truncation: OnTruncation = "warn",
        show_progress: bool | None = None,
        num_threads: int | None = None,
    ) -> SparseVectors:
        """Turn texts into weights of words.

        Of a model that makes those of queries in another way, see :meth:`encode_query`,
        the texts are what the folder says, documents mostly.

        Parameters
        ----------
        inputs : str or iterable of str
            One text, or any number of them.
        prompt : str, optional
            Put in front of every text; unless given, what the folder says.
        prompt_name : str, optional
            The name of a prompt, one of :attr:`prompts`, in place of `prompt`.
        max_active_dims : int, optional
            Keep so many weights of each text, the heaviest, of equal ones the first; what
            the folder says unless given, which mostly is all.
        batch_tokens : int, optional
            Tokens computed at a time: memory grows with it, the result stays the same.
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
        SparseVectors (texts, vocab_size), or (vocab_size,) for one str
            The weights that are not zero, in the order of the texts.

        Raises
        ------
        TypeError, ValueError, ModelFormatError
            As :meth:`TextEncoder.encode`.

        Warns
        -----
        TruncationWarning
            If texts were cut; it says how many.

        Notes
        -----
        The vector of a text is the same to the bit whatever else is in the call and
        whatever `batch_tokens` and the number of threads are. The scores of all words at
        all tokens are never in memory together.

        Examples
        --------
        >>> import fastattn as fa
        >>> model = fa.load("naver/splade-v3")
        >>> vectors = model.encode(["the cat", "a dog"])
        >>> vectors.shape == (2, model.words.vocab_size)
        True
        >>> (heaviest, weight), *_ = model.decode(vectors, top_k=3)[0]
        >>> weight == float(vectors.toarray()[0].max())
        True
        """
        if self.default_route is None:
            raise ValueError(
                "queries and documents differ for this model, and its folder does not say "
                "which encode is about: call encode_query or encode_document"
            )
        return self._encode(
            inputs,
            self.default_route,
            prompt=prompt,
            prompt_name=prompt_name,
            max_active_dims=max_active_dims,
            batch_tokens=batch_tokens,
            on_truncation=on_truncation,
            show_progress=show_progress,
            num_threads=num_threads,
        )

    def encode_query(self, inputs: str | Iterable[str], **options: Any) -> SparseVectors:
        """Turn queries into weights of words.

        Parameters
        ----------
        inputs : str or iterable of str
            One query, or any number of them.
        **options
            Those of :meth:`encode`. Without a `prompt` or a `prompt_name` it is the one
            that is named "query", if there is one.

        Returns
        -------
        SparseVectors (queries, vocab_size), or (vocab_size,) for one str
            As :meth:`encode`; of a model with `query_weights`, those of the words that
            occur in a query.

        References
        ----------
        Geng et al., "Towards Competitive Search Relevance For Inference-Free Learned Sparse
        Retrievers" (2024), section 3.
        """
        return self._encode(inputs, QUERY, **self._with_prompt(options, QUERY_PROMPTS))

    def encode_document(self, inputs: str | Iterable[str], **options: Any) -> SparseVectors:
        """Turn documents into weights of words.

        Parameters
        ----------
        inputs : str or iterable of str
            One document, or any number of them.
        **options
            Those of :meth:`encode`. Without a `prompt` or a `prompt_name` it is the first
            that there is of "document", "passage" and "corpus".

        Returns
        -------
        SparseVectors (documents, vocab_size), or (vocab_size,) for one str
            As :meth:`encode`.
        """
        options = self._with_prompt(options, DOCUMENT_PROMPTS)
        return self._encode(inputs, DOCUMENT, **options)

    def _encode(
        self,
        inputs: str | Iterable[str],
        route: str,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        max_active_dims: int | None = None,
        batch_tokens: int = BATCH_TOKENS,
        on_truncation: OnTruncation = "warn",
        show_progress: bool | None = None,
        num_threads: int | None = None,
    ) -> SparseVectors:
        """Turn texts into weights, in a method that a user has called."""
        texts = as_texts(inputs)
        batch_tokens = as_index(batch_tokens, "batch_tokens", 1)
        as_choice(on_truncation, "on_truncation", ON_TRUNCATION)
        kept = self.max_active_dims if max_active_dims is None else max_active_dims
        if kept is not None:
            kept = as_index(kept, "max_active_dims", 1)
        query = self.query_weights if route == QUERY else None
        compute = self._compute if query is None else query.compute
        rows: list[Row] = [(np.empty(0, int64), np.empty(0, float32))] * len(texts)
        for indices, tokens in self._batches(
            texts,
            self._choose_prompt(prompt, prompt_name),
            tokenizer=None if query is None else query.tokenizer,
            batch_tokens=batch_tokens,
            on_truncation=on_truncation,
            show_progress=show_progress,
            num_threads=num_threads,
        ):
            computed = compute(tokens, num_threads)
            for index, row in zip(indices, computed, strict=True):
                rows[index] = _heaviest(row, kept)
        return SparseVectors.of_rows(
            rows, self.words.vocab_size, single=isinstance(inputs, str)
        )

    def decode(
        self, vectors: SparseVectors, top_k: int | None = None
    ) -> Decoded | list[Decoded]:
        """Name the words of vectors, the heaviest first.

        Parameters
        ----------
        vectors : SparseVectors
            What :meth:`encode` gives.
        top_k : int, optional
            Name so many words of each; all unless given.

        Returns
        -------
        list of (str, float), or a list of such lists for several vectors
            Tokens and weights.

        Raises
        ------
        TypeError
            If `vectors` is something else.
        ValueError
            If `top_k` is less than 1, or the vectors have another number of columns.
        """
        if not isinstance(vectors, SparseVectors):
            raise TypeError(f"vectors must be SparseVectors, got {type(vectors).__name__}")
        if vectors.shape[-1] != self.words.vocab_size:
            raise ValueError(
                f"vectors must have {self.words.vocab_size} columns, got {vectors.shape}"
            )
        if top_k is not None:
            top_k = as_index(top_k, "top_k", 1)
        decoded = [
            [
                # A model may have more vectors of words than its tokenizer has words.
                (self.tokenizer.id_to_token(int(indices[i])) or "", float(values[i]))
                for i in np.argsort(-values, kind="stable")[:top_k]
            ]
            for indices, values in vectors
        ]
        return decoded[0] if len(vectors.shape) == 1 else decoded

    def similarity(self, a: SparseVectors, b: SparseVectors) -> NDArray[float32]:
        """Compare each vector of `a` with each of `b`, as the model's folder says.

        Parameters
        ----------
        a, b : SparseVectors (n, dim) and (m, dim), or (dim,) for one vector
            What :meth:`encode` gives.

        Returns
        -------
        array (n, m) float32
            By `similarity_fn_name`: ``a[i] . b[j]`` unless the folder says otherwise.

        Raises
        ------
        TypeError, ValueError
            As :meth:`SparseVectors.compare`.
        """
        if not isinstance(a, SparseVectors):
            raise TypeError(f"vectors must be SparseVectors, got {type(a).__name__}")
        return a.compare(self.similarity_fn_name, b)

    def _files(self) -> dict[str, Writer]:
        general = General(self.prompt, self.prompts, self.similarity_fn_name, None)
        model = self.model.files(self.words, self.words.places) | self._tokenizer_files()
        return sparse_files(
            general,
            self.max_length,
            self.max_active_dims,
            model,
            self.splade.files(self.words.vocab_size),
            None if self.query_weights is None else self.query_weights.files(),
            self.default_route,
        )

    @property
    def _values(self) -> dict[str, str]:
        return {"words": repr(self.splade)}

    def _add_values(self, program: Program, features: Features) -> None:
        compared = self.words.steps(program, features.vectors[TOKENS])
        words = self.words.add_weights(program, compared, features.starts, self.splade)
        program.record("words", words, Kind.MATRIX)

    def _compute(self, texts: list[Tokens], num_threads: int | None) -> Iterator[Row]:
        """Compute one batch: the weights of each text that are not zero, and where."""
        program, features = self._hidden_states(texts, num_threads)
        compared = self.words.steps(program, features.vectors[TOKENS])
        program.run()
        for weights in self.words.weigh(
            compared, features.starts, self.splade, num_threads
        ):
            for row in weights:
                kept = np.flatnonzero(row)
                yield kept, row[kept]


def _heaviest(row: Row, count: int | None) -> Row:
    """Keep so many weights of a text, the first of equal ones."""
    indices, values = row
    if count is None or len(values) <= count:
        return row
    kept = np.sort(np.argsort(-np.abs(values), kind="stable")[:count])
    return indices[kept], values[kept]

"""The class SentenceTransformer: texts in, vectors out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from ...arrays import as_choice, as_index
from ...text import TextEncoder
from ...text_base import as_texts
from .base import by_method, check_batch_size
from .comparing import ComparingModel
from .left_out import refuse_keywords
from .pool import Pool
from .tensors import as_tensor, in_form
from .util import SimilarityFunction, quantize_embeddings

OUTPUTS = ("sentence_embedding", "token_embeddings")


class SentenceTransformer(ComparingModel):
    """A model that turns texts into vectors, as sentence-transformers has it.

    It is a :class:`fastattn.TextEncoder`, its attribute `encoder`, with the constructor,
    the methods and the keywords of ``sentence_transformers.SentenceTransformer``. Texts
    that are too long are cut without a word, results do not depend on `batch_size`, and
    `normalize_embeddings` False means what the folder says.

    Parameters
    ----------
    model_name_or_path : str or path
        As :func:`fastattn.load` takes it; a name that is not on this machine is downloaded
        unless `local_files_only` is true.
    similarity_fn_name : {"cosine", "dot", "euclidean", "manhattan"}, optional
        How :meth:`similarity` compares vectors; what the folder says unless given.
    truncate_dim : int, optional
        Leading values of a vector that are kept; what the folder says unless given.
    **options
        `device` ("cpu"), `prompts`, `default_prompt_name`, `cache_folder`, `revision`,
        `local_files_only`, `token`, and `model_kwargs` with `compute` and `weights`, as
        :func:`fastattn.load` has them. `trust_remote_code`, `model_card_data`, `backend`
        and what changes no numbers in `model_kwargs`, `processor_kwargs` and
        `config_kwargs` have no effect; the rest is refused.

    Notes
    -----
    Tensors are what `convert_to_tensor` gives, `convert_to_numpy` false, and
    ``output_value="token_embeddings"``; where torch is not installed, they are arrays. What
    compares vectors gives tensors of tensors, and arrays of arrays.

    Examples
    --------
    >>> from fastattn import SentenceTransformer
    >>> model = SentenceTransformer("all-MiniLM-L6-v2", device="cpu")
    >>> vectors = model.encode(["A cat", "A kitten"], normalize_embeddings=True)
    >>> model.similarity(vectors[0], vectors[1:]).round(1)
    array([[0.8]], dtype=float32)
    """

    _class: ClassVar[type[TextEncoder]] = TextEncoder
    encoder: TextEncoder

    def __init__(
        self,
        model_name_or_path: Any = None,
        *,
        truncate_dim: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model_name_or_path, **options)
        if truncate_dim is not None:
            self.truncate_dim = truncate_dim

    def _encode(
        self,
        method: str,
        /,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: str = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: Pool | None = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Turn texts into vectors, by a method of the encoder.

        Parameters
        ----------
        inputs : str or iterable of str
            One text, or any number of them.
        prompt_name, prompt : str, optional
            What is put in front of every text, by its name, or the text of it.
        show_progress_bar : bool, optional
            As `show_progress` of :meth:`fastattn.TextEncoder.encode`.
        output_value : {"sentence_embedding", "token_embeddings"}
            One vector for each text, or one for each of its tokens.
        precision : {"float32", "int8", "uint8", "binary", "ubinary"}
            See :func:`~fastattn.integrations.sentence_transformers.quantize_embeddings`;
            the ranges of integers are those of these very vectors.
        convert_to_numpy, convert_to_tensor : bool
            An array, or a tensor; with neither of them a list of tensors.
        device : str or list of str, optional
            "cpu", or a list of as many as there are to be processes.
        normalize_embeddings : bool
            Scale to unit length; if not, what the folder says.
        truncate_dim : int, optional
            Keep so many leading values, after the folder's scaling.
        pool : dict, optional
            Processes that :meth:`start_multi_process_pool` started.
        chunk_size : int, optional
            Texts that a process gets at a time.
        batch_size : int
            It has no effect.
        """
        refuse_keywords(method, kwargs)
        check_batch_size(batch_size)
        as_choice(output_value, "output_value", OUTPUTS)
        texts = as_texts(inputs)
        kept = self.truncate_dim if truncate_dim is None else truncate_dim
        options: dict[str, Any] = {
            "prompt": self._prompt(method, prompt, prompt_name),
            "show_progress": show_progress_bar,
            "on_truncation": "ignore",
        }
        of_tokens = output_value == "token_embeddings"
        if of_tokens:
            options["output"] = "tokens"
        else:
            options |= self._vectors(normalize_embeddings, kept)
        results = self._each(method, texts, options, device, pool, chunk_size)
        if of_tokens:
            given = [as_tensor(rows) for part in results for rows in part]
        else:
            vectors = np.ascontiguousarray(np.concatenate(results)[:, :kept])
            if precision not in ("float32", None) and len(vectors):
                vectors = quantize_embeddings(vectors, precision)
            given = in_form(vectors, convert_to_numpy, convert_to_tensor)
        return given[0] if self.is_singular_input(inputs) else given

    encode = by_method(_encode, "encode", "Turn texts into vectors.")
    encode_query = by_method(
        _encode, "encode_query", 'Turn texts into vectors, with the prompt "query".'
    )
    encode_document = by_method(
        _encode, "encode_document", 'Turn texts into vectors, with the prompt "document".'
    )

    def _vectors(self, normalize: bool, kept: int | None) -> dict[str, Any]:
        """Say what the encoder is to give of which so many values are kept.

        Without `normalize` it is what the folder says, of which a part may be cut off; a
        vector that is scaled at the end may be cut before.
        """
        most = self.encoder.modules.dim
        kept = most if kept is None else min(as_index(kept, "truncate_dim", 1), most)
        if normalize:
            return {"normalize": True, "truncate_dim": kept}
        return {"truncate_dim": most}

    def encode_multi_process(
        self,
        sentences: list[str],
        pool: Pool,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        chunk_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: str = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> Any:
        """Do what :meth:`encode` does, with a pool."""
        return self.encode(
            sentences,
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            precision=precision,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            pool=pool,
            chunk_size=chunk_size,
        )

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare each vector with each of others: (n, m)."""
        compare = SimilarityFunction.to_similarity_fn(self.similarity_fn_name)
        return compare(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare each vector with the other one in its place: (n,)."""
        compare = SimilarityFunction.to_similarity_pairwise_fn(self.similarity_fn_name)
        return compare(embeddings1, embeddings2)

    @property
    def truncate_dim(self) -> int | None:
        """Leading values of a vector that are kept, None for all; it can be set."""
        return self.encoder.truncate_dim

    @truncate_dim.setter
    def truncate_dim(self, value: int | None) -> None:
        self.encoder.truncate_dim = value

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Keep so many values of each vector inside the block."""
        before = self.truncate_dim
        self.truncate_dim = truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    truncate_sentence_embeddings = truncate_embeddings

    def get_embedding_dimension(self) -> int:
        """Count the values of a vector that :meth:`encode` gives."""
        return self.encoder.dim

    get_sentence_embedding_dimension = get_embedding_dimension

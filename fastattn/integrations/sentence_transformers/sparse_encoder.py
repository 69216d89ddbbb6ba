"""The class SparseEncoder: texts in, weights of words out."""

from typing import Any, ClassVar

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from ...arrays import as_flag, as_real
from ...similarity import pairwise
from ...sparse_encoder import SparseEncoder as Encoder
from ...sparse_vectors import Row, SparseVectors
from ...text_base import as_texts
from .base import by_method, check_batch_size
from .comparing import ComparingModel
from .left_out import refuse_keywords
from .pool import Pool
from .tensors import as_tensor, is_tensor, like


class SparseEncoder(ComparingModel):
    """A model that turns texts into weights of words, as sentence-transformers has it.

    It is a :class:`fastattn.SparseEncoder`, its attribute `encoder`, with the constructor,
    the methods and the keywords of ``sentence_transformers.SparseEncoder``. Where torch is
    not installed, vectors are :class:`fastattn.SparseVectors` in place of tensors; all
    methods take both.

    Parameters
    ----------
    model_name_or_path : str or path
        As :func:`fastattn.load` takes it; a name that is not on this machine is downloaded
        unless `local_files_only` is true.
    similarity_fn_name : {"cosine", "dot", "euclidean", "manhattan"}, optional
        How :meth:`similarity` compares vectors; what the folder says unless given.
    max_active_dims : int, optional
        How many weights are kept of a text, the heaviest; what the folder says unless
        given.
    **options
        As for :class:`SentenceTransformer`.

    Examples
    --------
    >>> from fastattn.integrations.sentence_transformers import SparseEncoder
    >>> model = SparseEncoder("naver/splade-v3")
    >>> vectors = model.encode(["the cat", "a dog"])
    >>> len(model.decode(vectors, top_k=3))
    2
    """

    _class: ClassVar[type[Encoder]] = Encoder
    encoder: Encoder

    def __init__(
        self,
        model_name_or_path: Any = None,
        *,
        max_active_dims: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model_name_or_path, **options)
        if max_active_dims is not None:
            self.max_active_dims = max_active_dims

    def _encode(
        self,
        method: str,
        /,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        convert_to_tensor: bool = True,
        convert_to_sparse_tensor: bool = True,
        save_to_cpu: bool = False,
        device: Any = None,
        max_active_dims: int | None = None,
        pool: Pool | None = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Turn texts into weights of words, by a method of the encoder.

        Parameters
        ----------
        inputs : str or iterable of str
            One text, or any number of them.
        prompt_name, prompt : str, optional
            What is put in front of every text, by its name, or the text of it.
        show_progress_bar : bool, optional
            As `show_progress` of :meth:`fastattn.SparseEncoder.encode`.
        convert_to_tensor : bool
            One tensor; if not, a list of them.
        convert_to_sparse_tensor : bool
            A tensor that holds the weights that are not zero; if not, all of them.
        device : str or list of str, optional
            "cpu", or a list of as many as there are to be processes.
        max_active_dims : int, optional
            Keep so many weights of each text, the heaviest.
        pool : dict, optional
            Processes that :meth:`start_multi_process_pool` started.
        chunk_size : int, optional
            Texts that a process gets at a time.
        batch_size : int
            It has no effect, nor has `save_to_cpu`.
        """
        refuse_keywords(method, kwargs)
        check_batch_size(batch_size)
        as_flag(convert_to_sparse_tensor, "convert_to_sparse_tensor")
        options = {
            "prompt": self._prompt(method, prompt, prompt_name),
            "max_active_dims": max_active_dims,
            "show_progress": show_progress_bar,
            "on_truncation": "ignore",
        }
        parts = self._each(method, as_texts(inputs), options, device, pool, chunk_size)
        rows = [row for part in parts for row in part]
        single = self.is_singular_input(inputs)
        if convert_to_tensor:
            return self._given(rows, single, convert_to_sparse_tensor)
        each = [self._given([row], True, convert_to_sparse_tensor) for row in rows]
        return each[0] if single else each

    encode = by_method(_encode, "encode", "Turn texts into weights of words.")
    encode_query = by_method(_encode, "encode_query", "Turn queries into weights of words.")
    encode_document = by_method(
        _encode, "encode_document", "Turn documents into weights of words."
    )

    def _given(self, rows: list[Row], single: bool, sparse: bool) -> Any:
        """Give vectors in the form that is asked for."""
        vectors = SparseVectors.of_rows(rows, self.get_embedding_dimension(), single=single)
        return _as_sparse_tensor(vectors) if sparse else as_tensor(vectors.toarray())

    @property
    def max_active_dims(self) -> int | None:
        """How many weights are kept of a text, None for all; it can be set."""
        return self.encoder.max_active_dims

    @max_active_dims.setter
    def max_active_dims(self, value: int | None) -> None:
        self.encoder.max_active_dims = value

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare each vector with each of others: (n, m)."""
        a, b = map(self._as_vectors, (embeddings1, embeddings2))
        return like(self.encoder.similarity(a, b), embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare each vector with the other one in its place: (n,)."""
        a, b = (_as_vectors(each).toarray() for each in (embeddings1, embeddings2))
        return like(pairwise(self.similarity_fn_name, a, b), embeddings1, embeddings2)

    def get_embedding_dimension(self) -> int:
        """Count the words of the vocabulary."""
        return self.encoder.words.vocab_size

    get_sentence_embedding_dimension = get_embedding_dimension

    @property
    def splade_pooling_chunk_size(self) -> None:
        """None: it is chosen without being told, and setting it has no effect."""
        return None

    @splade_pooling_chunk_size.setter
    def splade_pooling_chunk_size(self, value: int | None) -> None:
        pass

    @staticmethod
    def sparsity(embeddings: Any) -> dict[str, float]:
        """Count the weights of a vector, on average, and the part that is zero."""
        vectors = _as_vectors(embeddings)
        rows, columns = len(vectors.indptr) - 1, vectors.shape[-1]
        if not rows or not columns:
            return {"active_dims": 0.0, "sparsity_ratio": 1.0}
        active = float(np.count_nonzero(vectors.values) / rows)
        return {"active_dims": active, "sparsity_ratio": 1 - active / columns}

    @staticmethod
    def intersection(embeddings_1: Any, embeddings_2: Any) -> Any:
        """Multiply the weights of one vector with those of others, word by word."""
        one, others = _as_vectors(embeddings_1), _as_vectors(embeddings_2)
        products = one.toarray() * others.toarray()
        rows = [(np.flatnonzero(row > 0), row[row > 0]) for row in np.atleast_2d(products)]
        single = products.ndim == 1
        vectors = SparseVectors.of_rows(rows, products.shape[-1], single=single)
        return _as_sparse_tensor(vectors) if is_tensor(embeddings_1) else vectors

    def decode(self, embeddings: Any, top_k: int | None = None) -> Any:
        """Name the words of vectors, the heaviest first."""
        return self.encoder.decode(self._as_vectors(embeddings), top_k)

    def _as_vectors(self, given: Any) -> SparseVectors:
        """Read vectors; a list of none has the columns of the model."""
        if isinstance(given, list | tuple) and not given:
            return SparseVectors.of_rows([], self.get_embedding_dimension())
        return _as_vectors(given)


def _as_sparse_tensor(vectors: SparseVectors) -> Any:
    """Make a sparse tensor; where torch is not installed, give the vectors as they are."""
    try:
        import torch
    except ImportError:
        return vectors
    counts = np.diff(vectors.indptr)
    rows = np.repeat(np.arange(len(counts)), counts)
    places = [rows, vectors.indices] if len(vectors.shape) == 2 else [vectors.indices]
    indices = torch.from_numpy(np.stack(places))
    values = torch.from_numpy(vectors.values)
    return torch.sparse_coo_tensor(indices, values, vectors.shape, is_coalesced=True)


def _as_vectors(given: Any) -> SparseVectors:
    """Read vectors of either form, or a list of them."""
    if isinstance(given, SparseVectors):
        return given
    if isinstance(given, list | tuple):
        each = [_as_vectors(vector) for vector in given]
        size = each[0].shape[-1] if each else 0
        return SparseVectors.of_rows([row for vectors in each for row in vectors], size)
    dense = as_real(given.to_dense() if is_tensor(given) else given, "vectors")
    if dense.ndim not in (1, 2):
        raise ValueError(f"vectors must have 1 or 2 dimensions, got {dense.ndim}")
    rows = [_row_of(row) for row in np.atleast_2d(dense)]
    return SparseVectors.of_rows(rows, dense.shape[-1], single=dense.ndim == 1)


def _row_of(row: NDArray[float32]) -> Row:
    (kept,) = np.nonzero(row)
    return kept, row[kept]

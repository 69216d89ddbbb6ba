"""Queries of a sparse encoder without an encoder: a weight for each word that they hold.

sentence-transformers calls the module SparseStaticEmbedding. The weights are inverse
document frequencies, or learned.

References
----------
Geng et al., "Towards Competitive Search Relevance For Inference-Free Learned Sparse
Retrievers" (2024), section 3.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy import float32

from ..errors import ModelFormatError
from ..sparse_vectors import Row
from .checkpoint import Settings
from .families.family import HIGHEST
from .folder import Folder
from .model import EncoderModel
from .module_list import Listed
from .saving import Writer, json_file
from .static import model_of_table
from .tensor_files import TensorFiles
from .tensors import Tensors
from .tokenization import Tokens
from .tokenizer import read_plain_tokenizer
from .tokenizer_files import tokenizer_files

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TABLE = "weight"


class TokenWeights:
    """A weight for each token of a vocabulary, and the tokenizer that makes them of texts.

    Attributes
    ----------
    model : EncoderModel
        The table (vocab_size, 1).
    tokenizer : tokenizers.Tokenizer
        Adds no special tokens, and cuts at a length of its own.
    special_tokens : dict of str
        Its special tokens by the names that transformers has for them.
    """

    def __init__(
        self, model: EncoderModel, tokenizer: "Tokenizer", special_tokens: dict[str, str]
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.special_tokens = special_tokens

    def __repr__(self) -> str:
        """Show how many weights there are."""
        return f"TokenWeights({self.model.vocab_size})"

    def compute(self, texts: list[Tokens], num_threads: int | None) -> Iterator[Row]:
        """Give the weights of each text that are not zero, and where: those of its words.

        How often a word occurs makes no difference.
        """
        weights = self.model.word_embeddings.table_for_lookup[:, 0]
        for text in texts:
            words = np.unique(text.ids)
            words = words[weights[words] != 0]
            yield words, weights[words].astype(float32)

    def files(self) -> dict[str, Writer]:
        """Give what writes the files of the module, by name."""
        return {
            **self.model.files(),
            "config.json": json_file({"frozen": True}),
            **tokenizer_files(self.tokenizer, self.special_tokens, 0),
        }


def read_token_weights(module: Listed, vocab_size: int) -> TokenWeights:
    """Read the weights, as many as documents have words, and the tokenizer."""
    _check_settings(module.settings(), module.folder)
    tensors = Tensors(TensorFiles(module.folder), str)
    (size,) = tensors.shape_within(TABLE, (HIGHEST["vocab_size"],))
    weights = np.asarray(tensors.find(TABLE, (size,)))
    tensors.finish()
    if size != vocab_size:
        raise ModelFormatError(
            f"{tensors.path}: holds weights of {size} words, and the vectors of documents "
            f"have {vocab_size}"
        )
    model = model_of_table(weights[:, np.newaxis], {TABLE: (size,)})
    return TokenWeights(model, *read_plain_tokenizer(module.folder, model))


def _check_settings(settings: Settings, folder: Folder) -> None:
    """Refuse what would change weights; whether they are frozen is for training alone."""
    for field in settings.fields:
        if field == "path" and settings.has(field):
            raise settings.error(
                field,
                "names a file of weights by word, which is not read: load the model with "
                "sentence-transformers and save it (save_pretrained), which writes them "
                "into model.safetensors",
            )
        if field not in ("frozen", "path"):
            problem = "is a field that fastattn does not know: it may change vectors"
            raise settings.error(field, problem)

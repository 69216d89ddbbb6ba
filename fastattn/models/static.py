"""Static models: a vector for each token, whatever stands beside it, and their mean.

sentence-transformers calls the module of such a model StaticEmbedding, and reads by it
what model2vec writes, too. There are no layers.
"""

from collections.abc import Mapping

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from ..nn import Embedding
from .cures import WEIGHTS
from .families.family import HIGHEST, Architecture, SameRows, Shape
from .folder import Folder
from .model import Config, EncoderModel
from .modules import Pooling
from .saving import Writer
from .sentence import GENERAL
from .tensor_files import TensorFiles
from .tensors import Tensors

# The table of sentence-transformers, and that of model2vec, of which rows may be shared by
# tokens ("mapping") and multiplied by a number for each token ("weights").
TABLE = "embedding.weight"
SHARED = "embeddings"


class StaticEmbedding(Pooling):
    """The mean of the rows of a table, of no tokens zeros; the model holds the table."""

    def __init__(self, dim: int) -> None:
        super().__init__(("mean",), dim)

    def files(self) -> dict[str, Writer]:
        """Give nothing: :func:`static_files` has what stands in its folder."""
        return {}

    def __repr__(self) -> str:
        """Show the size."""
        return f"StaticEmbedding({self.dim})"


def read_static(folder: Folder) -> EncoderModel:
    """Read the table of a StaticEmbedding: a model without layers, which gives its rows."""
    tensors = Tensors(TensorFiles(folder), str)
    table = _shared_rows(tensors) if tensors.has(SHARED) else _find(tensors, TABLE, 2)
    tensors.finish()
    return model_of_table(table, {TABLE: table.shape})


def model_of_table(table: NDArray[float32], tensors: Mapping[str, Shape]) -> EncoderModel:
    """Make a model that gives the rows of a table, and writes it as some tensors."""
    rows, columns = table.shape
    architecture = Architecture(
        vocab_size=rows,
        hidden_size=columns,
        max_positions=HIGHEST["max_positions"],
        layers=(),
        weights=(SameRows(("word_embeddings.weight",), tensors),),
    )
    tables = {"word_embeddings": Embedding.from_table(table)}
    return EncoderModel(Config({}), architecture, None, tables, {})


def static_files(files: Mapping[str, Writer]) -> dict[str, Writer]:
    """Choose of the files of a model those of a static one, and put each in its place."""
    inside = {f"0_{StaticEmbedding.__name__}/{n}": n for n in (WEIGHTS, "tokenizer.json")}
    return {path: files[name] for path, name in (inside | {GENERAL: GENERAL}).items()}


def _find(tensors: Tensors, name: str, ndim: int) -> NDArray[float32]:
    """Find a table (rows, columns), or a number for each row."""
    highest = HIGHEST["vocab_size"], HIGHEST["hidden_size"]
    return np.asarray(tensors.find(name, tensors.shape_within(name, highest[:ndim])))


def _shared_rows(tensors: Tensors) -> NDArray[float32]:
    """Make the row of each token: ``embeddings[mapping[token]] * weights[token]``."""
    table = _find(tensors, SHARED, 2)
    if tensors.has("mapping"):
        table = table[tensors.find_indices("mapping", HIGHEST["vocab_size"], len(table))]
    if tensors.has("weights"):
        weights = np.asarray(tensors.find("weights", table.shape[:1]))
        table = table * weights[:, np.newaxis]
    return table

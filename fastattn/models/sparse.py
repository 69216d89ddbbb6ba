"""What folders say about the vectors of sparse encoders, a weight for each word.

Formal et al. 2021, "SPLADE v2: Sparse Lexical and Expansion Model for Information
Retrieval", section 2.
"""

from dataclasses import dataclass

from ..errors import ModelFormatError
from .checkpoint import Settings
from .folder import Folder
from .module_list import PACKAGE, list_modules
from .saving import Writer, json_file
from .sentence import GENERAL, General, read_general, sentence_files
from .splade import ACTIVATIONS, POOLINGS

# What sentence-transformers calls such a model, and what its transformer does.
KIND, TASK = "SparseEncoder", "fill-mask"

# The module of the transformer, as it is called today and was called before.
TRANSFORMERS = ("Transformer", "MLMTransformer")

FIELDS = (
    *("pooling_strategy", "activation_function", "chunk_size"),
    *("embedding_dimension", "word_embedding_dimension"),
)


@dataclass(frozen=True)
class Splade:
    """log1p of the scores above 0 of a text's tokens, the greatest or their sum.

    Attributes
    ----------
    pooling : str
        "max" or "sum".
    activation : str
        "relu", or "log1p_relu" for log1p twice.
    """

    pooling: str = "max"
    activation: str = "relu"

    def files(self, vocab_size: int) -> dict[str, Writer]:
        """Give what writes modules.json and the settings of the modules, by path."""
        kinds = {
            "": "base.modules.transformer.Transformer",
            "1_SpladePooling": "sparse_encoder.modules.splade_pooling.SpladePooling",
        }
        modules = [
            {"idx": i, "name": str(i), "path": path, "type": f"{PACKAGE}.{kind}"}
            for i, (path, kind) in enumerate(kinds.items())
        ]
        fields = {
            "pooling_strategy": self.pooling,
            "activation_function": self.activation,
            "embedding_dimension": vocab_size,
        }
        return {
            "modules.json": json_file(modules),
            "1_SpladePooling/config.json": json_file(fields),
        }


@dataclass(frozen=True)
class SparseFolder:
    """What a folder says beside its model: see :class:`fastattn.SparseEncoder`."""

    transformer: Folder
    general: General
    splade: Splade


def read_sparse(folder: Folder) -> SparseFolder:
    """Read what is said about vectors of words."""
    general = read_general(folder, KIND)
    settings = Settings.read(folder, GENERAL, optional=True)
    if settings.has("similarity_fn_name"):
        settings.get_choice("similarity_fn_name", ["dot"])
    for field in ("max_active_dims", "truncate_dim"):
        if settings.has(field):
            raise settings.error(field, "is not read: it would change vectors")
    listed = list_modules(folder, ("SpladePooling",), TRANSFORMERS)
    if listed.rest is None:
        return SparseFolder(listed.transformer, general, Splade())
    if len(listed.rest) != 1:
        raise ModelFormatError(
            f"{listed.path}: expected the modules {TRANSFORMERS[0]} and SpladePooling, got "
            f"{1 + len(listed.rest)} modules"
        )
    return SparseFolder(
        listed.transformer, general, _read_splade(listed.rest[0].settings())
    )


def _read_splade(settings: Settings) -> Splade:
    """Read the settings of the pooling."""
    for field in settings.fields:
        if field not in FIELDS:
            problem = "is a field that fastattn does not know: it may change vectors"
            raise settings.error(field, problem)
    pooling = settings.get_choice("pooling_strategy", POOLINGS, "max")
    # Of a sum there is one alone.
    known = ["relu"] if POOLINGS[pooling] else [*ACTIVATIONS]
    return Splade(pooling, settings.get_choice("activation_function", known, "relu"))


def sparse_files(general: General, max_length: int) -> dict[str, Writer]:
    """Give what writes the settings of sentence-transformers, by name."""
    return sentence_files(general, max_length, KIND, TASK)

"""What folders say about the vectors of sparse encoders, a weight for each word.

Formal et al. 2021, "SPLADE v2: Sparse Lexical and Expansion Model for Information
Retrieval", section 2.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ModelFormatError
from .checkpoint import Settings
from .cures import refuse_adapter
from .folder import Folder
from .module_list import PACKAGE, ROUTERS, Listed, list_modules
from .router import DOCUMENT, QUERY, read_router, router_files
from .saving import Writer, json_file
from .sentence import GENERAL, General, read_general, sentence_files
from .splade import ACTIVATIONS, POOLINGS

# What sentence-transformers calls such a model, and what its transformer does.
KIND, TASK = "SparseEncoder", "fill-mask"

# The module of the transformer, as it is called today and was called before.
TRANSFORMERS = ("Transformer", "MLMTransformer")

# The module of queries that need no transformer.
TOKEN_WEIGHTS = "SparseStaticEmbedding"

# The modules, by the names that sentence-transformers has for them today.
TYPES = {
    kind: f"{PACKAGE}.{module}.{kind}"
    for kind, module in {
        "Transformer": "base.modules.transformer",
        "Router": "base.modules.router",
        "SpladePooling": "sparse_encoder.modules.splade_pooling",
        TOKEN_WEIGHTS: "sparse_encoder.modules.sparse_static_embedding",
    }.items()
}

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
        """Give what writes the settings of the module, by name."""
        fields = {
            "pooling_strategy": self.pooling,
            "activation_function": self.activation,
            "embedding_dimension": vocab_size,
        }
        return {"config.json": json_file(fields)}


@dataclass(frozen=True)
class SparseFolder:
    """What a folder says beside its model: see :class:`fastattn.SparseEncoder`.

    `query` is the module of queries where they have one of their own, and `default` the
    route of texts that nobody calls queries or documents.
    """

    transformer: Folder
    general: General
    splade: Splade
    max_active_dims: int | None
    query: Listed | None = None
    default: str | None = DOCUMENT


def read_sparse(folder: Folder) -> SparseFolder:
    """Read what is said about vectors of words."""
    settings = Settings.read(folder, GENERAL, optional=True)
    if settings.has("truncate_dim"):
        raise settings.error("truncate_dim", "is not read: it would change vectors")
    general = read_general(folder, KIND)
    if not settings.has("similarity_fn_name"):
        general = general._replace(similarity_fn_name="dot")
    kept = None
    if settings.has("max_active_dims"):
        kept = settings.get_size("max_active_dims", sys.maxsize)
    listed = list_modules(folder, ("SpladePooling",), (*TRANSFORMERS, *ROUTERS))
    said = SparseFolder(listed.transformer, general, Splade(), kept)
    if listed.first is None or listed.rest is None:
        return said
    if listed.first.kind in ROUTERS:
        return _routed(said, listed.first, listed.rest)
    return replace(said, splade=_splade_behind(listed.path, listed.first, listed.rest))


def _routed(said: SparseFolder, router: Listed, rest: Sequence[Listed]) -> SparseFolder:
    """Add what a router says, behind which there must be nothing."""
    if rest:
        raise rest[0].entry.error("type", f"must not follow a {router.kind}")
    routes = read_router(router)
    transformer, *pooling = routes.document
    refuse_adapter(transformer.folder)
    query: Listed | None = None
    default: str | None = DOCUMENT
    if routes.query != routes.document:
        query, default = routes.query[0], routes.default
        kinds = [module.kind for module in routes.query]
        if kinds != [TOKEN_WEIGHTS]:
            expected = f"a {TOKEN_WEIGHTS}, or the modules of {DOCUMENT}"
            raise routes.structure.wrong(QUERY, expected, " and ".join(kinds))
    return replace(
        said,
        transformer=transformer.folder,
        splade=_splade_behind(routes.structure.path, transformer, pooling),
        query=query,
        default=default,
    )


def _splade_behind(path: Path, first: Listed, rest: Sequence[Listed]) -> Splade:
    """Read the pooling behind a transformer, where there is nothing else."""
    kinds = [module.kind for module in (first, *rest)]
    if first.kind not in TRANSFORMERS or kinds[1:] != ["SpladePooling"]:
        raise ModelFormatError(
            f"{path}: expected the modules {TRANSFORMERS[0]} and SpladePooling, got "
            f"{' and '.join(kinds)}"
        )
    return _read_splade(rest[0].settings())


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


def sparse_files(
    general: General,
    max_length: int,
    max_active_dims: int | None,
    model: Mapping[str, Writer],
    pooling: Mapping[str, Writer],
    query: Mapping[str, Writer] | None,
    default: str | None,
) -> dict[str, Writer]:
    """Give what writes a folder, of the files of its parts: all files by path.

    Without a `query`, the model and the pooling follow each other; with one, they are a
    route beside it.
    """
    kept = {} if max_active_dims is None else {"max_active_dims": max_active_dims}
    said = sentence_files(general, max_length, KIND, TASK, **kept)
    root = {GENERAL: said.pop(GENERAL)}
    if query is None:
        kinds = {"": "Transformer", "1_SpladePooling": "SpladePooling"}
        parts = {"": {**model, **said}, "1_SpladePooling": pooling}
    else:
        kinds = {"": "Router"}
        routes = {
            QUERY: {TOKEN_WEIGHTS: query},
            DOCUMENT: {"Transformer": {**model, **said}, "SpladePooling": pooling},
        }
        router, parts = router_files(routes, TYPES, default)
        root |= router
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": TYPES[kind]}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    root["modules.json"] = json_file(modules)
    return root | {
        (f"{path}/{name}" if path else name): write
        for path, files in parts.items()
        for name, write in files.items()
    }

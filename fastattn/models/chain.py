"""The modules of a model in their order: read, run, written."""

from collections.abc import Iterator, Mapping, Sequence

from numpy import float32
from numpy.typing import NDArray

from .._program import Program
from ..errors import ModelFormatError
from ..nn.recorder import Kind
from .module_list import PACKAGE, STATIC, ModuleList
from .modules import (
    SENTENCE,
    TOKENS,
    Dense,
    Features,
    LayerNorm,
    Module,
    Normalize,
    Pooling,
)
from .saving import Writer, json_file
from .static import StaticEmbedding

# The modules that may follow a transformer; Dropout does something in training alone.
KINDS: dict[str, type[Module] | None] = {
    kind.__name__: kind for kind in (Pooling, Dense, LayerNorm, Normalize)
} | {"Dropout": None}


class Chain(Mapping[str, Module]):
    """What makes vectors of hidden states: modules by name, in the order in which they run.

    A name is that of the folder to which :meth:`files` writes the module, "1_Pooling".

    Parameters
    ----------
    modules : sequence of Module
        A Pooling is among them.
    static : bool
        Whether the first of them stands in the place of a transformer.

    Attributes
    ----------
    dim : int
        How many numbers the vector of a text has.
    unit : bool
        Whether it is scaled to unit length at the end.
    include_prompt : bool
        Whether it makes no difference which tokens are those of the prompt.
    """

    def __init__(self, modules: Sequence[Module], static: bool = False) -> None:
        self.static = static
        numbered = enumerate(modules, 0 if static else 1)
        self._modules = {f"{i}_{type(m).__name__}": m for i, m in numbered}
        self._for_tokens = self._needed_for(TOKENS)
        self._for_texts = self._needed_for(SENTENCE)
        last = self[self._for_texts[-1]]
        self.dim = last.dim
        self.unit = last.unit
        self.include_prompt = all(module.include_prompt for module in modules)

    def __getitem__(self, name: str) -> Module:
        """Give a module."""
        return self._modules[name]

    def __iter__(self) -> Iterator[str]:
        """List the names."""
        return iter(self._modules)

    def __len__(self) -> int:
        """Count the modules."""
        return len(self._modules)

    def __repr__(self) -> str:
        """Show all modules."""
        return repr(self._modules)

    def _needed_for(self, vectors: str) -> list[str]:
        """Find the modules that some vectors depend on, by what each of them reads."""
        names = []
        for name in reversed(self._modules):
            if self[name].gives == vectors:
                names.append(name)
                vectors = self[name].reads
        return names[::-1]

    def add_all(self, program: Program, features: Features) -> None:
        """Add every module to a program, for a recorder."""
        self._add(list(self), program, features)

    def add_for_tokens(self, program: Program, features: Features) -> NDArray[float32]:
        """Add to a program what makes the vectors of tokens, (tokens, dim)."""
        self._add(self._for_tokens, program, features)
        return features.vectors[TOKENS]

    def add_for_texts(
        self, program: Program, features: Features, dim: int, normalize: bool
    ) -> NDArray[float32]:
        """Add to a program what makes the vectors of texts, (texts, dim).

        They are scaled after the rest has been cut off, and only if `normalize` says so.
        """
        self._add(self._for_texts[: -1 if self.unit else None], program, features)
        features.vectors[SENTENCE] = features.vectors[SENTENCE][:, :dim]
        if normalize:
            return Normalize(SENTENCE, dim).steps(program, features)
        return features.vectors[SENTENCE]

    def _add(self, names: Sequence[str], program: Program, features: Features) -> None:
        """Add modules to a program; a recorder sees what each of them gives."""
        for name in names:
            module = self[name]
            given = module.steps(program, features)
            features.vectors[module.gives] = given
            kind = Kind.QUERIES if module.gives == TOKENS else Kind.MATRIX
            program.record(name, given, kind)

    def files(self) -> dict[str, Writer]:
        """Give what writes modules.json and the files of the modules, by path.

        Types have their old names: every version of sentence-transformers reads those.
        """
        kinds = {} if self.static else {"": "Transformer"}
        kinds |= {path: type(self[path]).__name__ for path in self}
        listed = [
            {"idx": i, "name": str(i), "path": path, "type": f"{PACKAGE}.models.{kind}"}
            for i, (path, kind) in enumerate(kinds.items())
        ]
        return {"modules.json": json_file(listed)} | {
            f"{path}/{name}": write
            for path, module in self.items()
            for name, write in module.files().items()
        }


def read_chain(listed: ModuleList, hidden_size: int, weights: str) -> Chain:
    """Read the modules behind a transformer, and store their matrices as `weights` says.

    A folder without modules.json means the mean of the hidden states, which is what
    sentence-transformers makes of one.
    """
    if listed.rest is None:
        return Chain([Pooling(("mean",), hidden_size)])
    sizes = {TOKENS: hidden_size}
    modules: list[Module] = []
    if listed.static:
        modules.append(StaticEmbedding(hidden_size))
        sizes[SENTENCE] = hidden_size
    for entry in listed.rest:
        kind = KINDS[entry.kind]
        if kind is None:
            continue
        settings = entry.settings(optional=kind.optional)
        for field in settings.fields:
            if field not in kind.fields:
                problem = "is a field that fastattn does not know: it may change vectors"
                raise settings.error(field, problem)
        module = kind.read(settings, entry.folder, sizes)
        if listed.static and module.reads == TOKENS:
            problem = f"is about {TOKENS}, which a {STATIC} does not give"
            raise entry.entry.error("type", problem)
        module.store_weights_as(weights)
        sizes[module.gives] = module.dim
        modules.append(module)
    if SENTENCE not in sizes:
        raise ModelFormatError(
            f"{listed.path}: lists no Pooling, which makes one vector of those of a text"
        )
    return Chain(modules, listed.static)

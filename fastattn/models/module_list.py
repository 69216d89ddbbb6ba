"""modules.json: which modules of sentence-transformers a folder lists, in their order."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..errors import ModelFormatError
from .checkpoint import Settings, read_json
from .cures import refuse_adapter
from .folder import Folder, printable
from .refused import WITHOUT_MODULES, refuse_architecture, refuse_chat, refuse_module
from .sentence import name_of_settings

# Whose modules they are.
PACKAGE = "sentence_transformers"

# What may stand first in place of a Transformer.
STATIC = "StaticEmbedding"

# The code of Jina v3, which is not run: what it does to adapters is done by its family.
CUSTOM = "custom_st.Transformer"

# What leads queries and documents to modules of their own, as it is called today and was
# called before.
ROUTERS = ("Router", "Asym")

# More than any model has: its largest have ten.
MOST_MODULES = 32


@dataclass(frozen=True)
class Listed:
    """A module as it is listed: the name of its class, and the folder of its files."""

    kind: str
    folder: Folder
    entry: Settings

    def unknown(self) -> ModelFormatError:
        """Make the error about a module that is none of those that are known."""
        refuse_module(self.entry)
        name = printable(self.entry.fields["type"])
        problem = f"names a module that fastattn does not know: {name}"
        return self.entry.error("type", problem)

    def settings(self, *, optional: bool = False) -> Settings:
        """Read its settings, which need not be there where they are optional."""
        if not optional and not self.folder.has("config.json"):
            raise ModelFormatError(
                f"{self.folder.path / 'config.json'}: no such file, and "
                f"{self.entry.path.name} names its folder: copy or download it, too"
            )
        return Settings.read(self.folder, "config.json", optional=optional)


@dataclass(frozen=True)
class ModuleList:
    """The modules of a folder.

    Attributes
    ----------
    path : Path
        Of modules.json.
    transformer : Folder
        The folder of the transformer, or of the table in its place, and of its tokenizer.
    rest : tuple of Listed, or None
        What follows it; None where there is no modules.json, as transformers writes it.
    first : Listed or None
        What stands first: the transformer, or what has its place.
    """

    path: Path
    transformer: Folder
    rest: tuple[Listed, ...] | None
    first: Listed | None = None

    @property
    def static(self) -> bool:
        """Whether a table is in the place of the transformer."""
        return self.first is not None and self.first.kind == STATIC


def list_modules(
    folder: Folder,
    known: Container[str],
    transformers: Container[str] = ("Transformer",),
) -> ModuleList:
    """Read modules.json: a transformer, and then modules of the kinds that are known."""
    path = folder.path / "modules.json"
    if not folder.has("modules.json"):
        refuse_adapter(folder)
        if name := name_of_settings(folder):
            raise ModelFormatError(
                f"{path}: no such file, and {name} stands beside one, which says how "
                f"vectors are made: copy or download it, too"
            )
        config = Settings.read(folder, "config.json", optional=True)
        refuse_architecture(config, WITHOUT_MODULES)
        refuse_chat(folder)
        return ModuleList(path, folder, None)
    entries = read_json(folder, "modules.json")
    if not isinstance(entries, list):
        raise ModelFormatError(f"{path}: expected a JSON list at the top")
    if len(entries) > MOST_MODULES:
        raise ModelFormatError(
            f"{path}: lists {len(entries)} modules, more than {MOST_MODULES}"
        )
    listed = tuple(listed_as(folder, Settings(path, entry)) for entry in entries)
    if not listed:
        raise ModelFormatError(f"{path}: lists no modules")
    transformer, *rest = listed
    if transformer.kind not in transformers:
        raise transformer.unknown()
    refuse_adapter(transformer.folder)
    # sentence-transformers reads no settings of a table, and others of a router.
    transformer.settings(optional=transformer.kind in (STATIC, *ROUTERS))
    for module in rest:
        if module.kind not in known:
            raise module.unknown()
    return ModuleList(path, transformer.folder, tuple(rest), transformer)


def listed_as(folder: Folder, entry: Settings) -> Listed:
    """Read what a list says about one module; its package moved between versions."""
    name: str = entry.get("type", str)
    package, _, kind = name.rpartition(".")
    listed = Listed(kind, _subfolder(folder, entry), entry)
    if package.split(".")[0] != PACKAGE and not _has_adapters(listed):
        raise listed.unknown()
    return listed


def _has_adapters(listed: Listed) -> bool:
    """Say whether a module is the code of Jina v3, a Transformer with adapters."""
    if listed.entry.fields["type"] != CUSTOM or not listed.folder.has("config.json"):
        return False
    return Settings.read(listed.folder, "config.json").has("lora_adaptations")


def _subfolder(folder: Folder, entry: Settings) -> Folder:
    """Get the folder of a module, which must lie inside the model's."""
    path: str = entry.get("path", str, "")
    inside = not PurePath(path).is_absolute() and ".." not in PurePath(path).parts
    if not inside or not path.isprintable():
        raise entry.wrong("path", "the name of a folder inside the model's", path)
    return folder.subfolder(path)

"""What sentence-transformers does to hidden states, as its settings say."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ..errors import ModelFormatError
from .checkpoint import Settings, read_json
from .folder import Folder, printable
from .saving import Writer, json_file
from .sentence import General, name_of_settings, read_general

# How the pooling modes that there are kernels for are called: by the one field that
# sentence-transformers writes today, and by the switches that it wrote before.
POOLINGS = ("mean", "cls")
SWITCHES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
POOLING_FIELDS = ("embedding_dimension", "word_embedding_dimension", "include_prompt")

# Whose modules they are.
PACKAGE = "sentence_transformers"

# The modules of a sentence encoder in their order; only the first two are always there.
MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class SentenceModules:
    """What modules.json says about a folder.

    Attributes
    ----------
    transformer : Folder
        The folder of the transformer and its tokenizer.
    pooling : str
        How hidden states become one vector: "mean" or "cls".
    normalize : bool
        Whether vectors are scaled to unit length.
    general : General
        What holds for all of it: prompts, and how vectors are cut and compared.
    """

    transformer: Folder
    pooling: str
    normalize: bool
    general: General


def read_modules(folder: Folder) -> SentenceModules:
    """Read modules.json and the settings of the pooling.

    A folder without modules.json, as transformers writes them, means mean pooling and
    no normalisation, which is what sentence-transformers makes of one.
    """
    path = folder.path / "modules.json"
    if not folder.has("modules.json"):
        _refuse_adapter(folder)
        if name := name_of_settings(folder):
            raise ModelFormatError(
                f"{path}: no such file, and {name} stands beside one, which says how "
                f"vectors are made: copy or download it, too"
            )
        return SentenceModules(folder, "mean", False, read_general(folder))
    listed = read_json(folder, "modules.json")
    if not isinstance(listed, list):
        raise ModelFormatError(f"{path}: expected a JSON list at the top")
    # One too many is enough to see that there are too many.
    modules = [Settings(path, module) for module in listed[: len(MODULES) + 1]]
    kinds = tuple(_kind(module) for module in modules)
    if kinds not in (MODULES[:2], MODULES):
        raise ModelFormatError(
            f"{path}: expected the modules Transformer, Pooling and perhaps Normalize, "
            f"got {', '.join(kinds) or 'none'}"
        )
    folders = [_subfolder(folder, module) for module in modules]
    _refuse_adapter(folders[0])
    for module in folders[:2]:
        if not module.has("config.json"):
            raise ModelFormatError(
                f"{module.path / 'config.json'}: no such file, and modules.json names its "
                "folder: copy or download it, too"
            )
    if len(folders) == len(MODULES):
        _check_normalize(folders[2])
    return SentenceModules(
        transformer=folders[0],
        pooling=_read_pooling(folders[1]),
        normalize=len(folders) == len(MODULES),
        general=read_general(folder),
    )


def module_files(hidden_size: int, pooling: str, normalize: bool) -> dict[str, Writer]:
    """Give what writes modules.json and the settings of the modules, by path.

    Names and switches are the old ones, which every version of sentence-transformers reads.
    """
    paths = ("", "1_Pooling", "2_Normalize")[: 3 if normalize else 2]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"{PACKAGE}.models.{kind}"}
        for i, (path, kind) in enumerate(zip(paths, MODULES, strict=False))
    ]
    switches = {switch: mode == pooling for switch, mode in SWITCHES.items()}
    name = "sentence_embedding"
    settings: list[dict[str, Any]] = [
        {},
        {"word_embedding_dimension": hidden_size, **switches},
        {"module_input_name": name, "module_output_name": name},
    ]
    return {"modules.json": json_file(modules)} | {
        f"{path}/config.json": json_file(fields)
        for path, fields in zip(paths, settings, strict=False)
        if path
    }


def _refuse_adapter(folder: Folder) -> None:
    """Refuse what changes the weights of another model: transformers would apply it."""
    for name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"):
        if folder.has(name):
            raise ModelFormatError(
                f"{folder.path / name}: adapters are not read: merge this one into its "
                "model with peft (merge_and_unload), and save that"
            )


def _kind(module: Settings) -> str:
    """Get the class name of a module; its package moved between versions."""
    name: str = module.get("type", str)
    package, _, kind = name.rpartition(".")
    if package.split(".")[0] != PACKAGE or kind not in MODULES:
        problem = f"names a module that fastattn does not know: {printable(name)}"
        raise module.error("type", problem)
    return kind


def _subfolder(folder: Folder, module: Settings) -> Folder:
    """Get the folder of a module, which must lie inside the model's."""
    path: str = module.get("path", str, "")
    inside = not PurePath(path).is_absolute() and ".." not in PurePath(path).parts
    if not inside or not path.isprintable():
        raise module.wrong("path", "the name of a folder inside the model's", path)
    return folder.subfolder(path)


def _read_pooling(folder: Folder) -> str:
    """Read which pooling the settings of the module Pooling ask for."""
    settings = Settings.read(folder, "config.json")
    for field in settings.fields:
        if field not in POOLING_FIELDS and not field.startswith("pooling_mode"):
            problem = "is a field that fastattn does not know: it may change vectors"
            raise settings.error(field, problem)
    if not settings.get("include_prompt", bool, True):
        problem = "must be true, got false: prompts cannot be left out of pooling yet"
        raise settings.error("include_prompt", problem)
    switched_on = [
        SWITCHES.get(field, field)
        for field in settings.fields
        if field.startswith("pooling_mode_") and settings.get(field, bool)
    ]
    modes = settings.fields.get("pooling_mode", switched_on or ["mean"])
    if isinstance(modes, str):
        modes = [modes]
    if modes not in [[pooling] for pooling in POOLINGS]:
        raise settings.wrong("pooling_mode", " or ".join(POOLINGS), modes)
    return str(modes[0])


def _check_normalize(folder: Folder) -> None:
    """Make sure that the module Normalize is about sentence vectors.

    Older versions wrote no folder for it.
    """
    settings = Settings.read(folder, "config.json", optional=True)
    for field in ("module_input_name", "module_output_name"):
        if settings.has(field):
            settings.get_choice(field, ["sentence_embedding"])

"""What sentence-transformers does to hidden states, as its settings say."""

import sys
from dataclasses import dataclass
from pathlib import PurePath

from ..errors import ModelFormatError
from ..similarity import FUNCTIONS
from .checkpoint import Settings, read_json
from .folder import Folder, printable

# How the pooling modes that there are kernels for are called: by the one field that
# sentence-transformers writes today, and by the switches that it wrote before.
POOLINGS = ("mean", "cls")
SWITCHES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}

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
    prompt : str
        What stands in front of every text unless the caller says otherwise.
    similarity_fn_name : str
        How vectors are compared: a name in `similarity.FUNCTIONS`.
    truncate_dim : int or None
        How many leading values of a vector are kept unless the caller says otherwise.
    """

    transformer: Folder
    pooling: str = "mean"
    normalize: bool = False
    prompt: str = ""
    similarity_fn_name: str = "cosine"
    truncate_dim: int | None = None


def read_modules(folder: Folder) -> SentenceModules:
    """Read modules.json and the settings of the pooling.

    A folder without modules.json, as transformers writes them, means mean pooling and
    no normalisation, which is what sentence-transformers makes of one.
    """
    if not folder.has("modules.json"):
        _refuse_adapter(folder)
        return SentenceModules(folder)
    path = folder.path / "modules.json"
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
    if len(folders) == len(MODULES):
        _check_normalize(folders[2])
    general = Settings.read(folder, "config_sentence_transformers.json", optional=True)
    return SentenceModules(
        transformer=folders[0],
        pooling=_read_pooling(folders[1]),
        normalize=len(folders) == len(MODULES),
        prompt=_read_prompt(general),
        similarity_fn_name=(
            general.get_choice("similarity_fn_name", FUNCTIONS)
            if general.has("similarity_fn_name")
            else "cosine"
        ),
        truncate_dim=(
            general.get_size("truncate_dim", sys.maxsize)
            if general.has("truncate_dim")
            else None
        ),
    )


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
    if package.split(".")[0] != "sentence_transformers" or kind not in MODULES:
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
    if not settings.get("include_prompt", bool, True):
        raise settings.error("include_prompt", "must be true, got false")
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
        name = settings.get(field, str, "sentence_embedding")
        if name != "sentence_embedding":
            raise settings.wrong(field, "sentence_embedding", name)


def _read_prompt(general: Settings) -> str:
    """Read the prompt that config_sentence_transformers.json makes the default."""
    if not general.has("default_prompt_name"):
        return ""
    name = general.get("default_prompt_name", str)
    prompts = Settings(general.path, general.get("prompts", dict))
    return str(prompts.get(name, str))

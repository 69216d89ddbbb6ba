"""What sentence-transformers does to hidden states, as its settings say."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelFormatError
from .checkpoint import Settings, read_json

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
    transformer : Path
        The folder of the transformer and its tokenizer.
    pooling : str
        How hidden states become one vector: "mean" or "cls".
    normalize : bool
        Whether vectors are scaled to unit length.
    prompt : str
        What stands in front of every text unless the caller says otherwise.
    """

    transformer: Path
    pooling: str = "mean"
    normalize: bool = False
    prompt: str = ""


def read_modules(folder: Path) -> SentenceModules:
    """Read modules.json and the settings of the pooling.

    A folder without modules.json, as transformers writes them, means mean pooling and
    no normalisation, which is what sentence-transformers makes of one.
    """
    path = folder / "modules.json"
    if not path.exists():
        return SentenceModules(folder)
    listed = read_json(path)
    if not isinstance(listed, list):
        raise ModelFormatError(f"{path}: expected a JSON list at the top")
    modules = [Settings(path, module) for module in listed]
    kinds = tuple(_kind(module) for module in modules)
    if kinds not in (MODULES[:2], MODULES):
        raise ModelFormatError(
            f"{path}: expected the modules Transformer, Pooling and perhaps Normalize, "
            f"got {', '.join(kinds) or 'none'}"
        )
    folders = [_subfolder(folder, module) for module in modules]
    if len(folders) == len(MODULES):
        _check_normalize(folders[2])
    return SentenceModules(
        transformer=folders[0],
        pooling=_read_pooling(folders[1]),
        normalize=len(folders) == len(MODULES),
        prompt=_read_prompt(folder),
    )


def _kind(module: Settings) -> str:
    """Get the class name of a module; its package moved between versions."""
    name: str = module.get("type", str)
    package, _, kind = name.rpartition(".")
    if package.split(".")[0] != "sentence_transformers" or kind not in MODULES:
        raise module.error("type", f"names a module that fastattn does not know: {name}")
    return kind


def _subfolder(folder: Path, module: Settings) -> Path:
    """Get the folder of a module, which must lie inside the model's."""
    path: str = module.get("path", str, "")
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise module.error("path", f"leads out of the model's folder: {path}")
    return folder / path


def _read_pooling(folder: Path) -> str:
    """Read which pooling the settings of the module Pooling ask for."""
    settings = Settings.read(folder / "config.json")
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
        known = " or ".join(POOLINGS)
        raise settings.error("pooling_mode", f"must be {known}, got {modes!r:.60}")
    return str(modes[0])


def _check_normalize(folder: Path) -> None:
    """Make sure that the module Normalize is about sentence vectors.

    Older versions wrote no folder for it.
    """
    settings = Settings.read(folder / "config.json", optional=True)
    for field in ("module_input_name", "module_output_name"):
        name = settings.get(field, str, "sentence_embedding")
        if name != "sentence_embedding":
            raise settings.error(field, f"must be sentence_embedding, got {name!r:.60}")


def _read_prompt(folder: Path) -> str:
    """Read the prompt that config_sentence_transformers.json makes the default."""
    path = folder / "config_sentence_transformers.json"
    settings = Settings.read(path, optional=True)
    if settings.fields.get("default_prompt_name") is None:
        return ""
    name = settings.get("default_prompt_name", str)
    prompts = Settings(path, settings.get("prompts", dict))
    return str(prompts.get(name, str))

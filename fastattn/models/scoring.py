"""What a folder says about scores, in the settings of sentence-transformers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .chain import KINDS
from .checkpoint import Settings
from .folder import Folder, printable
from .module_list import PACKAGE, list_modules
from .modules import ACTIVATIONS as OF_DENSE
from .modules import activation_of
from .saving import Writer, json_file
from .sentence import GENERAL, General, read_general, sentence_files

# What sentence-transformers calls such a model, and what its transformer does.
KIND, TASK = "CrossEncoder", "sequence-classification"

# torch's activations by the names of their classes -> what they are called here.
ACTIVATIONS = {kind: name or "identity" for kind, name in OF_DENSE.items()}


@dataclass(frozen=True)
class Scoring:
    """What a folder says.

    Attributes
    ----------
    transformer : Folder
        The folder of the transformer and its tokenizer.
    general : General
        What holds for all of it: prompts.
    activation : str or None
        What scores go through, where it is said.
    """

    transformer: Folder
    general: General
    activation: str | None


def read_scoring(folder: Folder) -> Scoring:
    """Read what is said about scores: in modules.json, and in the files around it."""
    # Without modules.json nobody reads this file, so that its prompts do not hold.
    general = read_general(folder, KIND)
    listed = list_modules(folder, KINDS)
    for module in listed.rest or ():
        if KINDS[module.kind] is not None:
            raise module.entry.error(
                "type",
                f"is {module.kind}, and of a {KIND} modules behind the transformer are not "
                "read: take one whose transformer ends in the head, as transformers has it "
                "(ForSequenceClassification)",
            )
    transformer = listed.transformer
    config = Settings.read(transformer, "config.json")
    return Scoring(transformer, general, _activation(folder, config))


def _activation(folder: Folder, config: Settings) -> str | None:
    """Find what scores go through, in the first of the places that say it."""
    for settings, field in _places(folder, config):
        if settings.has(field):
            name: str = settings.get(field, str)
            kind = activation_of(name)
            if kind is None:
                problem = f"names an activation that is not known: {printable(name)}"
                raise settings.error(field, problem)
            return ACTIVATIONS[kind]
    return None


def _places(folder: Folder, config: Settings) -> Iterator[tuple[Settings, str]]:
    """List the fields that say it: of version 6, of versions 4 and 5, of those before."""
    yield Settings.read(folder, GENERAL, optional=True), "activation_fn"
    if config.has("sentence_transformers"):
        stored = config.get("sentence_transformers", dict)
        yield Settings(config.path, stored), "activation_fn"
    yield config, "sbert_ce_default_activation_function"


def scoring_fields(activation: str) -> dict[str, Any]:
    """Give the fields of config.json that say what scores go through, for old versions."""
    name = _name_of(activation)
    old = "sbert_ce_default_activation_function"
    return {"sentence_transformers": {"activation_fn": name}, old: name}


def scoring_files(general: General, max_length: int, activation: str) -> dict[str, Writer]:
    """Give what writes the settings of sentence-transformers, by name."""
    transformer = f"{PACKAGE}.base.modules.transformer.Transformer"
    module = {"idx": 0, "name": "0", "path": "", "type": transformer}
    return {"modules.json": json_file([module])} | sentence_files(
        general, max_length, KIND, TASK, activation_fn=_name_of(activation)
    )


def _name_of(activation: str) -> str:
    """Give the name by which sentence-transformers makes an activation."""
    (kind,) = (kind for kind, name in ACTIVATIONS.items() if name == activation)
    return f"torch.nn.modules.{'linear' if kind == 'Identity' else 'activation'}.{kind}"

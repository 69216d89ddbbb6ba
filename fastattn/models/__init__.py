"""Model families: which class reads a folder of which `model_type`."""

from pathlib import Path

from .bert import BertModel
from .checkpoint import Settings

FAMILIES = {"bert": BertModel}


def read_model(folder: Path) -> BertModel:
    """Read the model of a folder with the class that its config.json names."""
    settings = Settings.read(folder / "config.json")
    family = FAMILIES[settings.get_choice("model_type", FAMILIES)]
    return family.read(folder, settings)

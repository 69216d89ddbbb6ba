"""Model families: which class reads a folder of which `model_type`."""

from .bert import BertModel
from .checkpoint import Settings
from .folder import Folder

FAMILIES = {"bert": BertModel}


def read_model(folder: Folder, weights: str = "float32") -> BertModel:
    """Read the model of a folder with the class that its config.json names."""
    settings = Settings.read(folder, "config.json")
    family = FAMILIES[settings.get_choice("model_type", FAMILIES)]
    return family.read(folder, settings, weights)

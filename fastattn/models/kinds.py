"""What a folder holds: a model of texts, of pairs, or of words."""

from .checkpoint import Settings
from .folder import Folder
from .sentence import GENERAL

# What sentence-transformers calls the kinds of models -> what they are called here.
KINDS = {"SentenceTransformer": "TextEncoder", "CrossEncoder": "CrossEncoder"}

# How transformers ends the names of the classes of models with heads.
CLASSIFIER = "ForSequenceClassification"


def kind_of(folder: Folder) -> str:
    """Find the kind of model in a folder, by the name of its class.

    What sentence-transformers wrote says it. Of what transformers wrote, a model with a
    head that classifies is a CrossEncoder, and any other a TextEncoder.
    """
    if folder.has("modules.json"):
        general = Settings.read(folder, GENERAL, optional=True)
        return KINDS[general.get_choice("model_type", KINDS, "SentenceTransformer")]
    config = Settings.read(folder, "config.json", optional=True)
    classes = config.fields.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else None
    return "CrossEncoder" if str(first).endswith(CLASSIFIER) else "TextEncoder"

"""What a folder holds: a model of texts, of pairs, or of words."""

from .checkpoint import Settings
from .folder import Folder
from .refused import refuse_type
from .sentence import GENERAL

# What sentence-transformers calls the kinds of models -> what they are called here.
KINDS = {
    "SentenceTransformer": "TextEncoder",
    "CrossEncoder": "CrossEncoder",
    "SparseEncoder": "SparseEncoder",
}

# How transformers ends the names of the classes of models with heads -> what they can be.
HEADS = {
    "ForSequenceClassification": ("CrossEncoder",),
    "ForMaskedLM": ("TextEncoder", "SparseEncoder"),
}


def kinds_of(folder: Folder) -> tuple[str, ...]:
    """List the kinds of model that a folder can be, by the names of their classes.

    What sentence-transformers wrote says it. Of what transformers wrote, a model with a
    head that classifies is a CrossEncoder, and any other a TextEncoder; one that predicts
    masked words can be a SparseEncoder, too.
    """
    if folder.has("modules.json"):
        general = Settings.read(folder, GENERAL, optional=True)
        refuse_type(general)
        return (KINDS[general.get_choice("model_type", KINDS, "SentenceTransformer")],)
    config = Settings.read(folder, "config.json", optional=True)
    classes = config.fields.get("architectures")
    first = str(classes[0]) if isinstance(classes, list) and classes else ""
    found = (kinds for ending, kinds in HEADS.items() if first.endswith(ending))
    return next(found, ("TextEncoder",))

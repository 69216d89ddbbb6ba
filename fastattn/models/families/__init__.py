"""The families of models: a file each, and a line each in the table below.

A family is data (:mod:`.family`): how its config.json and the names of its tensors are
read. Nothing outside of this package knows one by its name.
"""

from importlib import import_module

from ..checkpoint import Settings
from ..refused import refuse_type
from .family import Family

# What config.json calls `model_type` -> the module here whose FAMILY it is.
MODULES = {
    "albert": "albert",
    "bert": "bert",
    "camembert": "camembert",
    "deberta-v2": "deberta",
    "distilbert": "distilbert",
    "electra": "electra",
    "eurobert": "eurobert",
    "gemma3_text": "gemma3",
    "gte": "gte",
    "jina_embeddings_v3": "jina_v3",
    "modernbert": "modernbert",
    "mpnet": "mpnet",
    "new": "gte",
    "nomic_bert": "nomic_bert",
    "qwen3": "qwen3",
    "roberta": "roberta",
    "t5": "t5",
    "xlm-roberta": "xlm_roberta",
}

# Classes of configurations that write no `model_type`, in code that folders come with ->
# the one that it would be.
CODE = {"XLMRobertaFlashConfig": "xlm-roberta"}

# Fields that change the weights of any family, and that none reads.
NEVER = ("quantization_config", "pruned_heads")


def family_of(settings: Settings) -> Family:
    """Find the family that a config.json names; its module is imported now."""
    for field in NEVER:
        if settings.fields.get(field):
            raise settings.error(field, "is not read: get the model as it was before that")
    refuse_type(settings)
    if not settings.has("model_type"):
        code = settings.get_object("auto_map")
        kind = code.get("AutoConfig", str, "").rpartition(".")[2]
        if kind in CODE:
            fields = settings.fields | {"model_type": CODE[kind]}
            settings = Settings(settings.path, fields)
    name = MODULES[settings.get_choice("model_type", MODULES)]
    family: Family = import_module(f".{name}", __package__).FAMILY
    return family

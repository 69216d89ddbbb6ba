"""The settings of sentence-transformers beside a model, field by field.

A field that changes vectors is honoured, or refused by name; those that are not named here
(versions, and how the model was made) change none.
"""

import sys
from typing import Any, NamedTuple

from ..similarity import FUNCTIONS
from .checkpoint import Settings
from .folder import Folder, printable
from .saving import Writer, json_file

GENERAL = "config_sentence_transformers.json"

# The settings of the module Transformer: its file had the name of the family once, and the
# first that there is counts.
TRANSFORMER = tuple(
    f"sentence_{family}_config.json"
    for family in (
        *("bert", "roberta", "distilbert", "camembert"),
        *("albert", "xlm-roberta", "xlnet"),
    )
)

# The tasks of the module Transformer: what it takes of a model, and what it calls that.
FEATURES = "feature-extraction"
TASKS = {
    FEATURES: ("last_hidden_state", "token_embeddings"),
    "fill-mask": ("logits", "token_embeddings"),
    "sequence-classification": ("logits", "scores"),
}

# What its other settings may be.
ALLOWED: dict[str, tuple[Any, ...]] = {
    "processing_kwargs": ({},),
    "query_length": (),
    "document_length": (),
    "query_expansion": (),
    "tokenizer_name_or_path": (),
}

# Keywords that it hands to transformers, by their names of today and before, and which of
# them change nothing: where files are found, and how torch computes.
KEYWORDS = (
    *("model_kwargs", "processor_kwargs", "config_kwargs"),
    *("model_args", "tokenizer_args", "config_args"),
)
WITHOUT_EFFECT = {
    *("add_pooling_layer", "attn_implementation", "device_map", "dtype", "torch_dtype"),
    *("low_cpu_mem_usage", "revision", "trust_remote_code", "use_cache", "use_fast"),
    *("use_safetensors",),
}
# Fields that are read elsewhere, the last of them with config.json.
OTHER_FIELDS = ("max_seq_length", "do_lower_case", "unpad_inputs", "default_task")


class General(NamedTuple):
    """What config_sentence_transformers.json says: see :class:`fastattn.TextEncoder`."""

    prompt: str
    prompts: dict[str, str]
    similarity_fn_name: str
    truncate_dim: int | None


def read_general(folder: Folder, kind: str = "SentenceTransformer") -> General:
    """Read config_sentence_transformers.json of a kind of model, if it is there."""
    settings = Settings.read(folder, GENERAL, optional=True)
    settings.get_choice("model_type", [kind], kind)
    stored = Settings(settings.path, settings.get("prompts", dict, {}))
    # A prompt of null is none.
    prompts = {
        name: stored.get(name, str) if stored.has(name) else "" for name in stored.fields
    }
    prompt = ""
    if settings.has("default_prompt_name"):
        name = settings.get("default_prompt_name", str)
        if name not in prompts:
            raise settings.wrong("default_prompt_name", "the name of a prompt", name)
        prompt = prompts[name]
    function = "cosine"
    if settings.has("similarity_fn_name"):
        function = settings.get_choice("similarity_fn_name", FUNCTIONS)
    truncate_dim = None
    if settings.has("truncate_dim"):
        truncate_dim = settings.get_size("truncate_dim", sys.maxsize)
    return General(prompt, prompts, function, truncate_dim)


def sentence_files(
    general: General,
    max_length: int,
    kind: str = "SentenceTransformer",
    task: str = FEATURES,
    **more: Any,
) -> dict[str, Writer]:
    """Give what writes the settings of sentence-transformers, by name.

    `kind` is what it calls the model, `task` what the transformer does in it, and `more`
    are fields about all of it.
    """
    prompts = general.prompts
    if general.prompt and general.prompt not in prompts.values():
        prompts = prompts | {"default": general.prompt}
    names = (name for name, prompt in prompts.items() if prompt == general.prompt)
    fields = {
        "model_type": kind,
        "prompts": prompts,
        "default_prompt_name": next(names, None) if general.prompt else None,
        "similarity_fn_name": general.similarity_fn_name,
        "truncate_dim": general.truncate_dim,
        **more,
    }
    # Version 6 reads the limit from tokenizer_config.json, those before from here.
    limit = {"max_seq_length": max_length, "do_lower_case": False}
    # Those before know of no other task.
    own = {} if task == FEATURES else _fields_of(task)
    return {GENERAL: json_file(fields), TRANSFORMER[0]: json_file(limit | own)}


def _fields_of(task: str) -> dict[str, Any]:
    """Give the fields of the module Transformer that say what it does."""
    taken, given = TASKS[task]
    return {
        "transformer_task": task,
        "modality_config": {"text": {"method": "forward", "method_output_name": taken}},
        "module_output_name": given,
    }


def read_transformer(folder: Folder, task: str = FEATURES) -> Settings:
    """Read the settings of the module Transformer; those that are not honoured are refused.

    What is left to honour is `max_seq_length` and `do_lower_case`.
    """
    allowed = ALLOWED | {field: (value,) for field, value in _fields_of(task).items()}
    name = next(filter(folder.has, TRANSFORMER), TRANSFORMER[0])
    settings = Settings.read(folder, name, optional=True)
    for field in settings.fields:
        if not settings.has(field) or field in OTHER_FIELDS:
            continue
        if field in KEYWORDS:
            for keyword in settings.get(field, dict):
                if keyword not in WITHOUT_EFFECT:
                    where = f"{field}.{printable(keyword)}"
                    raise settings.error(where, "is not read, and may change vectors")
        elif field not in allowed:
            problem = "is a field that fastattn does not know: it may change vectors"
            raise settings.error(field, problem)
        elif settings.fields[field] not in allowed[field]:
            expected = " or ".join(map(repr, allowed[field])) or "missing"
            raise settings.wrong(field, expected, settings.fields[field])
    return settings


def name_of_settings(folder: Folder) -> str | None:
    """Name what shows that sentence-transformers wrote a folder, if something does."""
    return next(filter(folder.has, (GENERAL, *TRANSFORMER, "1_Pooling")), None)

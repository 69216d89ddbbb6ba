"""What sentence-transformers has and these classes have not: each with the reason."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ...models.sentence import WITHOUT_EFFECT

NO_TRAINING = (
    "nothing is trained here: train with sentence-transformers, and load the folder"
)
NO_TORCH = "there is no module of torch here"
NO_ADAPTERS = "adapters are merged into a folder before it is loaded"
NO_UPLOAD = "save the model, and upload the folder with `hf upload`"
NO_EXPORT = (
    "models are read from safetensors, and model_kwargs={'compute': 'int8'} is faster"
)
NO_CARD = "no model card is written"
EVALUATORS = (
    "those of the real sentence-transformers take the models of this module: import them "
    "from there"
)

# Modules, also those of a kind of model.
MODULES = {
    **dict.fromkeys(
        (
            *("losses", "trainer", "training_args", "datasets", "readers", "sampler"),
            "data_collator",
        ),
        NO_TRAINING,
    ),
    "evaluation": EVALUATORS,
    "model_card": NO_CARD,
    "peft_mixin": NO_ADAPTERS,
    "backend": NO_EXPORT,
}

# What else is imported.
NAMES = {
    **dict.fromkeys(
        (
            *("SentenceTransformerTrainer", "SentenceTransformerTrainingArguments"),
            *("CrossEncoderTrainer", "CrossEncoderTrainingArguments", "InputExample"),
            *("SparseEncoderTrainer", "SparseEncoderTrainingArguments", "SentencesDataset"),
            *("ParallelSentencesDataset", "DefaultBatchSampler", "mine_hard_negatives"),
            *("MultiDatasetDefaultBatchSampler", "resolve_ids"),
        ),
        NO_TRAINING,
    ),
    **dict.fromkeys(
        (
            *("MultiVectorEncoder", "MultiVectorEncoderTrainer"),
            *("MultiVectorEncoderTrainingArguments", "MultiVectorEncoderModelCardData"),
        ),
        "late interaction is not computed here",
    ),
    **dict.fromkeys(
        (
            *("SentenceTransformerModelCardData", "CrossEncoderModelCardData"),
            "SparseEncoderModelCardData",
        ),
        NO_CARD,
    ),
    **dict.fromkeys(
        (
            *("export_optimized_onnx_model", "export_dynamic_quantized_onnx_model"),
            "export_static_quantized_openvino_model",
        ),
        NO_EXPORT,
    ),
    "LoggingHandler": "logging.StreamHandler does the same beside no progress bar",
}

# Attributes and methods, and functions of util.
ATTRIBUTES = {
    **dict.fromkeys(
        (
            *("fit", "old_fit", "smart_batching_collate", "gradient_checkpointing_enable"),
            *("smart_batching_collate_text_only", "merge", "get_sentence_features"),
            "train",
        ),
        NO_TRAINING,
    ),
    **dict.fromkeys(
        (
            *("forward", "compile", "transformers_model", "model", "dtype", "modules"),
            *("children", "parameters", "state_dict", "cuda", "clear_placement_cache"),
            *("half", "bfloat16", "_first_module", "_last_module"),
        ),
        NO_TORCH,
    ),
    **dict.fromkeys(
        (
            *("load_adapter", "add_adapter", "set_adapter", "disable_adapters"),
            *("enable_adapters", "active_adapters", "active_adapter", "delete_adapter"),
            *("get_adapter_state_dict", "has_peft_compatible_model"),
            "check_peft_compatible_model",
        ),
        NO_ADAPTERS,
    ),
    "save_to_hub": NO_UPLOAD,
    "push_to_hub": NO_UPLOAD,
    "set_pooling_include_prompt": "1_Pooling/config.json says it, as include_prompt",
    "get_default_activation_fn": "encoder.activation is the name of it",
    "http_get": "urllib.request.urlretrieve gets a file",
    "mine_hard_negatives": NO_TRAINING,
}

# Keywords that are handed on to other libraries, and change no numbers: where files are,
# how torch computes, in what form a backend has the model.
HANDED_ON = WITHOUT_EFFECT | {
    *("cache_dir", "local_files_only", "token", "code_revision", "export", "provider"),
    *("provider_options", "session_options", "ov_config", "subfolder"),
}

# What fastattn.load takes, and where constructors here have it.
GIVEN_ELSEWHERE = {
    "compute": "give it as model_kwargs={'compute': ...}",
    "weights": "give it as model_kwargs={'weights': ...}",
    "max_length": "set max_seq_length of the model",
    "download": "what is not here is downloaded but for local_files_only=True",
}

# In what models are computed here, as torch and transformers name it.
DTYPES = ("auto", "float32", "torch.float32", "None")


class ModelCard:
    """What evaluators tell their results; no card is written of them."""

    def set_evaluation_metrics(self, *results: Any, **of: Any) -> None:
        """Take results, and forget them."""


class Finder:
    """Says why a module is not there; Python asks it when nobody else has found one."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse the modules that are left out of some packages."""
        package, _, module = name.rpartition(".")
        if package in self._packages and module in MODULES:
            raise refuse_import(module)


def refuse_import(name: str) -> ImportError:
    """Make the error about a module, or a name in the package, that is not there."""
    reason = (MODULES | NAMES)[name]
    return ModuleNotFoundError(
        f"{name} of sentence-transformers is left out of fastattn: {reason}"
    )


def refuse_attribute(kind: str, name: str) -> AttributeError:
    """Make the error about an attribute that is not there."""
    reason = f": {ATTRIBUTES[name]}" if name in ATTRIBUTES else ""
    return AttributeError(f"{kind} has no attribute {name!r}{reason}")


def refuse_keywords(function: str, keywords: Iterable[str]) -> None:
    """Refuse what a method of a model hands on to modules, and what it does not know."""
    for keyword in keywords:
        raise ValueError(
            f"{function}() got {keyword!r}, which no model here reads: leave it out"
        )


def refuse_options(kind: str, options: Iterable[str]) -> None:
    """Refuse what a constructor does not know, also what is given elsewhere."""
    for option in options:
        cure = GIVEN_ELSEWHERE.get(option, "sentence-transformers has none of this name")
        raise TypeError(f"{kind}() got an unexpected keyword argument {option!r}: {cure}")


def check_handed_on(name: str, keywords: dict[str, Any] | None, *allowed: str) -> None:
    """Refuse keywords in a dictionary for another library that may change numbers."""
    if keywords is not None and not isinstance(keywords, Mapping):
        raise TypeError(f"{name} must be a dictionary, got {keywords!r}")
    for keyword, value in (keywords or {}).items():
        if keyword in ("dtype", "torch_dtype") and str(value) not in DTYPES:
            raise ValueError(
                f"{name}[{keyword!r}] must be float32, in which models are computed, got "
                f"{value!r}: model_kwargs={{'compute': 'bfloat16'}} or {{'weights': "
                "'float16'}, as fastattn.load has them, are close to it"
            )
        if keyword not in HANDED_ON and keyword not in allowed:
            raise ValueError(f"{name}[{keyword!r}] is not read, and may change numbers")

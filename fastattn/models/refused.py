"""The models that are not read: what they are, and what to take in their place.

docs/models.md shows the table.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import ModelFormatError
from .checkpoint import Settings
from .folder import Folder, printable


@dataclass(frozen=True)
class Kind:
    """Models that do something else than to encode texts by a family that is read.

    Attributes
    ----------
    what : str
        What a model of this kind is.
    cure : str
        What to do about it.
    types : tuple of str
        The `model_type` of their config.json, or config_sentence_transformers.json.
    architectures : tuple of str
        How the names of their classes begin or end.
    fields : tuple of str
        Numbers in config.json that are above 1 for them, whatever their type.
    modules : tuple of str
        What modules.json lists for them: classes, or packages.
    """

    what: str
    cure: str
    types: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


ANOTHER = "take a model of one of the types that docs/models.md lists"

KINDS = (
    Kind(
        "a mixture of experts",
        "take a model without experts, as nomic-embed-text-v1.5 is beside v2-moe",
        types=(
            *("mixtral", "qwen2_moe", "qwen3_moe", "deepseek_v2", "deepseek_v3"),
            *("gpt_oss", "olmoe", "dbrx", "granitemoe", "jamba"),
        ),
        fields=("num_experts", "num_local_experts", "n_routed_experts"),
    ),
    Kind(
        "late interaction, with a vector for each token (ColBERT)",
        "take a model with one vector for a text, or PyLate, which computes these",
        types=("colbert", "ColBERT", "MultiVectorEncoder"),
        architectures=("HF_ColBERT", "ColBERT"),
        modules=("pylate", "MultiVectorMask"),
    ),
    Kind(
        "an encoder with a decoder, which writes texts",
        "take a model that is an encoder alone; for classes without examples, one with a "
        "SequenceClassification head",
        types=(
            *("bart", "mbart", "pegasus", "marian", "m2m_100", "blenderbot", "led"),
            *("mt5", "umt5", "longt5", "prophetnet", "bigbird_pegasus", "encoder-decoder"),
        ),
    ),
    Kind(
        "a decoder, which writes texts",
        "take an encoder, or an embedding model of a type that docs/models.md lists",
        types=(
            *("gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "falcon", "mpt"),
            *("llama", "mistral", "ministral", "phi", "phi3", "qwen2", "gemma", "gemma2"),
            *("olmo", "olmo2", "stablelm", "smollm3", "granite", "cohere", "mamba", "rwkv"),
        ),
    ),
    Kind(
        "a model that reads pictures",
        ANOTHER,
        types=(
            *("clip", "clip_text_model", "chinese_clip", "siglip", "siglip2", "align"),
            *("vit", "dinov2", "blip", "blip-2", "vilt", "flava", "colpali", "colqwen2"),
            *("layoutlm", "layoutlmv2", "layoutlmv3", "llava", "mllama", "gemma3"),
            *("qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
        ),
        modules=("CLIPModel",),
    ),
    Kind(
        "a model that hears speech",
        ANOTHER,
        types=("whisper", "wav2vec2", "hubert", "clap", "seamless_m4t", "speecht5"),
    ),
    Kind(
        "an encoder of a family that is not read",
        ANOTHER,
        types=(
            *("deberta", "xlnet", "xlm", "flaubert", "longformer", "big_bird", "roformer"),
            *("funnel", "squeezebert", "mobilebert", "convbert", "fnet", "nystromformer"),
            *("reformer", "megatron-bert", "roberta-prelayernorm", "xmod", "ibert"),
            *("rembert", "luke", "ernie", "esm", "canine", "perceiver"),
        ),
    ),
    Kind(
        "a model that says something of each token",
        "take transformers' pipeline; fastattn gives vectors and scores of whole texts",
        architectures=(
            *("ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice"),
            "ForNextSentencePrediction",
        ),
    ),
)

# Of folders without modules.json: with one they are embedding models.
CHAT = Kind(
    "a decoder, which writes texts: a reranker among them answers yes or no in a chat",
    "take an embedding model with its modules.json, or a conversion to a classifier, whose "
    "name ends in -seq-cls",
    architectures=("ForCausalLM",),
    modules=("LogitScore",),
)

TABLE = Kind(
    "a static model of model2vec, whose modules.json is missing",
    "copy or download modules.json, too, or let model2vec write the folder again",
    architectures=("StaticModel",),
)

# Both are refused where there is no modules.json.
WITHOUT_MODULES = CHAT, TABLE

# Where a template of chats stands beside tokenizer_config.json.
CHAT_FILES = ("chat_template.jinja", "chat_template.json")

TYPES = {model_type: kind for kind in KINDS for model_type in kind.types}


def refuse_type(settings: Settings) -> None:
    """Refuse what is known to be no model of a family that is read, by a config.json."""
    value = settings.fields.get("model_type")
    if isinstance(value, str) and value in TYPES:
        raise _error(settings, "model_type", value, TYPES[value])
    for kind in KINDS:
        for field in kind.fields:
            count = settings.fields.get(field)
            if isinstance(count, int) and count > 1:
                raise _error(settings, field, count, kind)


def refuse_architecture(settings: Settings, kinds: Iterable[Kind] = KINDS) -> None:
    """Refuse a model for what stands on top of its encoder, by the name of its class."""
    names = settings.fields.get("architectures")
    for name in names if isinstance(names, list) else ():
        for kind in kinds if isinstance(name, str) else ():
            if name.startswith(kind.architectures) or name.endswith(kind.architectures):
                raise _error(settings, "architectures", name, kind)


def refuse_chat(folder: Folder) -> None:
    """Refuse a template of chats, into which sentence-transformers puts texts.

    It does so where there is no modules.json, which says what they are put into.
    """
    general = Settings.read(folder, "tokenizer_config.json", optional=True)
    problem = (
        "is not read, and sentence-transformers puts texts into it where there is no "
        "modules.json: take it out of the folder for texts to be read as they are"
    )
    if general.has("chat_template"):
        raise general.error("chat_template", problem)
    for name in filter(folder.has, CHAT_FILES):
        raise ModelFormatError(f"{folder.path / name}: {problem}")


def refuse_module(entry: Settings) -> None:
    """Refuse a model for a module that modules.json lists."""
    name = entry.get("type", str)
    for kind in (*KINDS, CHAT):
        if {name.split(".")[0], name.rpartition(".")[2]}.intersection(kind.modules):
            raise _error(entry, "type", name, kind)


def _error(
    settings: Settings, field: str, value: str | int, kind: Kind
) -> ModelFormatError:
    """Say what a value of a field means."""
    shown = printable(repr(value))
    return settings.error(field, f"{shown} means {kind.what}: it is not read; {kind.cure}")

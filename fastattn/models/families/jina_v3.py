"""Jina Embeddings v3: an XLM-R with rotary positions in place of its table of them.

Sturua et al. 2024, "jina-embeddings-v3: Multilingual Embeddings With Task LoRA",
section 4.
"""

from dataclasses import replace
from functools import partial

from ..checkpoint import Settings
from .attention import HIGHEST_BASE, read_rotary
from .family import (
    ACTIVATIONS,
    EPS_RANGE,
    TASK,
    Architecture,
    Family,
    LowRank,
    SameRows,
    affine,
    dense_classifier,
    head_dim_of,
    read_sizes,
)
from .post_norm import NATIVE, NATIVE_ATTENTION, Names, Parts, post_norm
from .roberta import counted

# The fields of config.json that are sizes, with their defaults.
SIZES = {
    "vocab_size": ("vocab_size", 250002),
    "hidden_size": ("hidden_size", 1024),
    "num_layers": ("num_hidden_layers", 24),
    "num_heads": ("num_attention_heads", 16),
    "intermediate_size": ("intermediate_size", 4096),
    "max_positions": ("max_position_embeddings", 8194),
    "num_token_types": ("type_vocab_size", 1),
}

FEED_FORWARD: Parts = {("linear1.",): ("mlp.fc1",), ("linear2.",): ("mlp.fc2",)}

NAMES = Names(
    layer="encoder.layers.{}.",
    embedding_norm="emb_ln",
    parts={
        ("self_attn.in_proj_",): ("mixer.Wqkv",),
        ("self_attn.out_proj.",): ("mixer.out_proj",),
        ("norm1.",): ("norm1",),
        **FEED_FORWARD,
        ("norm2.",): ("norm2",),
    },
)


def read(settings: Settings, names: Names = NAMES, rotary: bool = True) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    sizes = read_sizes(settings, SIZES)
    dim = head_dim_of(settings, sizes, SIZES)
    return post_norm(
        sizes,
        names,
        rotary=read_rotary(settings, dim, 20000.0) if rotary else None,
        activation=ACTIVATIONS[settings.get_choice("hidden_act", ACTIVATIONS, "gelu")],
        gated=False,
        eps=settings.get_float("layer_norm_eps", 1e-5, *EPS_RANGE),
    )


PUBLISHED = Family(
    read=read,
    prefixes=("roberta.",),
    # Heads.
    unused=("pooler.", "lm_head.", "classifier."),
    classifier=dense_classifier("classifier.dense", "tanh", "classifier.out_proj"),
    tokenizer_class="XLMRobertaTokenizer",
)

IN_MEMORY = replace(
    PUBLISHED, read=partial(read, names=Names(parts=NATIVE_ATTENTION | FEED_FORWARD))
)

FAMILY = replace(PUBLISHED, variants={NATIVE: IN_MEMORY})


def read_original(settings: Settings) -> Architecture:
    """Read config.json of the folders that come with code of their own.

    The second version of Jina's reranker has its names, and positions as XLM-R.
    """
    kind = settings.get_choice("position_embedding_type", ["rotary", "absolute"])
    if kind == "absolute":
        found = read(settings, rotary=False)
        name = "embeddings.position_embeddings"
        shape = found.max_positions, found.hidden_size
        table = affine(["position_embeddings."], {name: shape}, bias=False)
        return counted(replace(found, weights=[*found.weights, *table]), settings)
    base = settings.get_float("rotary_emb_base", 10000.0, 1.0, HIGHEST_BASE)
    rope = {"rope_parameters": {"rope_theta": base}}
    return read(Settings(settings.path, settings.fields | rope))


# What config.json says about adapters.
ADAPTERS = (
    *("lora_adaptations", "lora_rank", "lora_alpha", "lora_dropout_p"),
    *("lora_main_params_trainable", "load_trained_adapters", "task_instructions"),
)

# More tasks, and a higher rank, than any model has.
MOST = 2**10

# How the names of a matrix, and of what is added to it, end.
ORIGINAL = "parametrizations.weight.original"
A, B = "parametrizations.weight.0.lora_A", "parametrizations.weight.0.lora_B"


def read_adapted(settings: Settings) -> Architecture:
    """Read config.json of a folder with an adapter for each of some tasks.

    Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1: every
    matrix is added ``alpha / rank`` times B A; of tables of embeddings, A B.
    """
    tasks = settings.get("lora_adaptations", list)
    if not 1 <= len(tasks) <= MOST or not all(isinstance(task, str) for task in tasks):
        raise settings.wrong("lora_adaptations", f"1 to {MOST} names of tasks", tasks)
    task = None
    if settings.has(TASK):
        task = tasks.index(settings.get_choice(TASK, tasks))
    rank = settings.get_size("lora_rank", MOST)
    scale = settings.get_float("lora_alpha") / rank

    def adapt(place: SameRows) -> SameRows:
        added = {}
        for name, shape in place.tensors.items():
            if len(shape) < 2:
                continue
            rows, columns = shape
            ends = (A, B) if name.startswith("embeddings.") else (B, A)
            left, right = (name.removesuffix("weight") + end for end in ends)
            added[name] = LowRank(
                (left, (len(tasks), rows, rank)),
                (right, (len(tasks), rank, columns)),
                task,
                scale,
            )
        return replace(place, added=added)

    architecture = read_original(settings)
    return replace(architecture, weights=[adapt(place) for place in architecture.weights])


# How a name ends that only the tensors of a form have -> the form; all say "xlm-roberta".
FORMS = {
    ORIGINAL: replace(
        PUBLISHED, read=read_adapted, spellings={ORIGINAL: "weight"}, adapters=ADAPTERS
    ),
    "mixer.Wqkv.weight": replace(PUBLISHED, read=read_original),
}

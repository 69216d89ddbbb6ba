"""EuroBERT: the layers of Llama, seeing both sides.

Boizard et al. 2025, "EuroBERT: Scaling Multilingual Encoders for European Languages",
section 2.1.
"""

from ..checkpoint import Settings
from .attention import read_rotary
from .family import (
    ACTIVATIONS,
    EPS_RANGE,
    Architecture,
    Classifier,
    Family,
    HeadLayer,
    head_dim_of,
    read_sizes,
)
from .llama_like import SIZES, Decoder, read_heads


def read(settings: Settings) -> Architecture:
    """Read config.json; what transformers has a default for may be missing."""
    sizes = read_sizes(settings, SIZES)
    head_dim = head_dim_of(settings, sizes, SIZES)
    heads = read_heads(settings, sizes, head_dim, sizes["num_heads"])
    decoder = Decoder(
        sizes=sizes,
        heads=heads,
        activation=ACTIVATIONS[settings.get_choice("hidden_act", ACTIVATIONS, "silu")],
        eps=settings.get_float("rms_norm_eps", 1e-5, *EPS_RANGE),
        attention_bias=settings.get("attention_bias", bool, False),
        mlp_bias=settings.get("mlp_bias", bool, False),
        qk_norm=False,
    )
    rotary = read_rotary(settings, heads["head_dim"], 10000.0)
    return decoder.architecture([{"rotary": rotary}] * sizes["num_layers"])


# Which vector of a text the head takes -> what that is here, and in front of which layer.
# Late, the mean is that of the labels of tokens, which comes to the same in front of the
# last layer, of the mean that it is given.
POOLINGS = {"bos": ("cls", 0), "mean": ("mean", 0), "late": ("mean", 1)}


def classifier(settings: Settings) -> Classifier:
    """Describe the two dense layers behind the first token, or the mean."""
    choice = settings.get_choice("classifier_pooling", POOLINGS, "late")
    pooling, of_tokens = POOLINGS[choice]
    layers = HeadLayer(dense="dense", activation="gelu"), HeadLayer(dense="classifier")
    return Classifier(layers=layers, pooling=pooling, of_tokens=of_tokens)


FAMILY = Family(
    read=read,
    prefixes=("model.",),
    # Heads.
    unused=("lm_head.", "dense.", "classifier."),
    classifier=classifier,
)

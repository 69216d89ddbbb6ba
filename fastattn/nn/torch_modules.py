"""Settings of PyTorch's modules, read without PyTorch: by the attributes they have.

What a layer of ours cannot do is refused here, by name, before a weight is read.
"""

import warnings
from typing import Any

from .._rowwise import ACTIVATIONS
from ..errors import cure_for

__all__ = ["attention_settings", "attributes", "encoder_layer_settings", "warn_of_order"]


def attributes(module: Any, kind: str, *names: str) -> list[Any]:
    """Read attributes of a module of the kind ``torch.nn.<kind>``."""
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        raise TypeError(
            f"module must be a torch.nn.{kind}, got {type(module).__name__}, "
            f"which has no {missing[0]}{cure_for(module)}"
        )
    return [getattr(module, name) for name in names]


def attention_settings(module: Any) -> dict[str, Any]:
    """Read the settings of :class:`MultiHeadAttention` off a MultiheadAttention."""
    kind = "MultiheadAttention"
    hidden_size, num_heads, key_size, value_size, bias = attributes(
        module, kind, "embed_dim", "num_heads", "kdim", "vdim", "in_proj_bias"
    )
    extra_key, zero, dropout = attributes(
        module, kind, "bias_k", "add_zero_attn", "dropout"
    )
    _refuse_dropout(module, dropout)
    if extra_key is not None:
        raise ValueError("add_bias_kv=True (bias_k and bias_v) cannot be carried over")
    if zero:
        raise ValueError("add_zero_attn=True cannot be carried over")
    if key_size != value_size:
        raise ValueError(
            f"kdim and vdim must be equal, got {key_size} and {value_size}: keys and "
            "values are made from one source"
        )
    return {
        "hidden_size": hidden_size,
        "num_heads": num_heads,
        "source_size": key_size,
        "bias": bias is not None,
    }


def warn_of_order(module: Any) -> None:
    """Say that the batch comes first here, where it does not in a module of torch."""
    if not getattr(module, "batch_first", True):
        warnings.warn(
            f"this {type(module).__name__} has batch_first=False: it takes (length, batch, "
            "dim), and the layer made from it takes (batch, length, dim)",
            UserWarning,
            stacklevel=3,
        )


def encoder_layer_settings(module: Any) -> dict[str, Any]:
    """Read the settings of :class:`EncoderLayer` off a TransformerEncoderLayer."""
    kind = "TransformerEncoderLayer"
    attention, linear, norm_first, activation = attributes(
        module, kind, "self_attn", "linear1", "norm_first", "activation"
    )
    for dropout in attributes(module, kind, "dropout", "dropout1", "dropout2"):
        _refuse_dropout(dropout, dropout.p)
    first, second = (
        attributes(norm, "LayerNorm", "eps", "bias")
        for norm in attributes(module, kind, "norm1", "norm2")
    )
    if first[0] != second[0]:
        raise ValueError(
            f"norm1 and norm2 must have one eps, got {first[0]} and {second[0]}"
        )
    settings = attention_settings(attention)
    return {
        "hidden_size": settings["hidden_size"],
        "num_heads": settings["num_heads"],
        "intermediate_size": linear.out_features,
        "activation": _activation(activation),
        "norm_first": norm_first,
        "norm_eps": first[0],
        "bias": settings["bias"],
    }


def _activation(activation: Any) -> str:
    """Name an activation: a function of torch, or a module."""
    called = activation if hasattr(activation, "__name__") else type(activation)
    name = called.__name__.lower()  # torch.nn.ReLU is the module of the function relu
    # Something of the user's own may have the name and do something else.
    package = (called.__module__ or "torch").partition(".")[0]
    if name not in ACTIVATIONS or package != "torch":
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"activation {activation!r} is not known: {known} are")
    tanh = getattr(activation, "approximate", "none") == "tanh"
    return "gelu_tanh" if tanh else name


def _refuse_dropout(module: Any, rate: float) -> None:
    if module.training and rate > 0:
        raise ValueError(
            f"the module is training with dropout={rate}, which cannot be carried over: "
            "call module.eval() first"
        )

"""The words of PyTorch and other libraries: what they are called here.

Python's own error about a keyword that a function does not have says no more than that, and
an attribute that nobody reads is set without any.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Any, Never, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

OPPOSITE = ": True is a real token here, so pass ~{}"
KEYS_AND_VALUES = ", from which keys and values are made"

# What is called otherwise: what it is called here, and what else is to be said.
NAMES = {
    # torch.nn and torch.nn.functional
    "attn_mask": (
        "mask",
        ": True = attend, as scaled_dot_product_attention has it, not MultiheadAttention",
    ),
    "src_mask": ("mask", ": True = attend here, so pass ~src_mask"),
    "is_causal": ("causal", ""),
    "src_key_padding_mask": ("padding_mask", OPPOSITE.format("src_key_padding_mask")),
    "key_padding_mask": ("padding_mask", OPPOSITE.format("key_padding_mask")),
    "key": ("source", KEYS_AND_VALUES),
    "value": ("source", KEYS_AND_VALUES),
    "need_weights": ("return_weights", ""),
    "d_model": ("hidden_size", ""),
    "embed_dim": ("hidden_size", ""),
    "nhead": ("num_heads", ""),
    "dim_feedforward": ("intermediate_size", ""),
    "kdim": ("source_size", KEYS_AND_VALUES),
    "vdim": ("source_size", KEYS_AND_VALUES),
    "layer_norm_eps": ("norm_eps", ""),
    "normalized_shape": ("dim", ", the size of the last dimension"),
    "embedding_dim": ("dim", ""),
    "dim": ("axis", ""),
    # flash-attention
    "softmax_scale": ("scale", ""),
    "window_size": ("window", ""),
    # transformers
    "attention_mask": ("padding_mask", ": True or 1 where a token is real"),
    "num_attention_heads": ("num_heads", ""),
    "num_key_value_heads": ("num_kv_heads", ""),
    "num_hidden_layers": ("num_layers", ""),
    "hidden_act": ("activation", ""),
    "torch_dtype": ("weights", ", the format that matrices are stored in"),
    # sentence-transformers
    "sentences": ("inputs", ""),
    "batch_size": ("batch_tokens", ", which bounds memory: no result depends on it"),
    "show_progress_bar": ("show_progress", ""),
    "normalize_embeddings": ("normalize", ""),
    "output_value": ("output", ': "sentence" or "tokens"'),
    "activation_fn": ("activation", ', the name of one, as "sigmoid"'),
    "activation_fct": ("activation", ', the name of one, as "sigmoid"'),
    "apply_softmax": ("activation", '="softmax"'),
    "max_seq_length": ("max_length", ""),
}

NO_DROPOUT = "nothing is dropped here"
NO_DEVICE = "everything is float32 on the CPU"
ARRAYS = "results are NumPy arrays, of which torch.from_numpy makes tensors"
TRACE = "fastattn.trace gives every value on the way"

# What has no place here, and why.
LEFT_OUT = {
    "dropout": NO_DROPOUT,
    "dropout_p": NO_DROPOUT,
    "device": NO_DEVICE,
    "dtype": NO_DEVICE,
    "batch_first": "the batch always comes first",
    "average_attn_weights": "weights are those of each head",
    "enable_gqa": "fewer heads of keys and values need no flag",
    "elementwise_affine": "norms have weights",
    "max_seqlen_q": "it follows from cu_seqlens_q",
    "max_seqlen_k": "it follows from cu_seqlens_k",
    "output_hidden_states": TRACE,
    "output_attentions": TRACE,
    "return_dict": "the hidden states are what is given",
    "convert_to_numpy": ARRAYS,
    "convert_to_tensor": ARRAYS,
    "trust_remote_code": "no code of a folder is run",
    "local_files_only": "the network is touched only with download=True",
}


def unexpected(
    function: Callable[..., Any], others: Iterable[str], name: str | None = None
) -> TypeError:
    """Make the error about keywords that a function lacks, by its name or another."""
    keyword, *_ = others
    return _error(name or function.__qualname__, keyword, _names(function))


def check_options(
    function: Callable[..., Any], options: Iterable[str], like: Callable[..., Any]
) -> None:
    """Refuse options that a function hands on to one `like` which they are none of."""
    known = _by_keyword(_names(like) | _names(function))
    others = [option for option in options if option not in known]
    if others:
        raise _error(function.__qualname__, others[0], known)


def in_our_words(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function say what its keywords are called, to who takes those of others.

    It takes the time of another call: functions of microseconds have ``**others: Never``
    in its place, and raise :func:`unexpected` themselves.
    """

    @wraps(function)
    def checked(*arguments: P.args, **keywords: P.kwargs) -> R:
        try:
            return function(*arguments, **keywords)
        except TypeError:
            known = _names(function)
            for keyword in keywords:
                if keyword not in known and _cure(keyword, known):
                    raise _error(function.__qualname__, keyword, known) from None
            raise

    return checked


class Renamed:
    """An attribute that is called so elsewhere: it is neither read nor set here."""

    def __init__(self, ours: str) -> None:
        self._ours = ours

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name in the class."""
        self._error = f"{owner.__name__} has no {name}: here it is {self._ours}"

    def __get__(self, instance: object, owner: type | None = None) -> Never:
        """Refuse to be read."""
        raise AttributeError(self._error)

    def __set__(self, instance: object, value: Never) -> None:
        """Refuse to be set."""
        raise AttributeError(self._error)


def _names(function: Callable[..., Any]) -> dict[str, Parameter]:
    """Give the parameters of a function by their names."""
    return {
        name: parameter
        for name, parameter in signature(function).parameters.items()
        if parameter.annotation is not Never
    }


def _cure(keyword: str, known: Mapping[str, Parameter]) -> str | None:
    """Say what to do about a keyword of another library, if there is a word for it."""
    if keyword in LEFT_OUT:
        return f"leave it out, {LEFT_OUT[keyword]}"
    ours, remark = NAMES.get(keyword, ("", ""))
    # What is handed on to a layer inside may have any name.
    handed_on = any(each.kind is Parameter.VAR_KEYWORD for each in known.values())
    return f"here it is {ours}{remark}" if ours in known or (ours and handed_on) else None


def _by_keyword(known: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Give those parameters that are given by keyword alone."""
    return {name: p for name, p in known.items() if p.kind is Parameter.KEYWORD_ONLY}


def _error(function: str, keyword: str, known: Mapping[str, Parameter]) -> TypeError:
    cure = _cure(keyword, known)
    if cure is None:
        cure = f"its keywords are {', '.join(_by_keyword(known))}"
    name = function.removesuffix(".__init__")
    return TypeError(f"{name}() got an unexpected keyword argument {keyword!r}: {cure}")

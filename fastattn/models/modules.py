"""What sentence-transformers puts behind an encoder: modules, each a step of a program.

Each is a layer that reads some vectors by their name and gives some: those of tokens,
which the encoder computes, or those of texts, which a Pooling makes of them. Fields that
change vectors are honoured or refused by name.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy import float32, int64
from numpy.typing import NDArray

from .. import _rowwise, nn
from .._program import Program
from .._rowwise import POOLINGS
from .checkpoint import Settings
from .cures import WEIGHTS
from .families.family import HIGHEST, SameRows
from .folder import Folder, printable
from .saving import Writer, json_file
from .tensor_files import TensorFiles
from .tensors import Tensors
from .weights import weights_file

Array = NDArray[float32]

# The vectors that there are, by the names that sentence-transformers has for them.
TOKENS = "token_embeddings"
SENTENCE = "sentence_embedding"

# The fields that name vectors.
VECTORS = ("module_input_name", "module_output_name")

# How many numbers the vectors of a name have, as far as modules have given them.
Sizes = Mapping[str, int]

# The poolings, by the switches that were written before they had names, which are those of
# the kernels. Several that are switched on stand side by side in this order.
SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

# The activations of a Dense, by the names of torch's classes.
ACTIVATIONS = {
    "Identity": None,
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
}


# Where torch has these classes: in its modules, which it shows under shorter names, too.
PACKAGES = (
    *("torch.nn", "torch.nn.modules"),
    *("torch.nn.modules.activation", "torch.nn.modules.linear"),
)


@dataclass
class Features:
    """The vectors of some texts on their way through the modules.

    Attributes
    ----------
    vectors : dict of str to array (rows, dim)
        By name: rows of packed tokens, or of texts.
    starts : int64 array (texts + 1,)
        Where the tokens of each text start.
    ids : int64 array (tokens,)
        The ids of the packed tokens.
    prompt_tokens : int
        How many of the first tokens of each text are those of the prompt.
    """

    vectors: dict[str, Array]
    starts: NDArray[int64]
    ids: NDArray[int64]
    prompt_tokens: int = 0


class Module(nn.Layer):
    """Base class of the modules.

    Attributes
    ----------
    reads, gives : str
        Names of the vectors that it is computed from, and that it replaces.
    dim : int
        How many numbers each vector has that it gives.
    unit : bool
        Whether all that it does is to scale vectors to unit length.
    include_prompt : bool
        Whether it makes no difference to it which tokens are those of the prompt.
    """

    reads: str
    gives: str
    dim: int
    unit: ClassVar[bool] = False
    include_prompt: bool = True

    # The fields that its config.json may have, and whether there need be none.
    fields: ClassVar[tuple[str, ...]]
    optional: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def read(cls, settings: Settings, folder: Folder, sizes: Sizes) -> Self:
        """Make the module of its config.json and its folder, and the sizes of vectors."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Give the fields of its config.json."""

    @abstractmethod
    def steps(self, program: Program, features: Features) -> Array:
        """Add the module to a program; the vectors that it gives are made here."""

    def files(self) -> dict[str, Writer]:
        """Give what writes each of its files, by name."""
        files = {"config.json": json_file(self.settings())}
        owners = list(self._owners())
        if owners:
            places = [
                SameRows((key,), {key: owner._weights[name].shape})
                for key, owner, name in owners
            ]
            weights = {key: partial(owner._read, name) for key, owner, name in owners}
            files[WEIGHTS] = weights_file(places, weights)
        return files

    def load_weights(self, folder: Folder) -> None:
        """Read all weights out of the file that holds them and nothing else."""
        tensors = Tensors(TensorFiles(folder), str)
        found = {
            key: tensors.find(key, owner._weights[name].shape)
            for key, owner, name in self._owners()
        }
        tensors.finish()
        self.load_state_dict({key: np.asarray(found[key]) for key in found})


class Pooling(Module):
    """One vector for each text out of those of its tokens; several, side by side."""

    reads, gives = TOKENS, SENTENCE
    fields = (
        *("embedding_dimension", "word_embedding_dimension", "include_prompt"),
        *("pooling_mode", *SWITCHES),
    )

    def __init__(
        self, modes: tuple[str, ...], dim: int, include_prompt: bool = True
    ) -> None:
        super().__init__()
        self.modes = modes
        self.include_prompt = include_prompt
        self.dim = len(modes) * dim

    @classmethod
    def read(cls, settings: Settings, folder: Folder, sizes: Sizes) -> Self:
        """Read which poolings its settings ask for."""
        switched_on = [
            mode for name, mode in SWITCHES.items() if settings.get(name, bool, False)
        ]
        modes = settings.fields.get("pooling_mode", switched_on or ["mean"])
        if isinstance(modes, str):
            modes = [modes]
        known = isinstance(modes, list) and modes and all(m in [*POOLINGS] for m in modes)
        if not known or len(modes) > len(SWITCHES):
            raise settings.wrong("pooling_mode", " or ".join(POOLINGS), modes)
        for name, mode in SWITCHES.items():
            if mode in switched_on and mode not in modes:
                problem = f"is true, and pooling_mode does not say {mode}: {modes}"
                raise settings.error(name, problem)
        for field in ("embedding_dimension", "word_embedding_dimension"):
            if settings.has(field):
                _same_size(settings, field, sizes[TOKENS])
        include_prompt = settings.get("include_prompt", bool, True)
        return cls(tuple(modes), sizes[TOKENS], include_prompt)

    def settings(self) -> dict[str, Any]:
        """Give switches, which every version reads, or modes where their order differs."""
        fields: dict[str, Any] = {"word_embedding_dimension": self.dim // len(self.modes)}
        if not self.include_prompt:
            fields["include_prompt"] = False
        if self.modes == tuple(mode for mode in SWITCHES.values() if mode in self.modes):
            return fields | {name: mode in self.modes for name, mode in SWITCHES.items()}
        return fields | {"pooling_mode": list(self.modes)}

    def steps(self, program: Program, features: Features) -> Array:
        """Add a pooling for each mode; a text that has no other tokens gives zeros."""
        x, starts = features.vectors[self.reads], features.starts
        first = 0 if self.include_prompt else features.prompt_tokens
        out = np.empty((len(starts) - 1, self.dim), float32)
        for mode, part in zip(self.modes, np.split(out, len(self.modes), 1), strict=True):
            _rowwise.pool(program, x, starts, mode, part, first=first)
        return out

    def __repr__(self) -> str:
        """Show the modes."""
        left_out = "" if self.include_prompt else ", include_prompt=False"
        return f"Pooling({', '.join(map(repr, self.modes))}{left_out})"


class RowModule(Module):
    """Base class of the modules that change each vector by itself."""

    def __init__(self, vectors: str, dim: int) -> None:
        super().__init__()
        self.reads = self.gives = vectors
        self.dim = dim

    def steps(self, program: Program, features: Features) -> Array:
        """Add what becomes of the rows."""
        x = features.vectors[self.reads]
        out = np.empty((len(x), self.dim), float32)
        self.row_steps(program, x, out)
        return out

    @abstractmethod
    def row_steps(self, program: Program, x: Array, out: Array) -> None:
        """Add what becomes of rows to a program."""

    def names(self) -> dict[str, Any]:
        """Give the fields that say which vectors these are."""
        return dict.fromkeys(VECTORS, self.gives)


class Dense(RowModule):
    """``activation(x weight^T + bias)``, and the input, or a projection of it, added."""

    fields = (
        *("in_features", "out_features", "bias", "activation_function", "use_residual"),
        *VECTORS,
    )

    def __init__(
        self,
        vectors: str,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        activation: str = "Tanh",
        use_residual: bool = False,
    ) -> None:
        super().__init__(vectors, out_features)
        self.activation = activation
        self.use_residual = use_residual
        self.linear = nn.Linear(in_features, out_features, bias, init="zeros")
        self.residual = None
        if use_residual and in_features != out_features:
            self.residual = nn.Linear(in_features, out_features, False, init="zeros")

    def _children(self) -> Mapping[str, nn.Layer]:
        if self.residual is None:
            return {"linear.": self.linear}
        return {"linear.": self.linear, "residual.": self.residual}

    @classmethod
    def read(cls, settings: Settings, folder: Folder, sizes: Sizes) -> Self:
        """Read its settings and its weights."""
        vectors = _vectors(settings, sizes)
        module = cls(
            vectors,
            _same_size(settings, "in_features", sizes[vectors]),
            settings.get_size("out_features", HIGHEST["hidden_size"]),
            bias=settings.get("bias", bool, True),
            activation=_activation(settings),
            use_residual=settings.get("use_residual", bool, False),
        )
        module.load_weights(folder)
        return module

    def settings(self) -> dict[str, Any]:
        """Give its settings; versions before the residual read them, too."""
        package = "linear" if self.activation == "Identity" else "activation"
        fields = {
            "in_features": self.linear.in_features,
            "out_features": self.dim,
            "bias": self.linear.bias is not None,
            "activation_function": f"torch.nn.modules.{package}.{self.activation}",
        }
        if self.reads != SENTENCE:
            fields |= self.names()
        return fields | ({"use_residual": True} if self.use_residual else {})

    def row_steps(self, program: Program, x: Array, out: Array) -> None:
        """Add the layer."""
        added = x if self.use_residual else None
        if self.residual is not None:
            added = np.empty_like(out)
            self.residual.steps(program, x, added)
        activation = ACTIVATIONS[self.activation]
        self.linear.steps(program, x, out, activation=activation, residual=added)


class LayerNorm(RowModule):
    """Layer normalisation of the vectors of texts."""

    fields = ("dimension",)

    def __init__(self, dim: int) -> None:
        super().__init__(SENTENCE, dim)
        self.norm = nn.LayerNorm(dim)

    def _children(self) -> Mapping[str, nn.Layer]:
        return {"norm.": self.norm}

    @classmethod
    def read(cls, settings: Settings, folder: Folder, sizes: Sizes) -> Self:
        """Read its settings and its weights."""
        vectors = _vectors(settings, sizes)
        module = cls(_same_size(settings, "dimension", sizes[vectors]))
        module.load_weights(folder)
        return module

    def settings(self) -> dict[str, Any]:
        """Give its settings."""
        return {"dimension": self.dim}

    def row_steps(self, program: Program, x: Array, out: Array) -> None:
        """Add the layer."""
        self.norm.steps(program, x, out)


class Normalize(RowModule):
    """Vectors divided by their length, or by 1e-12 where they are shorter."""

    fields = VECTORS
    optional = True  # older versions wrote none
    unit = True

    @classmethod
    def read(cls, settings: Settings, folder: Folder, sizes: Sizes) -> Self:
        """Read which vectors it is about."""
        vectors = _vectors(settings, sizes)
        return cls(vectors, sizes[vectors])

    def settings(self) -> dict[str, Any]:
        """Give its settings."""
        return self.names()

    def row_steps(self, program: Program, x: Array, out: Array) -> None:
        """Add the scaling, which the kernel of pooling does, here of each row alone."""
        _rowwise.pool(program, x, np.arange(len(x) + 1), "mean", out, normalize=True)


def _vectors(settings: Settings, sizes: Sizes) -> str:
    """Read which vectors a module replaces: those of texts unless it says otherwise."""
    names: list[str] = []
    for field in VECTORS:
        default = names[0] if names else SENTENCE
        has = settings.has(field)
        names.append(settings.get_choice(field, [TOKENS, SENTENCE]) if has else default)
    vectors, output = names
    if output != vectors:
        raise settings.wrong("module_output_name", vectors, output)
    if vectors not in sizes:
        problem = f"is {vectors}, which only a Pooling listed before it makes"
        raise settings.error("module_input_name", problem)
    return vectors


def _same_size(settings: Settings, field: str, size: int) -> int:
    """Read the size of vectors, which the module before it decides."""
    value: int = settings.get(field, int)
    if value != size:
        raise settings.wrong(field, f"{size}, the size of the vectors it gets", value)
    return value


def activation_of(name: str) -> str | None:
    """Find an activation by the full name of its class, as torch or its users say it."""
    package, _, kind = name.rpartition(".")
    return kind if package in PACKAGES and kind in ACTIVATIONS else None


def _activation(settings: Settings) -> str:
    """Read the activation, a class of torch with the names of its modules."""
    name: str = settings.get("activation_function", str, "torch.nn.Tanh")
    kind = activation_of(name)
    if kind is not None:
        return kind
    problem = f"must be one of torch's {', '.join(ACTIVATIONS)}, got {printable(name)}"
    raise settings.error("activation_function", problem)

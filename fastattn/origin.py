"""Where a model came from, and whether it still is what was loaded there.

A pickle of such a model is a name and a hash in place of its weights.
"""

import copy
import os
import pickle
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from ._packed import PackedMatrix
from .models import EncoderModel
from .models.saving import Hashed, Writer, digest_of

# Arrays of more bytes are not looked through if nobody may write to them.
LOOKED_THROUGH = 2**16

# What of a tokenizer can be set in place; what changes its vocabulary changes its size.
STAGES = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


class Loaded(NamedTuple):
    """What `load` was given, and the surface of what it made."""

    name: str
    options: Mapping[str, Any]
    surface: str


class Origin(NamedTuple):
    """A model by what loads it, what was set since, and its hash."""

    kind: type[Any]
    name: str
    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    max_length: int
    fingerprint: str

    def load(self) -> Any:
        """Load the model, which must be the same."""
        try:
            model = self.kind.load(self.name, **self.options)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error} (a pickled model is loaded again where it is unpickled)"
            ) from None
        vars(model).update(self.settings)
        if model.max_length != self.max_length:
            model.max_length = self.max_length
        if model._fingerprint() != self.fingerprint:
            raise ValueError(
                f"{self.name}: on {os.uname().nodename} it is another model than the one "
                "that is wanted: give all machines and processes the same files"
            )
        return model


class Loadable:
    """What `load` makes of a folder; it pickles by the name of that as long as it is so."""

    # What `load` was given, if it made the model.
    _loaded: Loaded | None = None
    # The hashes of files of weights, by the surface of the model that they are of.
    _digests: tuple[str, dict[str, str]] = ("", {})

    model: EncoderModel
    max_length: int

    def _files(self) -> dict[str, Writer]:
        """Give what writes each of the files of `save`, by name."""
        raise NotImplementedError

    def _fingerprint(self) -> str:
        """Tell the model from any other, by its files and by how it computes."""
        surface = surface_of(self, settings=True)
        if surface != self._digests[0]:
            self._digests = surface, {}
        kept = self._digests[1]
        words = [self.model.compute]
        for name, write in sorted(self._files().items()):
            digest = kept.get(name) or digest_of(write)
            if name.endswith(".safetensors"):
                kept[name] = digest
            words += [name, digest]
        return digest_of(lambda file: file.write("\n".join(words).encode()))

    def _origin(self) -> Origin | None:
        """Say how to load the same again, unless it is no more what `load` made."""
        loaded = self._loaded
        if loaded is None or surface_of(self) != loaded.surface:
            return None
        given = loaded.name, loaded.options, settings_of(self), self.max_length
        return Origin(type(self), *given, self._fingerprint())

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle by a name what `load` made, and whole what has been changed since."""
        origin = self._origin()
        return (load_again, (origin,)) if origin else super().__reduce_ex__(protocol)

    def __copy__(self) -> Self:
        """Make another with the same parts."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Make another with parts of its own, which is as unchanged as this one."""
        memo[id(self)] = twin = object.__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        if self._loaded is not None and surface_of(self) == self._loaded.surface:
            twin._loaded = self._loaded._replace(surface=surface_of(twin))
        return twin


def load_again(origin: Origin) -> Any:
    """Unpickle a model."""
    return origin.load()


def settings_of(model: Any) -> dict[str, Any]:
    """Give those attributes of a model that are plain values: words, numbers, prompts."""
    return {name: value for name, value in vars(model).items() if _is_plain(value)}


def surface_of(model: Any, *, settings: bool = False) -> str:
    """Hash what a model is made of: all that may be set, but no large matrix.

    Other weights give another surface, too, for layers stamp what is put into them. It
    takes a few milliseconds, and holds in this process alone.
    """
    names = vars(model).keys() - {"_loaded", "_digests"}
    if not settings:
        names -= settings_of(model).keys()
    surface = _Surface()
    try:
        surface.dump([(name, vars(model)[name]) for name in sorted(names)])
    except Exception:  # what cannot be pickled is never known to be the same
        return os.urandom(32).hex()
    return surface.hexdigest()


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(each, str) for pair in value.items() for each in pair)
    return value is None or isinstance(value, str | int | float)


class _Surface(pickle.Pickler):
    """Pickle into a hash; what is large is told by what it is, not by what is in it."""

    def __init__(self) -> None:
        file = Hashed()
        super().__init__(file, protocol=5)
        self.hexdigest = file.hexdigest

    def persistent_id(self, value: Any) -> Any:
        """Give what stands for a large object, or None for what is pickled itself."""
        if isinstance(value, PackedMatrix):
            return value.shape, value.format, value.precision
        if isinstance(value, np.ndarray):
            large = value.nbytes > LOOKED_THROUGH and not value.flags.writeable
            return (value.shape, id(value)) if large else None
        if type(value).__name__ == "Tokenizer" and hasattr(value, "to_str"):
            stages = [getattr(value, stage) for stage in STAGES]
            given = ((name, getattr(value.model, name)) for name in dir(value.model))
            return (
                [stage and stage.__getstate__() for stage in stages],
                [pair for pair in given if _is_plain(pair[1])],
                (value.truncation or {}) | {"max_length": None},
                value.padding,
                value.get_vocab_size(),
                repr(value.get_added_tokens_decoder()),
                value.encode_special_tokens,
            )
        return None

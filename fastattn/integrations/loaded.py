"""What adapters take as a model: one that is there, or the name of one."""

import os
from typing import TypeVar

from ..text_base import TextModel

Kind = TypeVar("Kind", bound=TextModel)


def loaded(kind: type[Kind], model: Kind | str | os.PathLike[str]) -> Kind:
    """Give a model of this kind, which is loaded where it is a name or a folder."""
    if isinstance(model, str | os.PathLike):
        return kind.load(model)
    if not isinstance(model, kind):
        raise TypeError(
            f"model must be a fastattn.{kind.__name__}, its name or its folder, got "
            f"{type(model).__name__}"
        )
    return model

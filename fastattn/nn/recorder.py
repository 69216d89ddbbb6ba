"""Values of a forward pass, copied between the steps of its programs.

A layer names the values that it computes where it adds the steps for them, and says what
stands in their rows. Without a recorder that costs nothing; under one, the program runs
up to the value and hands it over (:meth:`Program.record`). Nobody computes a layer twice
or in a second way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .._program import Program
from ..padding import Packing, packing_of, pad

__all__ = ["Complete", "Kind", "Recorder", "program_for", "recording"]

Array = NDArray[np.float32]


class Kind:
    """What a value that is recorded has a row for."""

    # No Enum: each layer names some, and looking up a member of one takes longer.
    QUERIES: Final = "queries"  # each packed token that is computed
    KEYS: Final = "keys"  # each packed token that is attended to
    MATRIX: Final = "matrix"  # each sequence of the batch, padding included


class Complete(Exception):
    """Everything that was asked for has been recorded: the rest need not be computed."""


class Recorder:
    """Copies of the values that somebody asked for, padded as outside of the layers.

    Parameters
    ----------
    wanted : set of (int or None, str)
        Index of an encoder layer, None outside of a stack of them, and name of a value.

    Attributes
    ----------
    values : dict of (int or None, str) to float32 array
        What has been recorded.
    layer : int or None
        The encoder layer whose steps are being added.
    packings : dict of str to Packing
        The real tokens of what is computed, and of what it attends to.
    """

    packings: dict[str, Packing]

    def __init__(self, wanted: set[tuple[int | None, str]]) -> None:
        self.wanted = wanted
        self.values: dict[tuple[int | None, str], Array] = {}
        self.layer: int | None = None

    def wants(self, name: str) -> bool:
        """Say whether somebody asked for a value of the current layer."""
        return (self.layer, name) in self.wanted

    def keep(self, name: str, value: Array | Callable[[], Array], kind: str) -> None:
        """Copy a value; one that no layer stores comes as the function that computes it.

        Packed vectors (tokens, dim) become (batch, length, dim), packed heads
        (tokens, heads, head_dim) become (batch, heads, length, head_dim).
        """
        if callable(value):
            with recording(None):
                value = value()
        if kind in self.packings:
            value = pad(value, self.packings[kind])
            if value.ndim == 4:
                value = value.swapaxes(1, 2)
        key = (self.layer, name)
        self.values[key] = np.array(value, order="C")
        self.wanted.remove(key)
        if not self.wanted:
            raise Complete


_recorder: ContextVar[Recorder | None] = ContextVar("fastattn_recorder", default=None)


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Let a recorder, or none, see what the calls inside the block compute."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


def program_for(queries: Packing | int, keys: Packing | None = None) -> Program:
    """Start the program of a call, recorded or not, whose real tokens these are.

    A number of tokens is one sequence of them; `keys` are by default the queries.
    """
    recorder = _recorder.get()
    if recorder is not None:
        queries = packing_of(1, queries) if isinstance(queries, int) else queries
        keys = queries if keys is None else keys
        recorder.packings = {Kind.QUERIES: queries, Kind.KEYS: keys}
    return Program(recorder)

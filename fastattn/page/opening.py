"""Which head a page opens on: one in which words look at certain other words.

Most heads look at the same token from everywhere, or at the same place: the word itself, or
the next one. What they show is seen at a glance.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["opening"]

Array = NDArray[Any]


def opening(weights: Sequence[Array], special: Sequence[int]) -> dict[str, int]:
    """Choose the layer, the head and the token that tell most.

    `weights` (heads, length, length) are those of each layer; special tokens do not count.
    The head is the one with the largest mean over its words of what :func:`_surplus`
    gives, the token its word with the largest.
    """
    words = np.flatnonzero(np.equal(special, 0))
    if not words.size:
        words = np.arange(len(special))
    tells = np.array([_surplus(layer[:, words][:, :, words]) for layer in weights])
    layer, head = np.unravel_index(tells.mean(axis=-1).argmax(), tells.shape[:2])
    token = words[tells[layer, head].argmax()]
    return {"layer": int(layer), "head": int(head), "token": int(token)}


def _surplus(weights: Array) -> Array:
    """Return how far the weights of each query rise above the average, at most.

    The average is that of the weight's column or of its diagonal, whichever is larger: what
    its key gets, and what its distance gets. The query itself and its neighbours are left
    out.
    """
    length = weights.shape[-1]
    surplus = np.zeros_like(weights)
    by_key = weights.mean(axis=1)
    for distance in (d for d in range(1 - length, length) if abs(d) > 1):
        query = np.arange(max(0, -distance), min(length, length - distance))
        key = query + distance
        diagonal = weights[:, query, key]
        average = np.maximum(diagonal.mean(axis=-1, keepdims=True), by_key[:, key])
        surplus[:, query, key] = diagonal - average
    most: Array = surplus.max(axis=-1)
    return most

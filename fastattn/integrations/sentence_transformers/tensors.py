"""Tensors of torch, which is somebody else's: made where they are asked for, and read."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_tensor(array: NDArray[Any]) -> Any:
    """Give an array as a tensor; where torch is not installed, as it is."""
    try:
        import torch
    except ImportError:
        return array
    return torch.from_numpy(np.asarray(array, order="C"))


def is_tensor(value: Any) -> bool:
    """Whether something is a tensor, or a list of them; torch is not imported for it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if isinstance(value, list | tuple):
        return bool(value) and is_tensor(value[0])
    return isinstance(value, torch.Tensor)


def like(result: NDArray[Any], *given: Any) -> Any:
    """Give a result as a tensor if something that it was made of is one."""
    return as_tensor(result) if any(map(is_tensor, given)) else result


def in_form(rows: NDArray[Any], to_numpy: bool | None, to_tensor: bool | None) -> Any:
    """Give rows as an array, a tensor, or, if neither is asked for, a list of these."""
    if to_tensor:
        return as_tensor(rows)
    return rows if to_numpy else [as_tensor(np.asarray(row)) for row in rows]


def apply(function: Callable[[Any], Any], array: NDArray[Any]) -> NDArray[Any]:
    """Call a function of torch, or of NumPy where torch is not imported, on an array."""
    given = as_tensor(array) if "torch" in sys.modules else array
    result: NDArray[Any] = np.asarray(function(given))
    return result

"""A module with the name of torch, and of its tensors what the drop-in classes use."""

from types import ModuleType

import numpy as np


class Tensor(np.ndarray):
    """An array that calls itself a tensor."""

    def to_dense(self) -> "Tensor":
        return self


class SparseTensor:
    """What torch.sparse_coo_tensor was given."""

    def __init__(self, indices, values, shape, **flags) -> None:
        self.indices, self.values, self.shape = indices, values, shape


def make_torch() -> ModuleType:
    torch = ModuleType("torch")
    torch.Tensor = Tensor
    torch.from_numpy = lambda array: array.view(Tensor)
    torch.sparse_coo_tensor = SparseTensor
    return torch

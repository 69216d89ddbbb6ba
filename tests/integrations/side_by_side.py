"""The real sentence-transformers in two precisions, and how results are held to it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import sentence_transformers as real
import torch
from support.criterion import assert_accurate

DATA = Path(__file__).parents[1] / "data"
CLASSES = ("SentenceTransformer", "CrossEncoder", "SparseEncoder")
TEXTS = json.loads((DATA / "cross" / "inputs.json").read_text())["texts"]

# A folder for each class, of those that examples name.
FOLDERS = {
    "SentenceTransformer": DATA / "tiny_bert",
    "CrossEncoder": DATA / "cross" / "electra",
    "SparseEncoder": DATA / "sparse" / "bert",
}


def in_precision(dtype):
    """Give the real classes so that what they load computes in float32 or float64."""

    def loader(name):
        def load(*arguments, **keywords):
            model = getattr(real, name)(*arguments, device="cpu", **keywords)
            return model.to(dtype)

        return load

    return SimpleNamespace(**{name: loader(name) for name in CLASSES}, util=real.util)


PLAIN, EXACT = in_precision(torch.float32), in_precision(torch.float64)


def assert_like(found, plain, exact):
    """Hold a result to the real one: its form, and all of its numbers by the criterion."""
    numbers = list(_numbers(found, plain, exact))
    if numbers:
        found, plain, exact = (np.concatenate(each) for each in zip(*numbers, strict=True))
        assert_accurate(found, {np.float32: plain, np.float64: exact}.__getitem__)


def _numbers(found, plain, exact):
    """Compare forms, and what is no floating number; give the numbers, flat."""
    if isinstance(plain, dict):
        assert found.keys() == plain.keys()
        for key in plain:
            yield from _numbers(found[key], plain[key], exact[key])
    elif isinstance(plain, list | tuple):
        assert type(found) is type(plain)
        for each in zip(found, plain, exact, strict=True):
            yield from _numbers(*each)
    elif isinstance(plain, torch.Tensor | np.ndarray | np.generic | float):
        # Similarities are tensors there, and here where they are made of tensors.
        assert isinstance(plain, torch.Tensor) or not isinstance(found, torch.Tensor)
        found, plain, exact = map(_as_array, (found, plain, exact))
        assert found.shape == plain.shape
        if plain.dtype.kind in "iub":
            assert found.dtype == plain.dtype
            # A value at the edge of two integers may go to either, in the real one, too.
            assert np.abs(found.astype(int) - plain).max(initial=0) <= 1
        elif plain.size:
            dtypes = np.float32, np.float32, np.float64
            yield [
                np.asarray(each, dtype).ravel()
                for each, dtype in zip((found, plain, exact), dtypes, strict=True)
            ]
    else:
        assert found == plain


def _as_array(value):
    if isinstance(value, torch.Tensor):
        return value.to_dense().numpy()
    return np.asarray(value)

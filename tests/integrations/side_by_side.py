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


def as_array(value):
    if isinstance(value, torch.Tensor):
        return value.to_dense().numpy()
    return np.asarray(value)


def assert_like(found, plain, exact):
    """Hold a result to the real one in form, and in numbers by the criterion."""
    if isinstance(plain, dict):
        assert found.keys() == plain.keys()
        for key in plain:
            assert_like(found[key], plain[key], exact[key])
    elif isinstance(plain, list | tuple):
        assert type(found) is type(plain)
        assert len(found) == len(plain)
        for each in zip(found, plain, exact, strict=True):
            assert_like(*each)
    elif isinstance(plain, torch.Tensor | np.ndarray | np.floating | float):
        if not isinstance(plain, torch.Tensor):
            # Tensors of similarities are arrays here where they are made of arrays.
            assert not isinstance(found, torch.Tensor)
        assert_numbers(*map(as_array, (found, plain, exact)))
    else:
        assert found == plain


def assert_numbers(found, plain, exact):
    if plain.dtype.kind in "iub":
        assert found.dtype == plain.dtype
        # A value at the edge of two integers may go to either, in the real one, too.
        assert np.abs(found.astype(int) - plain).max(initial=0) <= 1
        return
    results = {np.float32: plain.astype(np.float32), np.float64: exact.astype(np.float64)}
    assert_accurate(np.asarray(found, np.float32), results.__getitem__)

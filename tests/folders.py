"""The tiny random BERT of make_bert_fixtures.py, and how tests change copies of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

DATA = Path(__file__).parent / "data"
TINY = DATA / "tiny_bert"

Tensors = dict[str, NDArray]


def copy_tiny(to: Path) -> Path:
    """Copy the folder of the tiny model."""
    return Path(shutil.copytree(TINY, to / "tiny"))


def change_json(path: Path, **fields) -> None:
    """Set fields of a JSON object, whose file is made where there is none."""
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | fields))


def drop_json(path: Path, *fields: str) -> None:
    """Take fields out of a JSON object."""
    kept = json.loads(path.read_text())
    for field in fields:
        del kept[field]
    path.write_text(json.dumps(kept))


def change_tensors(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Replace the tensors of the tiny model, in a copy of it, by `change(tensors)`."""
    save_file(change(load_file(TINY / "model.safetensors")), folder / "model.safetensors")


def memory_of(array: NDArray) -> object:
    """Find what owns the memory that an array is a view of."""
    base = array.base
    while isinstance(base, memoryview | np.ndarray):
        base = base.obj if isinstance(base, memoryview) else base.base
    return base

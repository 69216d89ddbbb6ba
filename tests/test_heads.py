"""Heads that transformers does not have, and which token is the last one."""

from shutil import copytree

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.criterion import assert_accurate
from support.folders import DATA, change_json

from fastattn._program import Program
from fastattn.models.folder import Folder
from fastattn.models.heads import ends_without, read_classifier


@pytest.mark.parametrize("name", ["jina_bert", "jina_bert_normed"])
def test_jina_bert(name, tmp_path):
    """That of a BERT behind it: pooler, tanh and a dense layer of the first token."""
    folder = copytree(DATA / "families" / name, tmp_path / name)
    rng = np.random.default_rng(5)
    added = {
        "classifier.weight": rng.standard_normal((3, 24), np.float32),
        "classifier.bias": rng.standard_normal(3, np.float32),
    }
    kept = load_file(folder / "model.safetensors") | added
    tensors = {n if n in added else f"bert.{n}": kept[n] for n in kept}
    save_file(tensors, folder / "model.safetensors")
    change_json(folder / "config.json", id2label={"0": "a", "1": "b", "2": "c"})
    model, head = read_classifier(Folder(folder), "float32")
    with np.load(DATA / "families" / f"{name}.npz") as arrays:
        ids, mask = arrays["input_ids"], arrays["attention_mask"]
        first = {t: arrays[np.dtype(t).name][:, 0] for t in (np.float32, np.float64)}
        states = model(ids, mask, arrays["token_type_ids"])

    def expected(dtype):
        w = {n: tensor.astype(dtype) for n, tensor in kept.items()}
        pooled = np.tanh(first[dtype] @ w["pooler.dense.weight"].T + w["pooler.dense.bias"])
        return pooled @ w["classifier.weight"].T + w["classifier.bias"]

    program = Program()
    real = mask.astype(bool)
    ends = np.concatenate([[0], np.cumsum(real.sum(axis=1))])
    scores = head.steps(program, np.ascontiguousarray(states[real]), ids[real], ends)
    program.run()
    assert_accurate(scores, expected)
    assert head.labels == ("a", "b", "c")


def test_which_token_is_the_last():
    rng = np.random.default_rng(6)
    for lengths in ([], [0], [0, 0, 2, 0], [1, 5, 0, 3, 1, 0], [2, 2, 7]):
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        for _ in range(20):
            ids = rng.integers(0, 3, starts[-1])
            found = ends_without(ids, starts, 0)
            assert (np.diff(found) >= 0).all()
            for start, stop, before, end in zip(
                starts, starts[1:], found, found[1:], strict=False
            ):
                real = [i for i in range(start, stop) if ids[i] != 0]
                assert end == (before if start == stop else max([start, *real]) + 1)

"""``fastattn encode`` of a model that gives weights of words."""

import json

import numpy as np
import pytest
from support.command_line import TEXTS, assert_one_line
from support.folders import DATA

import fastattn as fa
from fastattn.cli import main

FOLDER = DATA / "sparse" / "bert"


@pytest.fixture(scope="module")
def model():
    return fa.load(FOLDER)


def encode(*arguments):
    return main(["encode", "--model", str(FOLDER), *map(str, arguments)])


def test_one_text(capsys, model):
    assert encode("the cat") == 0
    shown = capsys.readouterr().out
    words = model.decode(model.encode("the cat"))
    heaviest = ", ".join(f"{word} {weight:.2f}" for word, weight in words[:3])
    assert shown.startswith(f"{len(words)} words: {heaviest}, ")
    assert len(shown) <= 80


def test_a_few_texts(capsys, model):
    assert encode(*TEXTS) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == TEXTS
    for line, row in zip(lines[1::2], model.encode(TEXTS), strict=True):
        assert line.startswith(f"  {len(row[0])} words: ")


def test_many_texts(capsys):
    assert encode(*TEXTS * 4) == 0
    assert capsys.readouterr().out.endswith(" s; --output - gives their words\n")


def test_lines_of_json(capsys, model):
    assert encode(*TEXTS, "--output", "-", "--batch-tokens", 3) == 0
    lines = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert [line["text"] for line in lines] == TEXTS
    for line, words in zip(lines, model.decode(model.encode(TEXTS)), strict=True):
        assert list(line["words"]) == [word for word, _ in words]
        weights = np.float32(list(line["words"].values()))
        np.testing.assert_array_equal(weights, np.float32([weight for _, weight in words]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--truncate-dim", 3], "--truncate-dim is about vectors of numbers, and"),
        (["--precision", "binary", "--output", "-"], "--precision is about vectors of"),
        (["--prompt-name", "b"], "prompt_name must be one of"),
    ],
)
def test_errors(capsys, arguments, message):
    assert encode("a", *arguments) == 2
    assert_one_line(capsys, message)


def test_a_file(capsys, tmp_path):
    assert encode("a", "--output", tmp_path / "a.npy") == 2
    assert_one_line(capsys, f"{tmp_path / 'a.npy'}: {FOLDER} gives weights of words, which")

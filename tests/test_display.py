"""What the command line prints: labels, tables, pairs, vectors."""

import numpy as np
import pytest

from fastattn.display import (
    closest_pairs,
    columns,
    label,
    similarity_table,
    vector_line,
)


def test_labels_are_short_and_plain():
    assert label("a\tb\n c", 10) == "a b c"
    assert label("", 10) == "(empty)"
    assert label("\x1b[31mred\x00", 10) == "[31mred"
    assert label("x" * 11, 10) == "x" * 9 + "…"
    assert label("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize("text", ["狐" * 30, "e\u0301" * 60, "狐e\u0301" * 30])
@pytest.mark.parametrize("room", [5, 16, 17])
def test_labels_fit_in_columns(text, room):
    assert room - 2 <= columns(label(text, room)) <= room


@pytest.mark.parametrize("count", [2, 3, 10])
def test_tables_are_aligned_and_fit(count):
    texts = (["狐" * 60, "x" * 200, "fox"] * 4)[:count]
    lines = list(similarity_table(texts, np.eye(count, dtype=np.float32)))
    assert len({columns(line) for line in lines}) == 1
    assert columns(lines[0]) <= 80


def test_no_negative_zero():
    table = similarity_table(["a", "b"], np.full((2, 2), -0.001, np.float32))
    assert "-" not in "".join(table)


def test_pairs_are_sorted():
    similarities = np.array([[1, 0.2, 0.3], [0.2, 1, 0.9], [0.3, 0.9, 1]])
    lines = list(closest_pairs(["a", "b", "c"], similarities))
    assert lines == ["0.90  b  |  c", "0.30  a  |  c", "0.20  a  |  b"]


def test_a_short_vector():
    shown = vector_line(np.array([3, 4], np.float32))
    assert shown == "2 values, length 5.0000: 3.0000 4.0000"

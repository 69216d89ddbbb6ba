"""Vectors for the eye: short, aligned lines of text for a terminal."""

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from numpy import float32
from numpy.typing import NDArray

# Columns of a terminal that a table may take, and those that a label may.
COLUMNS = 79
LABEL_COLUMNS = (16, 40)

# Values of a vector, and pairs of texts, that are shown.
SHOWN_VALUES = 8
SHOWN_PAIRS = 5


def vector_line(vector: NDArray[float32]) -> str:
    """Show the size, the length and the first values of a vector (dim,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastattn.display import vector_line
    >>> vector_line(np.array([0.6, -0.8], np.float32))
    '2 values, length 1.0000: 0.6000 -0.8000'
    """
    values = " ".join(f"{value:.4f}" for value in vector[:SHOWN_VALUES])
    more = " ..." if len(vector) > SHOWN_VALUES else ""
    length = np.linalg.norm(vector)
    return f"{len(vector)} values, length {length:.4f}: {values}{more}"


def words_line(words: Sequence[tuple[str, float]], room: int = COLUMNS) -> str:
    """Show how many words have a weight, and the heaviest, as far as there is room.

    Examples
    --------
    >>> from fastattn.display import words_line
    >>> words_line([("cat", 2.5), ("cats", 1.25)])
    '2 words: cat 2.50, cats 1.25'
    """
    shown = ", ".join(f"{word} {weight:.2f}" for word, weight in words)
    count = f"{len(words)} word{'' if len(words) == 1 else 's'}"
    return label(f"{count}: {shown}", room) if words else count


def similarity_table(texts: Sequence[str], similarities: NDArray[float32]) -> Iterator[str]:
    """Show the similarities (texts, texts) of a few texts, a line each, after a header.

    Examples
    --------
    >>> import numpy as np
    >>> from fastattn.display import similarity_table
    >>> for line in similarity_table(["day", "night"], np.eye(2, dtype=np.float32)):
    ...     print(line)
                 1     2
    1  day    1.00  0.00
    2  night  0.00  1.00
    """
    digits = len(str(len(texts)))
    room = COLUMNS - digits - 2 - 6 * len(texts)
    labels = [
        label(text, min(max(room, LABEL_COLUMNS[0]), LABEL_COLUMNS[1])) for text in texts
    ]
    width = max(map(columns, labels))
    yield " " * (digits + 2 + width) + "".join(f"{i + 1:6}" for i in range(len(texts)))
    for i, row in enumerate(similarities):
        space = " " * (width - columns(labels[i]))
        values = "".join(f"{value:z6.2f}" for value in row)
        yield f"{i + 1:{digits}}  {labels[i]}{space}{values}"


def closest_pairs(texts: Sequence[str], similarities: NDArray[float32]) -> Iterator[str]:
    """Show the most similar pairs of many texts, a line each.

    Examples
    --------
    >>> import numpy as np
    >>> from fastattn.display import closest_pairs
    >>> similarities = np.array([[1, 0.1, 0.9], [0.1, 1, 0.2], [0.9, 0.2, 1]])
    >>> for line in closest_pairs(["dawn", "noon", "dusk"], similarities):
    ...     print(line)
    0.90  dawn  |  dusk
    0.20  noon  |  dusk
    0.10  dawn  |  noon
    """
    rows, cols = np.triu_indices(len(texts), 1)
    order = np.argsort(-similarities[rows, cols], kind="stable")[:SHOWN_PAIRS]
    for i, j in zip(rows[order], cols[order], strict=True):
        left, right = (label(texts[k], (COLUMNS - 11) // 2) for k in (i, j))
        yield f"{similarities[i, j]:.2f}  {left}  |  {right}"


def score_line(score: float, text: str) -> str:
    """Show the score of a text, and the text as far as there is room.

    Examples
    --------
    >>> from fastattn.display import score_line
    >>> score_line(0.98765, "A man is eating food.")
    '  0.9877  A man is eating food.'
    """
    value = f"{score:8.4f}"
    return f"{value}  {label(text, COLUMNS - len(value) - 2)}"


def hit_line(rank: int, score: float, id: object, text: str | None) -> str:
    """Show what a search found: its rank, score and id, and its text if there is one.

    Examples
    --------
    >>> from fastattn.display import hit_line
    >>> hit_line(1, 0.98765, "food-7", "A man is eating food.")
    '  1    0.9877  food-7  A man is eating food.'
    """
    line = f"{rank:3}  {score:8.4f}  {label(str(id), LABEL_COLUMNS[1])}"
    room = max(COLUMNS - columns(line) - 2, LABEL_COLUMNS[0])
    return line if text is None else f"{line}  {label(text, room)}"


def label(text: str, room: int) -> str:
    """Shorten a text to a line of at most `room` columns.

    Examples
    --------
    >>> from fastattn.display import label
    >>> label("a  text of some length", 12)
    'a text of s…'
    """
    line = "".join(filter(str.isprintable, " ".join(text.split()))) or "(empty)"
    if columns(line) <= room:
        return line
    while columns(line) >= room:
        line = line[:-1]
    return line + "…"


def columns(line: str) -> int:
    """Count the columns that a terminal needs for a line.

    Examples
    --------
    >>> from fastattn.display import columns
    >>> columns("fox"), columns("狐")
    (3, 2)
    """
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in line)
    return len(line) + wide - sum(map(bool, map(unicodedata.combining, line)))

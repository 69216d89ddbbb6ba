"""One HTML page that shows what the heads of a model attend to in a text.

The page stands in page.html, page.css and page.js; numbers.py and numbers.js pack what
it shows, and opening.py chooses what it shows first. Everything goes into one file, which
refers to nothing outside of itself.
"""

import json
from importlib.resources import files

from ..arrays import as_text
from ..text_base import TextModel
from ..tracing import trace
from .numbers import packed_layer
from .opening import opening

__all__ = ["explain"]

# What is traced of each layer.
NAMES = ("queries", "keys", "values", "scores", "weights", "context")


def explain(
    model: TextModel, text: str, pair: str | None = None, *, name: str = "a model"
) -> str:
    """Make a page that shows what each head of a model attends to in a text.

    Parameters
    ----------
    model : TextEncoder, CrossEncoder or SparseEncoder
        What :func:`fastattn.load` gives.
    text : str
        The text, cut at ``model.max_length`` tokens.
    pair : str, optional
        A second text behind it.
    name : str, optional
        What the page calls the model.

    Returns
    -------
    str
        HTML that opens from disk and refers to nothing outside of itself.

    Raises
    ------
    TypeError
        If the model is none that was loaded, or a text no str.
    ValueError
        If a text holds a lone surrogate, the model is a static one, which has no heads,
        or it computes numbers of 1e5 and more.

    Warns
    -----
    TruncationWarning
        If the text has more tokens than the model reads.

    Notes
    -----
    Every number on the page is that of :func:`fastattn.trace`, rounded to the digits
    that are shown; layers, heads and components count from 0, as they do there. The page
    opens on a head in which words look at certain other words: of all heads, its weights
    between words that are no neighbours rise highest above what their key, and what their
    distance, gets on average. What follows the last layer shows where the model's name is
    pointed at. Texts are data of the page, never markup. Size and time grow
    with the square of the number of tokens: 128 of MiniLM take 2.6 MB.

    Examples
    --------
    >>> import fastattn as fa
    >>> model = fa.load("all-MiniLM-L6-v2")
    >>> page = fa.explain(model, "A cat sleeps.", name="MiniLM")
    >>> page[:15]
    '<!doctype html>'
    """
    if not isinstance(model, TextModel):
        kinds = "a TextEncoder, a CrossEncoder or a SparseEncoder"
        raise TypeError(f"model must be {kinds}, got {type(model).__name__}")
    as_text(text, "text")
    if model.model.encoder is None:
        raise ValueError(
            "a static model looks words up in a table: no token attends to another, so "
            "there is nothing to draw"
        )
    traced = trace(model, text, pair=pair, names=NAMES)
    heads, _, dim = traced.layers[0]["queries"].shape
    special = traced.encoding.special_tokens_mask
    data = {
        "model": name,
        "text": text,
        "pair": pair,
        "tokens": traced.tokens,
        "special": special,
        "second": _second(traced.encoding.sequence_ids),
        "heads": heads,
        "dim": dim,
        "modules": [*model._values.values()],
        "opening": opening([layer["weights"] for layer in traced.layers], special),
        "layers": [packed_layer(layer) for layer in traced.layers],
    }
    # In JSON "<" may as well be an escape, and then nothing in it can end the script.
    embedded = json.dumps(data).replace("<", "\\u003c")
    page = _file("page.html")
    page = page.replace("/* page.css */", _file("page.css"))
    page = page.replace("/* page.js */", _file("numbers.js") + _file("page.js"))
    return page.replace("/* data */", embedded)


def _second(sequences: list[int | None]) -> list[int]:
    """Say which tokens come with the second text; not all models have a type for them."""
    start = sequences.index(1) if 1 in sequences else len(sequences)
    return [int(i >= start) for i in range(len(sequences))]


def _file(name: str) -> str:
    """Read a part of the page."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")

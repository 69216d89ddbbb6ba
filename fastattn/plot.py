"""Pictures of attention, drawn by matplotlib (the extra ``plot``).

Every function draws into one Axes and returns it: the one it is given, or the only one of
a new figure that is as large as its labels need. Rows are queries and columns are keys.

Blue says how much, from white for 0; where a value may be negative, red says how much
below 0. Both scales are ColorBrewer's (Harrower and Brewer, 2003), which can be told apart
by colour-blind readers and, where there is no red, in a grey print. Cells that are not
finite, as the score of a hidden key, are grey.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from .arrays import as_array, as_index, is_half
from .display import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["attention", "heads", "links", "matrix", "positions"]

# Sizes of type, in points, and from line to line, in sizes of type.
LARGEST_TYPE, SMALLEST_TYPE = 9.0, 5.0
LINE = 1.35
LABEL_LETTERS = 16

# Of a new picture without its labels, in inches: a cell, one with a label, one with a
# number in it, one that is a head; the shortest and the longest side. Around it: a margin.
CELL, LABEL_CELL, NUMBER_CELL, HEAD_CELL = 0.05, 0.2, 0.55, 0.8
SHORTEST_SIDE, LONGEST_SIDE = 2.5, 10.0
MARGIN = 0.1

# The width of a colour bar and of the gap before it, in sides of what it explains.
BAR = 0.03

GREY = "0.85"  # a light one
FAINT = 0.4
WIDEST_LINK = 5.0  # points
LINK = "#2171b5"  # of the scale of blues

# Where black and white stand out equally well: sqrt(1.05 * 0.05) - 0.05, by the definition
# of contrast in WCAG 2.1, section 1.4.3.
MIDDLE_LUMINANCE = 0.18


def attention(
    weights: ArrayLike,
    tokens: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    *,
    digits: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw how much each query attends to each key.

    Parameters
    ----------
    weights : array_like of real numbers (Lq, Lk)
        The weights of one head, as :func:`fastattn.attention_weights` gives them; or its
        scores.
    tokens : sequence of str (Lq,), optional
        The tokens of the queries, and of the keys unless `keys` is given.
    keys : sequence of str (Lk,), optional
        The tokens of the keys, in cross-attention.
    digits : int, optional
        Write the values into the cells, with so many digits behind the point.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib Axes
        `ax` where it was given.

    Raises
    ------
    ImportError
        If matplotlib is not installed: ``pip install 'fastattn[plot]'``.
    TypeError
        If `weights` are not real numbers, a token is not a str, `digits` is not an
        integer, or `ax` is something else.
    ValueError
        If `weights` are not a matrix, there are not as many tokens as it has rows and
        columns, or `digits` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> x = np.zeros((3, 4), np.float32)
    >>> weights = fa.attention_weights(x, x, causal=True)
    >>> ax = fa.plot.attention(weights, ["we", "are", "here"])
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['we', 'are', 'here']
    """
    array = _values(weights, "weights", "Lq, Lk", hint=" of one head")
    rows = _labels(tokens, "tokens", len(array))
    columns = _labels(tokens if keys is None else keys, "keys", array.shape[1])
    names = {"xlabel": "key", "ylabel": "query"}
    return _matrix(array, rows, columns, digits, ax, **names)


def matrix(
    values: ArrayLike,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    digits: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw any matrix: vectors, queries, keys, values, scores.

    Parameters
    ----------
    values : array_like of real numbers (rows, columns)
        The matrix. Where it has negative values, the scale is symmetric about 0.
    rows, columns : sequence of str, optional
        Labels, one for each.
    digits, ax : optional
        As for :func:`attention`.

    Returns
    -------
    matplotlib Axes
        `ax` where it was given.

    Raises
    ------
    ImportError, TypeError, ValueError
        As :func:`attention`.

    Examples
    --------
    >>> import fastattn as fa
    >>> ax = fa.plot.matrix([[1, 0], [0, -2]], digits=1)
    >>> [text.get_text() for text in ax.texts]
    ['1.0', '0.0', '0.0', '-2.0']
    """
    array = _values(values, "values", "rows, columns")
    row_labels = _labels(rows, "rows", len(array))
    column_labels = _labels(columns, "columns", array.shape[1])
    return _matrix(array, row_labels, column_labels, digits, ax)


def heads(weights: ArrayLike | Sequence[ArrayLike], *, ax: "Axes | None" = None) -> "Axes":
    """Draw all heads (columns) of all layers (rows) of a model, as small heat maps.

    Parameters
    ----------
    weights : array_like of real numbers (layers, heads, Lq, Lk)
        The weights of every head. All have one scale, so they can be compared.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib Axes
        `ax` where it was given. Layers and heads count from 0.

    Raises
    ------
    ImportError, TypeError
        As :func:`attention`.
    ValueError
        If `weights` does not have four dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> import fastattn as fa
    >>> ax = fa.plot.heads(np.full((6, 12, 8, 8), 1 / 8))
    >>> len(ax.images)
    72
    """
    array = _values(weights, "weights", "layers, heads, Lq, Lk")
    layers, columns, rows_of_head, columns_of_head = array.shape
    ratio = rows_of_head / columns_of_head
    scale = _scale(array)
    half = 0.47  # a little less than half of a place: the rest is the gap
    with _picture(ax, columns * HEAD_CELL, layers * HEAD_CELL * ratio) as axes:
        for layer, head in np.ndindex(layers, columns):
            place = (head - half, head + half, layer + half, layer - half)
            image = axes.imshow(array[layer, head], extent=place, **scale)
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(layers - 0.5, -0.5), aspect=ratio)
        axes.set(xticks=range(columns), yticks=range(layers))
        axes.set(xlabel="head", ylabel="layer", facecolor=GREY)
        axes.spines[:].set_visible(False)
        _label_on_top(axes)
        _colour_bar(axes, image, BAR)
    return cast("Axes", axes)


def positions(table: ArrayLike, *, ax: "Axes | None" = None) -> "Axes":
    """Draw a table of positions: a row for each position, a column for each dimension.

    Parameters
    ----------
    table : array_like of real numbers (length, dim)
        What :func:`fastattn.sinusoidal_positions` gives, or what a model has learned.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib Axes
        `ax` where it was given.

    Raises
    ------
    ImportError, TypeError
        As :func:`attention`.
    ValueError
        If `table` is not a matrix.

    Examples
    --------
    >>> import fastattn as fa
    >>> ax = fa.plot.positions(fa.sinusoidal_positions(50, 64))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('dimension', 'position')
    """
    array = _values(table, "table", "length, dim")
    with _picture(ax, 2 * SHORTEST_SIDE, SHORTEST_SIDE) as axes:
        image = axes.imshow(array, **_scale(array))
        axes.set(xlabel="dimension", ylabel="position", aspect="auto")
        _label(axes.xaxis, [])
        _label(axes.yaxis, [])
        _colour_bar(axes, image, BAR)
    return cast("Axes", axes)


def links(
    weights: ArrayLike,
    tokens: Sequence[str],
    query: int,
    keys: Sequence[str] | None = None,
    *,
    count: int = 5,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw what a query attends to most, as lines from its token to those of the keys.

    Parameters
    ----------
    weights : array_like of real numbers (Lq, Lk), 0 or more
        The weights of one head.
    tokens : sequence of str (Lq,)
        The tokens of the queries, and of the keys unless `keys` is given.
    query : int
        Which query: its index, negative from the end.
    keys : sequence of str (Lk,), optional
        The tokens of the keys, in cross-attention.
    count : int, default 5
        How many lines at the most: those of the largest weights that are not 0. A line
        is as wide as its weight is large; the weight stands behind the key.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib Axes
        `ax` where it was given.

    Raises
    ------
    ImportError
        As :func:`attention`.
    TypeError
        As :func:`attention`, or if `query` or `count` is not an integer.
    ValueError
        As :func:`attention`, or if `count` is less than 1 or a weight negative.
    IndexError
        If there is no such query.

    Examples
    --------
    >>> import fastattn as fa
    >>> ax = fa.plot.links([[0.1, 0.9], [0.5, 0.5]], ["so", "what"], 0, count=1)
    >>> [text.get_text() for text in ax.texts]
    ['so', 'what', 'so', 'what  0.90']
    """
    array = _values(weights, "weights", "Lq, Lk", hint=" of one head")
    if not (array >= 0).filled(False).all():
        raise ValueError("weights must be 0 or more; scores become weights by a softmax")
    if tokens is None:
        raise TypeError("tokens must be a sequence of str, got None")
    left = _labels(tokens, "tokens", len(array))
    right = _labels(tokens if keys is None else keys, "keys", array.shape[1])
    number, rows = as_index(query, "query"), len(array)
    if not -rows <= number < rows:
        raise IndexError(f"query must be from {-rows} to {rows - 1}, got {number}")
    row = array[number].tolist()
    order = sorted(range(len(row)), key=row.__getitem__, reverse=True)
    linked = [key for key in order[: as_index(count, "count", 1)] if row[key] > 0]
    places = max(array.shape)
    # As high as the smallest type needs: here no label is left out.
    line = max(min(LABEL_CELL, LONGEST_SIDE / places), SMALLEST_TYPE * LINE / 72)
    with _picture(ax, SHORTEST_SIDE, places * line) as axes:
        axes.set(xlim=(0, 1), ylim=(places - 0.5, -0.5))
        axes.set_axis_off()
        size = _type_size(_cell(axes, (places, 1))[1])
        style: dict[str, Any] = {"va": "center", "size": size, "parse_math": False}
        for i, text in enumerate(left):
            alpha = 1 if i == number % rows else FAINT
            axes.text(-0.03, i, text, ha="right", alpha=alpha, **style)
        for i, text in enumerate(right):
            told, alpha = (f"{text}  {row[i]:.2f}", 1) if i in linked else (text, FAINT)
            axes.text(1.03, i, told, ha="left", alpha=alpha, **style)
        for key in linked:
            width = WIDEST_LINK * row[key] / row[linked[0]]
            axes.plot([0, 1], [number % rows, key], color=LINK, linewidth=width)
    return cast("Axes", axes)


def _values(array: Any, name: str, shape: str, *, hint: str = "") -> Any:
    """Return real numbers (`shape`), masked where they are not finite."""
    numbers = as_array(array, name)
    if numbers.dtype.kind not in "fiub" and not is_half(numbers.dtype):
        raise TypeError(f"{name} must be an array of real numbers, got {numbers.dtype}")
    if numbers.ndim != shape.count(",") + 1 or not numbers.size:
        raise ValueError(f"{name} must have shape ({shape}){hint}, got {numbers.shape}")
    return np.ma.masked_invalid(numbers.astype(np.float64))


def _labels(words: Any, name: str, count: int) -> list[str]:
    """Return labels of one line each, shortened; none where there are no words."""
    if words is None:
        return []
    if isinstance(words, str) or not hasattr(words, "__len__"):
        raise TypeError(f"{name} must be a sequence of str, got {type(words).__name__}")
    for i, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(f"{name}[{i}] must be a str, got {type(word).__name__}")
    if len(words) != count:
        raise ValueError(f"{name} must be {count} words, got {len(words)}")
    return [label(word, LABEL_LETTERS) for word in words]


@contextmanager
def _picture(ax: Any, width: float, height: float) -> Iterator[Any]:
    """Give the Axes to draw into: `ax`, or those of a new figure, of this size in inches.

    The figure grows by the labels that are drawn around its Axes, and follows a change of
    its size from then on.
    """
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ImportError:
        raise ImportError(
            "pictures need the package matplotlib: pip install 'fastattn[plot]'"
        ) from None
    if ax is not None:
        if not isinstance(ax, Axes):
            raise TypeError(f"ax must be one matplotlib Axes, got {type(ax).__name__}")
        yield ax
        return
    figure, ax = pyplot.subplots(figsize=(width, height))
    figure.subplots_adjust(0, 0, 1, 1)
    yield ax
    figure.draw_without_rendering()
    figure.set_size_inches(ax.get_tightbbox().size / figure.dpi + 2 * MARGIN)
    figure.set_layout_engine("compressed", w_pad=MARGIN, h_pad=MARGIN)


def _matrix(
    array: Any,
    rows: list[str],
    columns: list[str],
    digits: int | None,
    ax: Any,
    **names: str,
) -> "Axes":
    """Draw cells with labels, and with numbers or a colour bar."""
    digits = None if digits is None else as_index(digits, "digits", 0)
    cell = NUMBER_CELL if digits is not None else LABEL_CELL if rows or columns else CELL
    longest = max(array.shape)
    cell = min(max(cell * longest, SHORTEST_SIDE), LONGEST_SIDE) / longest
    with _picture(ax, cell * array.shape[1], cell * len(array)) as axes:
        image = axes.imshow(array, **_scale(array))
        axes.set(**names)
        _label_on_top(axes)
        if digits is None:
            _colour_bar(axes, image, BAR * longest / array.shape[1])
        _label_cells(axes, rows, columns)
        if digits is not None:
            _write(axes, image, digits)
    return cast("Axes", axes)


def _scale(array: Any) -> dict[str, Any]:
    """Return the colours of an image: from white for 0, and to red below 0."""
    from matplotlib import colormaps

    largest = float(np.abs(array).filled(0).max()) or 1.0
    signed = bool((array < 0).any())
    colours = colormaps["RdBu" if signed else "Blues"].with_extremes(bad=GREY)
    return {"cmap": colours, "vmin": -largest if signed else 0, "vmax": largest}


def _colour_bar(ax: Any, image: Any, width: float) -> None:
    """Draw what the colours mean beside an image, as high as it; in widths of its Axes."""
    ax.figure.colorbar(image, cax=ax.inset_axes((1 + width, 0, width, 1)))


def _label_on_top(ax: Any) -> None:
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    ax.xaxis.set_label_position("top")


def _label_cells(ax: Any, rows: list[str], columns: list[str]) -> None:
    """Fit labels to the cells: those above upright where they are wider than a cell."""
    _label(ax.yaxis, rows)
    _label(ax.xaxis, columns, upright=True)
    # The labels have their largest size now: whatever is changed below makes room.
    width, height = _cell(ax, (len(rows) or 1, len(columns) or 1))
    _label(ax.yaxis, rows, height)
    lengths = [_points(ax, text.get_window_extent())[1] for text in ax.get_xticklabels()]
    _label(ax.xaxis, columns, width, upright=max(lengths, default=0) > width)


def _label(
    axis: Any, words: list[str], room: float = math.inf, *, upright: bool = False
) -> None:
    """Label cells that are `room` points wide with words, or else with their indices.

    Where there is no room for all words, they get smaller, and then fewer.
    """
    axis.set_tick_params(rotation=90 if upright else 0)
    size = _type_size(room)
    every = math.ceil(size * LINE / room) or 1
    if words:
        places = range(0, len(words), every)
        axis.set_ticks(places, words[::every], size=size, parse_math=False)
    else:
        axis.get_major_locator().set_params(integer=True)


def _write(ax: Any, image: Any, digits: int) -> None:
    """Write the values of an image into its cells, in a size that fits all of them."""
    array = image.get_array()
    style = {"ha": "center", "va": "center", "size": LARGEST_TYPE}
    texts = []
    for row, column in np.argwhere(~np.ma.getmaskarray(array)):
        value = array[row, column]
        linear = np.array(image.to_rgba(value)[:3]) ** 2.2
        light = linear @ (0.2126, 0.7152, 0.0722) > MIDDLE_LUMINANCE
        colour = "black" if light else "white"
        texts.append(ax.text(column, row, f"{value:z.{digits}f}", color=colour, **style))
    cell = np.array(_cell(ax, array.shape))
    sizes = [_points(ax, text.get_window_extent()) for text in texts]
    shrink = min([1.0, *(min(0.9 * cell / size) for size in sizes)])
    for text in texts:
        text.set_size(shrink * LARGEST_TYPE)


def _cell(ax: Any, shape: tuple[int, ...]) -> Any:
    """Measure the width and the height of a cell in points, as the figure stands now."""
    ax.get_figure(root=True).draw_without_rendering()
    return _points(ax, ax.get_window_extent()) / (shape[1], shape[0])


def _points(ax: Any, box: Any) -> Any:
    """Return the width and the height of a box, which is in pixels, in points."""
    return box.size * 72 / ax.get_figure(root=True).dpi


def _type_size(room: float) -> float:
    """Return the size of type for lines that are `room` points apart."""
    return min(max(room / LINE, SMALLEST_TYPE), LARGEST_TYPE)

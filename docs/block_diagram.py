"""The block diagram of self_attention.md: an encoder layer, and what comes before it.

`python docs/draw_self_attention.py` draws it with the other pictures of the page.
"""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

# Lengths are in inches. What is computed goes up in the middle, a residual connection goes
# around a part on its left, and notes stand on the right.
SIZE = (6.2, 6.3)
FRAME = (0.15, 1.8, 5.9, 4.05)  # left, bottom, width, height
MIDDLE, AROUND, NOTES = 1.95, 0.5, 3.5
WIDTH, HEIGHT, GAP = 2.3, 0.42, 0.3  # of a box, and to the next one of its part
FORK = 0.32  # from a fork of the line up to the box that it goes around
RADIUS = 0.12  # of the circle of a sum

MIXES_WORDS, CHANGES_EACH, NORMALISES = "#9ecae1", "#c7e9c0", "#fee6a8"
PAPER, EDGE, INK, FAINT = "#f4f4f4", "#b0b0b0", "#222222", "#666666"
LINE = {"color": INK, "linewidth": 1.2}


class Part(NamedTuple):
    """A part of the layer: output = norm(input + function(input))."""

    name: str
    colour: str
    does: str
    input: str
    function: str
    output: str
    norm: str


ATTENTION = Part(
    "multi-head attention", MIXES_WORDS, "mixes the words", "x", "mha", "h", "norm_1"
)
FEED_FORWARD = Part(
    "feed-forward network", CHANGES_EACH, "each word by itself", "h", "ffn", "y", "norm_2"
)


def draw() -> Figure:
    """Draw the layer, from what it is given, below, to what it gives, above."""
    figure = Figure(figsize=SIZE)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, SIZE[0]), ylim=(0, SIZE[1]))
    ax.set_axis_off()
    left, bottom, width, height = FRAME
    _rectangle(ax, FRAME, PAPER, EDGE)
    place = (left + width - 0.15, bottom + height - 0.15)
    ax.text(*place, "encoder layer", ha="right", va="top", style="italic", color=INK)

    _words(ax, 0.17, "the  cat  sat  on  the  mat", "tokens")
    top = _box(ax, 0.3, 0.58, "embedding", CHANGES_EACH, "a vector for each token")
    top = _sum(ax, top, 1.35, "positions", "and where it stands")
    top = _part(ax, top, 2.35, ATTENTION)
    top = _part(ax, top, 4.1, FEED_FORWARD)
    _arrow(ax, (MIDDLE, top), (MIDDLE, 6.0))
    _symbol(ax, (top + bottom + height) / 2, FEED_FORWARD.output)
    _words(ax, 6.12, "to the next layer")
    return figure


def _part(ax: Axes, start: float, bottom: float, part: Part) -> float:
    """Draw a part with its residual connection and its norm; return where it ends."""
    value = rf"\mathrm{{{part.function}}}({part.input})"
    top = _box(ax, start, bottom, part.name, part.colour, f"${value}$: {part.does}")
    norm = part.norm.replace("norm", r"\mathrm{norm}")
    equation = f"${part.output} = {norm}({part.input} + {value})$"
    end = _box(ax, top, top + GAP, "add & norm", NORMALISES, equation)
    fork, side = bottom - FORK, end - HEIGHT / 2
    ax.plot([MIDDLE, AROUND, AROUND], [fork, fork, side], **LINE)
    _arrow(ax, (AROUND, side), (MIDDLE - WIDTH / 2, side))
    style = {"ha": "right", "va": "center", "rotation": 90, "color": FAINT, "size": 9}
    ax.text(AROUND - 0.07, (fork + side) / 2, "residual", **style)
    _symbol(ax, fork, part.input)
    return end


def _box(ax: Axes, start: float, bottom: float, name: str, colour: str, note: str) -> float:
    """Draw a box and the arrow that leads to it from `start`; return where it ends."""
    _arrow(ax, (MIDDLE, start), (MIDDLE, bottom))
    place = (MIDDLE - WIDTH / 2, bottom, WIDTH, HEIGHT)
    _rectangle(ax, place, colour, INK)
    _words(ax, bottom + HEIGHT / 2, name, note)
    return bottom + HEIGHT


def _sum(ax: Axes, start: float, y: float, name: str, note: str) -> float:
    """Draw the sum of what comes from `start` and from the left; return where it ends."""
    _arrow(ax, (MIDDLE, start), (MIDDLE, y - RADIUS))
    _arrow(ax, (1.05, y), (MIDDLE - RADIUS, y))
    ax.add_patch(Circle((MIDDLE, y), RADIUS, facecolor="white", edgecolor=INK))
    ax.plot(MIDDLE, y, "+", color=INK, markersize=9)
    ax.text(1.0, y, name, ha="right", va="center", color=INK)
    _words(ax, y, "", note)
    return y + RADIUS


def _rectangle(
    ax: Axes, place: tuple[float, float, float, float], colour: str, edge: str
) -> None:
    left, bottom, width, height = place
    style = "round,pad=0,rounding_size=0.1"
    box = FancyBboxPatch((left, bottom), width, height, style, fc=colour, ec=edge)
    ax.add_patch(box)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **LINE}
    ax.annotate("", end, start, arrowprops=style)


def _words(ax: Axes, y: float, name: str, note: str = "") -> None:
    ax.text(MIDDLE, y, name, ha="center", va="center", color=INK)
    ax.text(NOTES, y, note, va="center", color=FAINT)


def _symbol(ax: Axes, y: float, symbol: str) -> None:
    ax.text(MIDDLE + 0.1, y, f"${symbol}$", va="center", color=INK, size=12)

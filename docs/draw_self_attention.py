"""Draw the pictures of self_attention.md: run the page, and keep what it draws.

The page is one program. Its blocks run in their order, and the figure that a block leaves
is the picture below it; what it prints stands below it too. The block diagram of an encoder
layer is drawn by block_diagram.py.

`python docs/draw_self_attention.py` in the checkout writes docs/images/*.png;
with `--check` it writes nothing and says which of them look different now.
"""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import block_diagram
import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure

PAGE = Path(__file__).parent / "self_attention.md"
IMAGES = PAGE.parent / "images"
DIAGRAM = "encoder_blocks.png"
DPI = 110

# A block of code, what it prints, if anything, and the picture of what it draws, if any.
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n"
    r"(?:\n```text\n(?P<output>.*?)^```\n)?"
    r"(?:\n!\[(?P<alt>.*?)\]\(images/(?P<image>.*?)\)\n)?",
    re.MULTILINE | re.DOTALL,
)


class Ran(NamedTuple):
    """A block of the page after it ran: what the page shows, and what came out."""

    code: str
    output: str
    alt: str
    image: str
    printed: str
    figures: list[Figure]


def run() -> Iterator[Ran]:
    """Run the blocks of the page, each after the ones above it."""
    matplotlib.use("agg")
    namespace: dict[str, object] = {"__name__": "__main__"}
    with np.printoptions():  # the page sets its own
        for code, *shown in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
            pyplot.close("all")
            with redirect_stdout(io.StringIO()) as printed:
                exec(compile(code, str(PAGE), "exec"), namespace)
            figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
            yield Ran(code, *shown, printed.getvalue(), figures)
    pyplot.close("all")


def pictures() -> Iterator[tuple[str, Figure]]:
    """Draw all pictures of the page, each with the name of its file."""
    for ran in run():
        yield from ((ran.image, figure) for figure in ran.figures)
    yield DIAGRAM, block_diagram.draw()


def looks_like(path: Path, drawn: io.BytesIO) -> bool:
    """Whether a file shows what was drawn, up to a step of a scale of colours.

    Another instruction set may round a value to the next colour.
    """
    scales = [matplotlib.colormaps[name](np.arange(256)) for name in ("Blues", "RdBu")]
    step = max(np.abs(np.diff(scale, axis=0)).max() for scale in scales)
    drawn.seek(0)
    old, new = pyplot.imread(path), pyplot.imread(drawn)
    return old.shape == new.shape and bool(np.abs(old - new).max() <= step)


def main(arguments: list[str]) -> None:
    """Write every picture, or compare it to the one that is there."""
    different = []
    for name, figure in pictures():
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=DPI, pil_kwargs={"optimize": True})
        path = IMAGES / name
        if arguments != ["--check"]:
            path.write_bytes(drawn.getvalue())
        elif not looks_like(path, drawn):
            different.append(path.name)
    if different:
        sys.exit(f"draw them again, they look different: {' '.join(different)}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Draw the pictures of attention.md: which keys (columns) each query (rows) sees.

`python docs/draw_masks.py` in the checkout writes docs/images/*.svg. The cells are
:func:`fastattn.attention_weights` of queries and keys that are all alike: what is left
open has a weight of exactly 0, and colours fade with the weight.
"""

from pathlib import Path
from typing import Any

import numpy as np

import fastattn as fa

IMAGES = Path(__file__).parent / "images"
LENGTH = 8
CELL = 9  # pixels
# Of middling lightness: they stand out from white and from black.
COLOUR, GRID = "#2a7fd4", "#8c8c8c"

# A mask that no other keyword says: four blocks, two of them hidden, and a hole.
BLOCKS = np.kron(np.eye(2, dtype=bool), np.ones((4, 4), bool))
BLOCKS[2, 1] = False

PICTURES: dict[str, dict[str, Any]] = {
    "all": {},
    "mask": {"mask": BLOCKS},
    "padding": {"mask": np.arange(LENGTH) % 5 != 2},
    "key_lengths": {"key_lengths": 5},
    "causal": {"causal": True},
    "query_offset": {"causal": True, "query_offset": 3},
    "negative_offset": {"causal": True, "query_offset": -3},
    "window": {"window": (2, 1)},
    "causal_window": {"window": (2, None), "causal": True},
    "alibi_slopes": {"alibi_slopes": [0.5]},
    "distance_bias": {"distance_bias": [[-0.3, -1.5, 0.0, -0.8, -3.0]]},
}


def picture(name: str) -> str:
    """Return a picture as SVG."""
    x = np.zeros((LENGTH, 4), np.float32)
    weights = fa.attention_weights(x, x, **PICTURES[name])
    largest = np.maximum(weights.max(axis=-1, keepdims=True), np.finfo(np.float32).tiny)
    side = LENGTH * CELL + 1
    edges = [i * CELL + 0.5 for i in range(LENGTH + 1)]
    grid = [f"M{edge} 0V{side}M0 {edge}H{side}" for edge in edges]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}">',
        f"<title>{name}</title>",
        f'<g fill="{COLOUR}">',
    ]
    for (row, column), strength in np.ndenumerate(weights / largest):
        if strength > 0:
            place = f'x="{edges[column]}" y="{edges[row]}"'
            size = f'width="{CELL}" height="{CELL}"'
            lines.append(f'<rect {place} {size} opacity="{strength:.2f}"/>')
    lines += ["</g>", f'<path d="{"".join(grid)}" stroke="{GRID}"/>', "</svg>", ""]
    return "\n".join(lines)


def main() -> None:
    """Write every picture."""
    IMAGES.mkdir(exist_ok=True)
    for name in PICTURES:
        (IMAGES / f"{name}.svg").write_text(picture(name), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Make a notebook of self_attention.md: its text, and its code ready to run.

`python docs/make_notebook.py` in the checkout writes docs/self_attention.ipynb. What the
page shows of outputs and pictures is left out: the notebook makes its own.
"""

import json
from typing import Any

from draw_self_attention import BLOCK, PAGE

NOTEBOOK = PAGE.with_suffix(".ipynb")


def notebook(page: str) -> dict[str, Any]:
    """Return the notebook of a page, in version 4.5 of Jupyter's format."""
    cells = []
    # A part is the text before a block, its code and what the page shows of its results.
    width = 1 + BLOCK.groups
    parts = BLOCK.split(page)
    code_parts = [*parts[1::width], ""]
    for number, (text, code) in enumerate(zip(parts[::width], code_parts, strict=True)):
        cells.append({"cell_type": "markdown", "id": f"text-{number}", "source": text})
        runnable = {"execution_count": None, "outputs": []}
        cells.append(
            {"cell_type": "code", "id": f"code-{number}", "source": code, **runnable}
        )
    for cell in cells:
        cell |= {"metadata": {}, "source": str(cell["source"]).strip()}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": [cell for cell in cells if cell["source"]],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


if __name__ == "__main__":
    made = notebook(PAGE.read_text(encoding="utf-8"))
    NOTEBOOK.write_text(json.dumps(made, indent=1), encoding="utf-8")

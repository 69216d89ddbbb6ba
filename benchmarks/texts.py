"""Real texts: what Debian says of its packages in a line, docstrings of Python's library.

``python -m benchmarks.texts FILE`` draws some from what this machine has: half of them from
``apt-cache dumpavail``, half from the standard library, 5 to 256 tokens long to MiniLM's
tokenizer. tests/data/texts.jsonl.gz was drawn so on Debian 12 with Python 3.11; its
docstrings are the Python Software Foundation's, under its licence (PSF-2.0).
"""

import argparse
import ast
import contextlib
import copy
import gzip
import json
import re
import subprocess
import sysconfig
from pathlib import Path

import numpy as np

import fastattn as fa

COMMITTED = Path(__file__).parents[1] / "tests" / "data" / "texts.jsonl.gz"
TOKENS = range(5, 257)
SUMMARY = re.compile(r"^Description(?:-en)?: (.+)$", re.MULTILINE)
# Tests and what belongs to others have no documentation to speak of.
LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "lib2to3"}
DOCUMENTED = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef


def read_texts(path=COMMITTED):
    """Read texts from a file that `main` wrote."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_texts(path, texts):
    """Write texts, JSON Lines compressed; equal texts make equal bytes."""
    lines = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)
    Path(path).write_bytes(gzip.compress(lines.encode(), 9, mtime=0))


def package_summaries():
    """List the short descriptions of all packages that apt knows."""
    listed = subprocess.run(
        ["apt-cache", "dumpavail"], check=True, capture_output=True, text=True
    )
    return sorted(set(SUMMARY.findall(listed.stdout)))


def docstrings():
    """List the docstrings of the standard library."""
    root, found = Path(sysconfig.get_path("stdlib")), set()
    for path in sorted(root.rglob("*.py")):
        if LEFT_OUT.isdisjoint(path.relative_to(root).parts):
            with contextlib.suppress(SyntaxError, UnicodeDecodeError):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                nodes = (node for node in ast.walk(tree) if isinstance(node, DOCUMENTED))
                found |= {ast.get_docstring(node) for node in nodes}
    return sorted(found - {None})


def draw(texts, count, rng, tokenizer):
    """Draw so many texts of the lengths that are wanted."""
    drawn = []
    for index in rng.permutation(len(texts)):
        if len(drawn) == count:
            return drawn
        if len(tokenizer.encode(texts[index]).ids) in TOKENS:
            drawn.append(texts[index])
    raise ValueError(f"there are {len(drawn)} such texts, not {count}")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.texts", description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="texts (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("file", type=Path, help="JSON Lines, compressed: .jsonl.gz")
    options = parser.parse_args(arguments)
    tokenizer = copy.deepcopy(fa.load("all-MiniLM-L6-v2").tokenizer)
    tokenizer.no_truncation()
    rng, texts = np.random.default_rng(options.seed), []
    for source in package_summaries(), docstrings():
        texts += draw(source, options.count // 2, rng, tokenizer)
    write_texts(options.file, texts)


if __name__ == "__main__":
    main()

"""How close vectors of lower precision are to float32's, beside those of the peers.

``python -m benchmarks.quality`` prints a table in Markdown, of the 400 texts that are
committed, or of those in a file that benchmarks/texts.py wrote.
"""

import argparse
import datetime
import shlex
import sys
import tempfile
from pathlib import Path

import fastattn as fa
from fastattn.comparison import closeness
from fastattn.models.locate import locate

from .compare.__main__ import MODEL, export
from .compare.cases import Case
from .compare.models import MINILM
from .compare.peers import LOW_PRECISION, Settings
from .compare.report import table, versions
from .compare.runner import Process
from .texts import COMMITTED

HEADER = ["", "runs in", "mean", "first percentile", "worst", "same ten nearest"]


def vectors_of(peer, settings, path):
    """Let an implementation encode the texts of a file; say in what it computed."""
    case = Case("texts", "real_texts", (), str(path.resolve()))
    with Process(peer, settings) as process:
        return process.ask("prepare", case), process.ask("runs_in")


def main(arguments=None):
    program = "python -m benchmarks.quality"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("--texts", type=Path, default=COMMITTED, metavar="FILE")
    parser.add_argument("--threads", type=int, default=fa.get_num_threads(), metavar="N")
    options = parser.parse_args(arguments)
    missing = {name: peer.missing() for name, peer in LOW_PRECISION.items()}
    names = [name for name in LOW_PRECISION if not missing[name]]
    rows, model = [], str(locate(MODEL))
    with tempfile.TemporaryDirectory() as folder:
        export([MINILM], names, model, folder)
        settings = Settings(options.threads, model, folder)
        expected, _ = vectors_of("fastattn", settings, options.texts)
        for name in names:
            vectors, precision = vectors_of(name, settings, options.texts)
            close = closeness(vectors, expected)
            shown = [f"{cosine:.6f}" for cosine in close[:3]]
            rows.append([name, precision, *shown, f"{close.neighbours:.4f}"])
    command = shlex.join([*program.split(), *sys.argv[1:]])
    print(f"`{command}` on {datetime.date.today()}, {len(expected)} texts:\n")
    print(*versions(missing), sep="\n")
    print(f"\n{table(HEADER, rows)}")


if __name__ == "__main__":
    main()

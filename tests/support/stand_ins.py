"""Models that examples load, which no package carries: tiny ones stand in for them."""

import shutil
from pathlib import Path

from .folders import DATA

STAND_INS = {
    "cross-encoder/ms-marco-MiniLM-L6-v2": DATA / "cross" / "electra",
    "naver/splade-v3": DATA / "sparse" / "bert",
}


def fill_cache(cache: Path) -> None:
    """Put the stand-ins into a cache of the Hugging Face hub."""
    for name, folder in STAND_INS.items():
        snapshots = cache / f"models--{name.replace('/', '--')}" / "snapshots"
        shutil.copytree(folder, snapshots / "main")

"""Real texts, which ``python -m benchmarks.texts`` drew."""

import gzip
import json

from support.folders import DATA


def real_texts() -> list[str]:
    """Read all of them."""
    with gzip.open(DATA / "texts.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]

"""A corpus of a few short texts, in shards of ten."""

from pathlib import Path

import fastattn as fa

from .folders import drop_json

TEXTS = [f"the dog {i} " + "cat " * (i % 7) for i in range(25)]


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def lose(out, number):
    """Take a shard away, and the manifest's word that all are there."""
    (out / f"part-{number:06d}.npy").unlink()
    drop_json(out / "manifest.json", "rows")


def encode(model, source, out, **options):
    fa.encode_corpus(model, source, out, **{"shard_rows": 10} | options)

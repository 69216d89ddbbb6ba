"""The folder of a corpus: what reaches the disk, in which order, and who else writes."""

import os
from pathlib import Path

import pytest
from support.folders import TINY

import fastattn as fa
from fastattn.corpus import shards


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def encode(out):
    fa.encode_corpus(TINY, ["the cat", "a dog"], out, source_id="two texts")


def test_machines_that_describe_the_job_at_once(out, monkeypatch):
    write = shards.write_bytes

    def swept(path, content):
        """Write, and find that another machine has swept what was written."""
        if path.name == shards.MANIFEST:
            path.with_name(f".{path.name}.2.tmp").write_bytes(content)
            write(path, content)
            raise FileNotFoundError(2, "No such file", str(path))
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_bytes", swept)
        encode(out)
    assert len(fa.open_vectors(out)) == 2
    assert not list(out.glob(".*"))


def test_names_reach_the_disk_in_order(out, monkeypatch):
    steps, replace, fsync = [], Path.replace, os.fsync

    def recorded(descriptor):
        kind = "folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file"
        steps.append(kind)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    monkeypatch.setattr(
        Path, "replace", lambda a, b: (steps.append(b.suffix), replace(a, b))[1]
    )
    encode(out)
    suffixes = ".json", ".jsonl", ".npy", ".json"
    assert steps == [step for each in suffixes for step in ("file", each, "folder")]

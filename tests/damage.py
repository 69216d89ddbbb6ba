"""Load a model of which one byte is wrong: every byte of its settings, in turn.

    python tests/damage.py [--complete]

writes the smallest model into a temporary folder and damages one file at a time: every
byte of the JSON files and of the header of the safetensors file has a bit flipped, and
every file is cut at every length. With --complete each byte has each of its bits flipped
and is left out once. The parts of the model that the other files make are read once.

Damage must be refused by a ModelFormatError that names a file of the folder. What is still
a model, a vocabulary with another letter say, must load and encode. Either takes at most
SECONDS of CPU time, and all together BYTES of memory: more ends the program.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from support.folders import write_smallest

import fastattn as fa
from fastattn import text
from fastattn.models.folder import Folder

SECONDS = 1.0
BYTES = 200 * 10**6

# The functions by which `fa.load` reads a model, each with the files that it reads.
PARTS = {
    "read_general": {"config_sentence_transformers.json"},
    "list_modules": {"modules.json"},
    "read_model": {"config.json", "model.safetensors"},
    "read_tokenizer": {
        "added_tokens.json",
        "config.json",
        "sentence_bert_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    },
    "read_chain": {
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "3_LayerNorm/config.json",
        "3_LayerNorm/model.safetensors",
        "4_Normalize/config.json",
        "modules.json",
    },
}

# Memory that looks like a disk: on others, what is written anew is waited for.
MEMORY = "/dev/shm"

# Words that the vocabulary has and has not, more tokens than there is room for, nothing.
TEXTS = ["a b", "ab狐 b", "a b a b a b a b", ""]


def flips(content: bytes, stop: int) -> Iterator[bytes]:
    """Flip one bit of each byte up to `stop`, another bit from byte to byte."""
    for i in range(stop):
        yield content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :]


def cuts(content: bytes, stop: int) -> Iterator[bytes]:
    """End the file before each of the bytes up to `stop`."""
    return (content[:i] for i in range(stop))


def more_flips(content: bytes, stop: int) -> Iterator[bytes]:
    """Flip each bit of each byte up to `stop`, and leave each byte out."""
    for i in range(stop):
        for bit in range(8):
            yield content[:i] + bytes([content[i] ^ 1 << bit]) + content[i + 1 :]
        yield content[:i] + content[i + 1 :]


def outcome(folder: Path) -> str:
    """Load a folder and encode with what it holds."""
    try:
        model = fa.load(folder)
    except fa.ModelFormatError as error:
        assert str(error).startswith(f"{folder}/"), error
        return "refused"
    vectors = model.encode(TEXTS, on_truncation="ignore")
    assert vectors.shape == (len(TEXTS), model.dim)
    return "loaded"


def keep_parts(folder: Path, name: str) -> ExitStack:
    """Read what does not depend on one of the files; `fa.load` is given that, then."""
    general = text.read_general(Folder(folder))
    listed = text.list_modules(Folder(folder), text.KINDS)
    model = text.read_model(listed.transformer)
    tokenizer = text.read_tokenizer(listed.transformer, model)
    chain = text.read_chain(listed, model.hidden_size, "float32")
    stack = ExitStack()
    parts = general, listed, model, tokenizer, chain
    for part, value in zip(PARTS, parts, strict=True):
        if name not in PARTS[part]:
            given = mock.patch.object(text, part, lambda *_, value=value: value)
            stack.enter_context(given)
    return stack


def damage(folder: Path, path: Path, complete: bool) -> dict[str, int]:
    """Damage one file in all ways; count what came of it."""
    content = path.read_bytes()
    stop = len(content)
    if path.suffix == ".safetensors":
        stop = 8 + int.from_bytes(content[:8], "little")
    counts = {"refused": 0, "loaded": 0}
    with keep_parts(folder, path.relative_to(folder).as_posix()):
        before = time.process_time()
        for way in (more_flips, cuts) if complete else (flips, cuts):
            for damaged in way(content, stop):
                path.write_bytes(damaged)
                try:
                    counts[outcome(folder)] += 1
                except BaseException:
                    print(f"{path.relative_to(folder)}: {damaged!r}")
                    raise
                after = time.process_time()
                assert after - before < SECONDS, (after - before, damaged)
                before = after
    path.write_bytes(content)
    return counts


def main() -> None:
    complete = "--complete" in sys.argv[1:]
    fa.set_num_threads(1)
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as parent:
        folder = write_smallest(Path(parent) / "model")
        assert outcome(folder) == "loaded"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            counts = damage(folder, path, complete)
            print(path.relative_to(folder), counts["refused"], counts["loaded"])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before
    print(f"memory grew by {grown / 1e6:.0f} MB", file=sys.stderr)
    assert grown < BYTES, grown


if __name__ == "__main__":
    main()

"""Load what a coverage-guided fuzzer makes of a model's files.

    pip install atheris
    python tests/fuzz_load.py -max_total_time=600 CORPUS

An input is one file of the smallest model, or of the same with its weights in two files:
the first byte says which, the rest is what stands in it. It must load or be refused by a
ModelFormatError; of a model that loads, `encode` must give vectors or a ModelFormatError.
Anything else is a finding, which the fuzzer writes to a file here; give that file as the
argument to see it again. CORPUS, a folder, is filled with the undamaged files first. The
options are those of libFuzzer. It changes bytes; every other time, a value of the JSON is
replaced instead.
"""

import json
import random
import sys
import tempfile
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["fastattn"]):
    from fastattn import ModelFormatError, load, set_num_threads

from support.folders import split_weights, write_smallest

# All files load the same code, so that their coverage does not tell them apart. Words of
# libFuzzer: seconds and megabytes that no input may take.
OPTIONS = ("-keep_seed=1", "-len_control=0", "-timeout=10", "-rss_limit_mb=512")

# What a value of the JSON is replaced by, other values of the same file apart: numbers at
# edges, other kinds, and parts of tokenizers that the smallest model does not have.
VALUES = (
    *(None, True, 0, -1, 7, 2**31, 2**63, 2**64, 0.5, 1e999, "", "a", "\0", [], {}),
    {"type": "FixedLength", "length": 0},
    {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    {"type": "Sequence", "normalizers": [{"type": "NFKC"}]},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
    {"type": "RobertaProcessing", "sep": ["a", 9], "cls": ["b", 0]},
    {"type": "Unigram", "unk_id": None, "vocab": [["a", 0.0]]},
    {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]},
)

TEXTS = ["a b", "ab狐 b", "a b a b a b a b", ""]


def files(parent: Path) -> list[tuple[Path, Path]]:
    """Write the models, and list their files in a fixed order, each with its folder."""
    whole = write_smallest(parent / "model")
    split = split_weights(write_smallest(parent / "split"))
    listed = [(whole, path) for path in whole.rglob("*") if path.is_file()]
    return sorted(listed) + sorted((split, path) for path in split.glob("model*"))


def fill(corpus: Path, undamaged: list[bytes]) -> None:
    """Write the undamaged files as inputs."""
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(undamaged):
        (corpus / f"undamaged_{number}").write_bytes(data)


def places(value: Any) -> list[tuple[Any, Any]]:
    """List where values stand inside a JSON value: each container with each key."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else range(len(value))
    inner = [place for key in keys for place in places(value[key])]
    return [(value, key) for key in keys] + inner


def mutate(undamaged: list[bytes], data: bytes, max_size: int, seed: int) -> bytes:
    """Change an input: its bytes, or a value of its JSON or of an undamaged file's."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        return atheris.Mutate(data, max_size)
    data = rng.choice([data, *rng.choices(undamaged, map(len, undamaged))])
    content = data[1:]
    length = int.from_bytes(content[:8], "little")
    # No JSON begins with so small a number: this is the file of the weights.
    weights = length < len(content)
    text = content[8 : 8 + length] if weights else content
    try:
        found = places([json.loads(text)])
    except (ValueError, RecursionError):
        return atheris.Mutate(data, max_size)
    container, key = rng.choice(found)
    other, other_key = rng.choice(found)
    container[key] = deepcopy(rng.choice([*VALUES, other[other_key]]))
    top, first = found[0]
    text = json.dumps(top[first]).encode()
    if weights:
        text = len(text).to_bytes(8, "little") + text + content[8 + length :]
    return data[:1] + text[: max_size - 1]


def main() -> None:
    set_num_threads(1)
    with tempfile.TemporaryDirectory() as parent:
        paths = files(Path(parent))
        contents = [path.read_bytes() for _, path in paths]
        undamaged = [bytes([i]) + content for i, content in enumerate(contents)]

        def load_damaged(data: bytes) -> None:
            number = data[0] % len(paths) if data else 0
            folder, path = paths[number]
            path.write_bytes(data[1:])
            try:
                load(folder).encode(TEXTS, on_truncation="ignore")
            except ModelFormatError:
                pass
            finally:
                path.write_bytes(contents[number])

        for argument in sys.argv[1:]:
            if not argument.startswith("-") and not Path(argument).is_file():
                fill(Path(argument), undamaged)
        atheris.Setup(
            [*sys.argv, *OPTIONS], load_damaged, custom_mutator=partial(mutate, undamaged)
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()

"""The command line's folders: vectors of a file of any size."""

import argparse
import os
from pathlib import Path
from typing import Any

from .files import STANDARD

# What is only about folders of vectors.
FOLDER_OPTIONS = ("id_field", "shard_rows", "shards", "processes", "format", "errors")


def add_folder_options(encode: argparse.ArgumentParser) -> None:
    """Add the options that are about folders of vectors."""
    folder = encode.add_argument_group("with --output FOLDER/, for a corpus of any size")
    add = folder.add_argument
    add("--id-field", metavar="NAME", help="take ids from this field")
    add("--shard-rows", type=int, metavar="N", help="vectors of a file [10000]")
    add(
        "--shards",
        type=_turn,
        metavar="I/N",
        help="do every N-th, from I on, from 0",
    )
    add("--processes", type=int, metavar="N", help="processes that share the work [1]")
    add("--format", choices=("npy", "parquet"), help="of the files [npy]")
    add("--errors", choices=("nan", "raise"), help="for a record without a text [nan]")


def _turn(given: str) -> tuple[int, int]:
    """Read which shards are meant."""
    index, _, total = given.partition("/")
    if not index.isdecimal() or not total.isdecimal():
        raise argparse.ArgumentTypeError(f"expected I/N, got {given!r}")
    return int(index), int(total)


def is_folder(options: argparse.Namespace) -> bool:
    """Tell whether vectors go into a folder, and check the options and the input."""
    output, name = options.output, next(iter(_given(options, FOLDER_OPTIONS)), None)
    if output is not None and _names_folder(output):
        if options.texts or options.input in (None, STANDARD):
            raise ValueError(f"{output}: a folder is for the texts of --input FILE")
        from .corpus import Fields, open_source

        fields = Fields(options.field or "text", options.id_field)
        open_source(options.input, fields, None).identity()
        return True
    if name is not None:
        option = f"--{name.replace('_', '-')}"
        raise ValueError(f"{option} is about a folder of vectors: --output FOLDER/")
    return False


def _names_folder(name: str) -> bool:
    """Tell whether a name is that of a folder: a file's has an ending."""
    found = os.path.isdir(name) and not os.path.splitext(name)[1]
    return name.endswith(("/", os.sep)) or found


def encode_folder(
    model: Any, options: argparse.Namespace, keywords: dict[str, Any]
) -> None:
    """Encode a file of any size, or what of it is not encoded yet."""
    from .corpus import encode_corpus, folder_line

    names = "field", "precision", "prompt_name", "truncate_dim", *FOLDER_OPTIONS
    keywords = keywords | _given(options, names)
    encode_corpus(model, options.input, options.output, show_progress=True, **keywords)
    print(f"{options.output}: {folder_line(Path(options.output))}")


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Give those options that were given."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}

"""What the commands share: texts, models and warnings."""

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._packed import FORMATS, PRECISIONS
from .files import check_unicode, read_field, read_lines

DEFAULT_MODEL = "all-MiniLM-L6-v2"

# The kinds of models that a command takes.
TAKES = {
    "encode": ("TextEncoder", "SparseEncoder"),
    "explain": ("TextEncoder", "CrossEncoder", "SparseEncoder"),
    "rank": ("CrossEncoder",),
    "search": ("TextEncoder",),
    "serve": ("TextEncoder", "CrossEncoder"),
}


def load_for(command: str, name: str, **settings: Any) -> Any:
    """Load a model for a command, of the kind that it takes."""
    from .loading import CLASSES
    from .models.download import folder_of
    from .models.kinds import kinds_of

    folder = folder_of(name, settings.get("revision"), False)
    kinds = kinds_of(folder)
    for kind in kinds:
        if kind in TAKES[command]:
            return CLASSES[kind].load(name, **settings)
    fit = [f"fastattn {other}" for other, takes in TAKES.items() if kinds[0] in takes]
    raise ValueError(f"{folder.path}: holds a {kinds[0]}: give it to {' or '.join(fit)}")


def add_computing(command: argparse.ArgumentParser, default: str) -> None:
    """Add the options of `load` that say how is computed."""
    add = command.add_argument
    add("--weights", choices=FORMATS, help=f"stored as [{default}]")
    add("--compute", choices=PRECISIONS, help=f"[{default}]")


def computing(options: argparse.Namespace) -> dict[str, Any]:
    """Give the keywords of `load` that say how is computed."""
    given = {"compute": options.compute, "weights": options.weights}
    return {name: value for name, value in given.items() if value is not None}


def shared_keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Give the keywords of options that commands share."""
    keywords = {"num_threads": options.threads}
    if options.batch_tokens is not None:
        keywords["batch_tokens"] = options.batch_tokens
    return keywords


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Show what is warned of in the block, each in a line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        complain(f"warning: {warning.message}")


def read_texts(options: argparse.Namespace) -> list[str]:
    """Read the texts that the options give or name."""
    if options.input is None:
        if options.field is not None:
            raise ValueError("--field is about records: give --input FILE with it")
        if not options.texts:
            raise ValueError("no texts: give some, or --input FILE (- for standard input)")
        if len(options.texts) == 1 and os.path.isfile(given := options.texts[0]):
            complain(
                f"warning: {given} is taken for a text: --input {given} reads the file"
            )
        return [
            check_unicode(text, f"text {number}")
            for number, text in enumerate(options.texts, 1)
        ]
    if options.texts:
        raise ValueError("give texts or --input, not both")
    if not options.input:
        raise ValueError("--input is empty: name a file, or - for standard input")
    from .corpus import Fields, has_records, open_source

    if has_records(options.input):
        fields = Fields("text" if options.field is None else options.field, None)
        return list(open_source(options.input, fields, None).texts())
    if options.field is None:
        return [line for _, line in read_lines(options.input)]
    return [
        read_field(line, options.field, where)
        for where, line in read_lines(options.input)
        if line.strip()
    ]


def complain(message: str) -> None:
    """Write a line to standard error, if there is one."""
    # Without it print would write to standard output.
    if sys.stderr is not None:
        print(f"fastattn: {message}", file=sys.stderr)


def one_line(error: Exception) -> str:
    """Say what an error says, in one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__

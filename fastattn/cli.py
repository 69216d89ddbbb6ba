"""The command line: ``fastattn info``, ``encode``, ``search``, ``rank`` and others."""

import argparse
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from . import __version__, num_threads, show_config
from .cli_corpus import add_folder_options, encode_folder, is_folder
from .cli_search import add_search_options, run_search
from .cli_serve import add_serve_options, run_serve
from .cli_shared import (
    DEFAULT_MODEL,
    add_computing,
    complain,
    computing,
    load_for,
    one_line,
    read_texts,
    shared_keywords,
    warnings_in_one_line,
)
from .display import (
    COLUMNS,
    closest_pairs,
    label,
    score_line,
    similarity_table,
    vector_line,
    words_line,
)
from .files import (
    STANDARD,
    check_output,
    check_unicode,
    json_line,
    ranked_line,
    words_json,
    write_npy,
    write_whole,
)
from .quantize import PRECISIONS, SCALAR

OF_FOLDER = "that of the folder"
DEFAULT_RERANKER = "cross-encoder/ms-marco-MiniLM-L6-v2"

# A table of the similarities of so many texts fits a terminal.
TABLE_TEXTS = 10

# The closest pairs are looked for among so many texts at most, for all are compared.
PAIRS_TEXTS = 2000

ERROR_STATUS = 2
INTERRUPTED = 128 + signal.SIGINT

# How values of vectors are written: what needs to know their ranges is no choice here.
WRITTEN = tuple(name for name in PRECISIONS if name not in SCALAR)

# What the names of files may end in.
VECTOR_FILES = (".npy",)
RANKED_FILES = (".jsonl",)
PAGE_FILES = (".html", ".htm")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit."""
        self.exit(ERROR_STATUS, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind the name of the program; that of ``sys.argv`` unless given.

    Returns
    -------
    int
        The exit status: 0; 2 after an error, which is one line on standard error; 130
        after Ctrl-C; 141 when nobody reads the output any more.

    Examples
    --------
    >>> from fastattn.cli import main
    >>> main(["encode", "--model", "no/where", "a text"])
    2
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A label with a letter that the terminal lacks is no reason to fail.
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            options = parser().parse_args(arguments)
            options.run(options)
        finally:
            flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except Exception as error:
        complain(f"error: {one_line(error)}")
        return ERROR_STATUS
    return 0


def run() -> NoReturn:
    """Be the program: run the command line, and end the process."""
    status = main()
    if status == INTERRUPTED:
        # All is written, and to take Python apart takes longer than all before it.
        os._exit(status)
    raise SystemExit(status)


def flush() -> None:
    """Let what was printed leave the process; there may be no standard output."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        # What is still buffered can go nowhere, and Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, "standard output") from None


def parser() -> Parser:
    """Make the parser of the command line."""
    top = Parser(prog="fastattn", description="Transformer encoders on CPUs.")
    top.add_argument("--version", action="version", version=f"fastattn {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    command = partial(add_command, commands)
    command(run_info, "info", "show this machine and this installation")
    encode = command(run_encode, "encode", "turn texts into vectors")
    add = encode.add_argument
    add("--prompt-name", metavar="NAME", help="a prompt of the model, before each text")
    add("--truncate-dim", type=int, metavar="D", help="leading values kept of a vector")
    add("--precision", choices=WRITTEN, help="values are written as [float32]")
    add_folder_options(encode)
    search = command(run_search, "search", "find what in a folder is closest to texts")
    add_search_options(search)
    rank = command(run_rank, "rank", "order texts by how they answer a query")
    rank.add_argument("query", metavar="QUERY", help="what the texts are to answer")
    rank.add_argument("--top", type=int, metavar="K", help="show so many, the best")
    vectors, ranked = f"a {VECTOR_FILES[0]} file, a FOLDER/", f"a {RANKED_FILES[0]} file"
    for each, output in {encode: vectors, search: ranked, rank: ranked}.items():
        add = each.add_argument
        add("--output", metavar="FILE", help=f"{output}; - is standard output, JSON Lines")
        add_computing(each, OF_FOLDER if each is search else "float32")
        add("--batch-tokens", type=int, metavar="N", help="tokens computed at a time")
    compare = command(run_compare, "compare", "tell how close and fast --compute makes it")
    for each in encode, search, rank, compare:
        add = each.add_argument
        add("texts", nargs="*", metavar="TEXT", help="a text")
        add("--input", metavar="FILE", help="lines or records; - is standard input")
        add("--field", metavar="NAME", help="take this field of the records [text]")
        add("--threads", type=int, metavar="N", help="threads to compute with")
    explain = command(run_explain, "explain", "draw what attends to what in a text")
    add = explain.add_argument
    add("text", metavar="TEXT", help="the text")
    add("--pair", metavar="TEXT", help="a second text behind it")
    add("-o", "--output", metavar="FILE", default="attention.html", help="[%(default)s]")
    add_serve_options(command(run_serve, "serve", "answer requests over HTTP"))
    download = command(run_download, "download", "get a model from the Hugging Face hub")
    download.add_argument("name", metavar="NAME", help="as on the hub: organisation/model")
    download.add_argument("--revision", metavar="R", help="a branch, a tag or a commit")
    models = dict.fromkeys((encode, explain, compare), DEFAULT_MODEL)
    for each, name in (models | {rank: DEFAULT_RERANKER, search: None}).items():
        default = name or OF_FOLDER
        each.add_argument("--model", default=name, help=f"a folder or a name [{default}]")
    return top


def add_command(
    commands: "argparse._SubParsersAction[Parser]",
    run: Callable[[argparse.Namespace], None],
    name: str,
    does: str,
) -> Parser:
    """Add a command without options, and say what runs it and what it does."""
    description = f"{does[0].upper()}{does[1:]}."
    made = commands.add_parser(name, help=does, description=description)
    made.set_defaults(run=run)
    return made


def run_info(options: argparse.Namespace) -> None:
    """Show what fastattn found on this machine."""
    show_config()


def run_encode(options: argparse.Namespace) -> None:
    """Encode texts, and write their vectors or show something about them."""
    if is_folder(options):
        with num_threads(1):  # processes are copies of one that has no other thread
            model = load_for("encode", options.model, **computing(options))
        with warnings_in_one_line():
            encode_folder(model, options, shared_keywords(options))
        return
    if options.output is not None:
        check_output(options.output, VECTOR_FILES, "JSON Lines; a folder ends in /")
    elif options.precision is not None:
        raise ValueError("--precision is about vectors that are written: give --output")
    texts = read_texts(options)
    model = load_for("encode", options.model, **computing(options))
    keywords = shared_keywords(options) | {"prompt_name": options.prompt_name}
    ENCODE[type(model).__name__](model, texts, options, keywords)


def encode_vectors(
    model: Any, texts: list[str], options: argparse.Namespace, keywords: dict[str, Any]
) -> None:
    """Write or show vectors."""
    if options.precision is not None:
        keywords["precision"] = options.precision
    start = time.perf_counter()
    with warnings_in_one_line():
        vectors = model.encode(texts, truncate_dim=options.truncate_dim, **keywords)
    seconds = time.perf_counter() - start
    if options.output == STANDARD:
        for text, vector in zip(texts, vectors, strict=True):
            print(json_line(text, vector))
    elif options.output is not None:
        write_whole(options.output, lambda file: write_npy(file, vectors))
        print(f"{options.output}: {len(vectors)} vectors of {vectors.shape[1]} values")
    elif len(texts) == 1:
        print(vector_line(vectors[0]))
    elif 1 < len(texts) <= TABLE_TEXTS:
        print(*similarity_table(texts, model.similarity(vectors, vectors)), sep="\n")
    else:
        print(f"{len(texts)} texts in {seconds:.2f} s; --output keeps their vectors")
        if TABLE_TEXTS < len(texts) <= PAIRS_TEXTS:
            print("The closest pairs:")
            print(*closest_pairs(texts, model.similarity(vectors, vectors)), sep="\n")


def encode_words(
    model: Any, texts: list[str], options: argparse.Namespace, keywords: dict[str, Any]
) -> None:
    """Write or show the words of sparse vectors, the heaviest first."""
    for option in ("truncate_dim", "precision"):
        if getattr(options, option) is not None:
            raise ValueError(
                f"--{option.replace('_', '-')} is about vectors of numbers, and "
                f"{options.model} gives weights of words"
            )
    if options.output not in (None, STANDARD):
        raise ValueError(
            f"{options.output}: {options.model} gives weights of words, which are written "
            f"as JSON Lines to standard output: --output {STANDARD}"
        )
    start = time.perf_counter()
    with warnings_in_one_line():
        vectors = model.encode(texts, **keywords)
    seconds = time.perf_counter() - start
    words = model.decode(vectors)
    if options.output == STANDARD:
        for text, weights in zip(texts, words, strict=True):
            print(words_json(text, weights))
    elif len(texts) == 1:
        print(words_line(words[0]))
    elif 1 < len(texts) <= TABLE_TEXTS:
        for text, weights in zip(texts, words, strict=True):
            print(label(text, COLUMNS), f"  {words_line(weights, COLUMNS - 2)}", sep="\n")
    else:
        print(
            f"{len(texts)} texts in {seconds:.2f} s; --output {STANDARD} gives their words"
        )


# Kinds of models that encode -> what encodes with them.
ENCODE = {"TextEncoder": encode_vectors, "SparseEncoder": encode_words}


def run_compare(options: argparse.Namespace) -> None:
    """Show how close and how fast each way to compute is."""
    from .comparison import compare_compute

    texts = read_texts(options)
    print(compare_compute(options.model, texts, num_threads=options.threads))


def run_rank(options: argparse.Namespace) -> None:
    """Show texts in the order in which they answer a query."""
    check_unicode(options.query, "the query")
    if options.output is not None:
        check_output(options.output, RANKED_FILES, "JSON Lines")
    texts = read_texts(options)
    model = load_for("rank", options.model, **computing(options))
    with warnings_in_one_line():
        ranked = model.rank(
            options.query,
            texts,
            top_k=options.top,
            return_documents=True,
            **shared_keywords(options),
        )
    lines = [ranked_line(**entry) for entry in ranked]
    if options.output is None:
        for entry in ranked:
            print(score_line(entry["score"], entry["text"]))
    elif options.output == STANDARD:
        for line in lines:
            print(line)
    else:
        content = "".join(f"{line}\n" for line in lines).encode()
        write_whole(options.output, lambda file: file.write(content))
        print(f"{options.output}: {len(lines)} texts, the best first")


def run_explain(options: argparse.Namespace) -> None:
    """Write a page that shows what attends to what in a text."""
    check_output(options.output, PAGE_FILES, "the page")
    check_unicode(options.text, "the text")
    check_unicode(options.pair or "", "the text of --pair")
    from .page import explain

    model = load_for("explain", options.model)
    name = Path(options.model).name
    with warnings_in_one_line():
        page = explain(model, options.text, options.pair, name=name)
    if options.output == STANDARD:
        print(page, end="")
        return
    content = page.encode()
    write_whole(options.output, lambda file: file.write(content))
    print(f"{options.output}: {len(content) / 1e6:.1f} MB, opens in a browser")


def run_download(options: argparse.Namespace) -> None:
    """Get a model from the hub, and say in which folder it is."""
    from .models.download import download

    print(download(options.name, revision=options.revision))

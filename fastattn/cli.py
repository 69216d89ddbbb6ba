"""The command line: ``fastattn info``, ``fastattn encode`` and ``fastattn explain``."""

import argparse
import io
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0
from numpy.typing import NDArray

from . import __version__, show_config
from ._gemm import FORMATS
from .display import closest_pairs, similarity_table, vector_line

DEFAULT_MODEL = "all-MiniLM-L6-v2"

# A table of the similarities of so many texts fits a terminal.
TABLE_TEXTS = 10

# The closest pairs are looked for among so many texts at most, for all are compared.
PAIRS_TEXTS = 2000

ERROR_STATUS = 2


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
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # What is still buffered can go nowhere, and Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        print(f"fastattn: error: {one_line(error)}", file=sys.stderr)
        return ERROR_STATUS
    return 0


def one_line(error: Exception) -> str:
    """Say what an error says, in one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def parser() -> Parser:
    """Make the parser of the command line."""
    top = Parser(prog="fastattn", description="Transformer encoders on CPUs.")
    top.add_argument("--version", action="version", version=f"fastattn {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="show this machine and this installation")
    info.set_defaults(run=run_info)
    encode = commands.add_parser("encode", help="turn texts into vectors")
    encode.set_defaults(run=run_encode)
    add = encode.add_argument
    add("texts", nargs="*", metavar="TEXT", help="a text")
    add("--input", metavar="FILE", help="one text a line; - is standard input")
    add("--field", metavar="NAME", help="the input is JSON Lines: take this field")
    add("--output", metavar="FILE", type=Path, help="write the vectors to a .npy file")
    add("--weights", choices=FORMATS, default="float32", help="stored as [%(default)s]")
    add("--batch-tokens", type=int, metavar="N", help="tokens computed at a time")
    add("--threads", type=int, metavar="N", help="threads to compute with")
    explain = commands.add_parser("explain", help="draw what attends to what in a text")
    explain.set_defaults(run=run_explain)
    add = explain.add_argument
    add("text", metavar="TEXT", help="the text")
    add("--pair", metavar="TEXT", help="a second text behind it")
    page = Path("attention.html")
    add("-o", "--output", metavar="FILE", type=Path, default=page, help="[%(default)s]")
    for command in (encode, explain):
        command.add_argument(
            "--model", default=DEFAULT_MODEL, help="a folder or a name [%(default)s]"
        )
    return top


def run_info(options: argparse.Namespace) -> None:
    """Show what fastattn found on this machine."""
    show_config()


def run_encode(options: argparse.Namespace) -> None:
    """Encode texts, and write their vectors or show something about them."""
    texts = read_texts(options)
    if options.output is not None:
        check_output(options.output)
    from .text import load

    model = load(options.model, weights=options.weights)
    keywords: dict[str, Any] = {"num_threads": options.threads}
    if options.batch_tokens is not None:
        keywords["batch_tokens"] = options.batch_tokens
    start = time.perf_counter()
    with warnings_in_one_line():
        vectors = model.encode(texts, **keywords)
    seconds = time.perf_counter() - start
    if options.output is not None:
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


def run_explain(options: argparse.Namespace) -> None:
    """Write a page that shows what attends to what in a text."""
    check_output(options.output)
    from .page import explain
    from .text import load

    model = load(options.model)
    name = Path(options.model).name
    with warnings_in_one_line():
        page = explain(model, options.text, options.pair, name=name).encode()
    write_whole(options.output, lambda file: file.write(page))
    print(f"{options.output}: {len(page) / 1e6:.1f} MB, opens in a browser")


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Show what is warned of in the block, each in a line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        print(f"fastattn: warning: {warning.message}", file=sys.stderr)


def read_texts(options: argparse.Namespace) -> list[str]:
    """Read the texts that the options give or name."""
    if options.input is None:
        if options.field is not None:
            raise ValueError("--field is about JSON Lines: give --input FILE with it")
        if not options.texts:
            raise ValueError("no texts: give some, or --input FILE (- for standard input)")
        return list(options.texts)
    if options.texts:
        raise ValueError("give texts or --input, not both")
    if options.field is None:
        return [line for _, line in read_lines(options.input)]
    return [
        read_field(line, options.field, f"{options.input}, line {number}")
        for number, line in read_lines(options.input)
        if line.strip()
    ]


def read_lines(name: str) -> Iterator[tuple[int, str]]:
    """Read the lines of a file, or of standard input, with their numbers from 1."""
    standard = name == "-"
    with open(0 if standard else name, encoding="utf-8-sig", closefd=not standard) as file:
        try:
            for number, line in enumerate(file, 1):
                yield number, line.removesuffix("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} is not UTF-8: {error}") from None


def read_field(line: str, field: str, where: str) -> str:
    """Read the text in one field of a line of JSON."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON: {error}") from None
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
        raise ValueError(f"{where}: expected an object with a string {field!r}")
    return str(record[field])


def check_output(path: Path) -> None:
    """Fail before the work where a file could not be written after it."""
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ValueError(f"{path}: there is no folder {folder}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: not a regular file")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{path}: the folder {folder} cannot be written to")


def write_npy(file: BinaryIO, array: NDArray[Any]) -> None:
    """Write an array in the format of NumPy."""
    # np.save does not notice where the last bytes have no room on the disk.
    write_array_header_1_0(file, header_data_from_array_1_0(array))
    file.write(array.data)


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it is there as a whole or not at all.

    Until it is whole the file has no name, where the file system can do that, and is gone
    with the process, however that ends. Elsewhere it is called .NAME.PID.tmp, and a process
    that is killed leaves that behind.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    # Another process that was killed may have had this number.
    temporary.unlink(missing_ok=True)
    try:
        with open_nameless(target.parent) or temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if not temporary.exists():
                give_name(file, temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def open_nameless(folder: Path) -> BinaryIO | None:
    """Open a new file without a name, if the system and the folder's disk know such."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return open(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666), "wb")
    except OSError:
        return None


def give_name(file: BinaryIO, path: Path) -> None:
    """Give an open file that has no name its first one, which must be free."""
    # What stands in /proc is a link; os.link follows it if it is given any folder.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{file.fileno()}", path, src_dir_fd=folder)
    finally:
        os.close(folder)

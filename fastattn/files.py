"""The files of the command line: texts in; vectors out, whole or not at all."""

import json
import os
import sys
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from numpy import float32
from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0
from numpy.typing import NDArray

# What stands for standard input or output where a file is asked for.
STANDARD = "-"


def read_lines(name: str) -> Iterator[tuple[str, str]]:
    r"""Read the lines of a file, or of standard input: where each stands, and its text.

    A line ends at "\n" or "\r\n" and nowhere else: a text may hold whatever else Unicode
    calls the end of a line.
    """
    standard = name == STANDARD
    shown = "standard input" if standard else name
    source = 0 if standard else name
    # A byte that is none of UTF-8 becomes half of a UTF-16 pair, by which it is found.
    encoding, errors = "utf-8-sig", "surrogateescape"
    try:
        with open(
            source, encoding=encoding, errors=errors, newline="\n", closefd=not standard
        ) as file:
            for number, line in enumerate(file, 1):
                if line.endswith("\n"):
                    line = line[:-1].removesuffix("\r")
                where = f"{shown}, line {number}"
                _check_bytes(line, where)
                yield where, line
    except OSError as error:
        # Reading names no file.
        raise OSError(error.errno, error.strerror, shown) from None


def _check_bytes(line: str, where: str) -> None:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        before = len(line[: error.start].encode())
        byte = ord(line[error.start]) - 0xDC00
        raise ValueError(
            f"{where}: not UTF-8: byte {before + 1} of it is 0x{byte:02x}"
        ) from None


def read_field(line: str, field: str, where: str) -> str:
    """Read the text in one field of a line of JSON."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON: {error}") from None
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
        raise ValueError(f"{where}: expected an object with a string {field!r}")
    return check_unicode(record[field], where)


def check_unicode(text: str, where: str) -> str:
    """Refuse half of a UTF-16 pair: a bad byte of an argument, or an escape of JSON."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: not Unicode: character {error.start + 1} is a lone surrogate"
        ) from None
    return text


def check_output(name: str, endings: Collection[str], standard: str) -> None:
    """Fail before the work where a file could not be written after it.

    Parameters
    ----------
    name : str
        The name of the file, or `STANDARD`.
    endings : collection of str
        What the name of a file may end in.
    standard : str
        What standard output is written: a message says it.
    """
    if name == STANDARD:
        if sys.stdout is None:
            raise ValueError("standard output is closed")
        return
    if os.path.splitext(name)[1].lower() not in endings:
        raise ValueError(
            f"{name}: a file that is written must end in {' or '.join(endings)} "
            f"({STANDARD} is standard output: {standard})"
        )
    path = Path(name)
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ValueError(f"{name}: there is no folder {folder}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{name}: not a regular file")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{name}: the folder {folder} cannot be written to")


def write_npy(file: BinaryIO, array: NDArray[Any]) -> None:
    """Write an array in the format of NumPy."""
    # np.save does not notice where the last bytes have no room on the disk.
    write_array_header_1_0(file, header_data_from_array_1_0(array))
    file.write(array.data)


def json_line(text: str, vector: NDArray[float32]) -> str:
    """Write a text and its vector as a line of JSON, each number as short as it can be."""
    # A float of NumPy knows that it is one of 32 bits, a Python float does not.
    numbers = ", ".join(map(str, vector))
    return f'{{"text": {json.dumps(text)}, "vector": [{numbers}]}}'


def words_json(text: str, words: Iterable[tuple[str, float]]) -> str:
    """Write a text and the weights of its words as a line of JSON."""
    weights = (f"{json.dumps(word)}: {float32(weight)!s}" for word, weight in words)
    return f'{{"text": {json.dumps(text)}, "words": {{{", ".join(weights)}}}}}'


def ranked_line(corpus_id: int, score: float, text: str) -> str:
    """Write an entry of a ranking as a line of JSON, the score as short as it can be."""
    values = f'"corpus_id": {corpus_id}, "score": {float32(score)!s}'
    return f'{{{values}, "text": {json.dumps(text)}}}'


def hit_json(query: str, rank: int, score: float, id: Any, text: str | None) -> str:
    """Write what was found for a query as a line of JSON, with its text if there is one."""
    values = f'"query": {json.dumps(query)}, "rank": {rank}, "score": {float32(score)!s}'
    shown = "" if text is None else f', "text": {json.dumps(text)}'
    return f'{{{values}, "id": {json.dumps(id)}{shown}}}'


def write_whole(name: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it is there as a whole or not at all.

    Until it is whole the file has no name, where the file system can do that, and is gone
    with the process, however that ends. Elsewhere it is called .NAME.*.tmp, and a process
    that is killed leaves that behind.
    """
    target = Path(name).resolve()
    # Not the number of the process, which another machine may have, too.
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open_nameless(target.parent) or temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if not temporary.exists():
                _give_name(file, temporary)
        temporary.replace(target)
        _sync_folder(target.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # Writing names no file.
            raise OSError(error.errno, error.strerror or str(error), name) from None
        raise


def open_nameless(folder: Path) -> BinaryIO | None:
    """Open a new file without a name, if the system and the folder's disk know such."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return open(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666), "wb")
    except OSError:
        return None


def _sync_folder(folder: Path) -> None:
    """Let the names in a folder survive a loss of power, before what is written next."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _give_name(file: BinaryIO, path: Path) -> None:
    """Give an open file that has no name its first one, which must be free."""
    # What stands in /proc is a link; os.link follows it if it is given any folder.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{file.fileno()}", path, src_dir_fd=folder)
    finally:
        os.close(folder)

"""Write a folder of files, whole or not at all."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

# What writes the bytes of a file that is open.
Writer: TypeAlias = Callable[[BinaryIO], object]


def as_folder(path: Any, name: str) -> Path:
    """Refuse what names no folder, as an empty name, which would mean the one at hand."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be a str or a path, got {type(path).__name__}")
    if not os.fspath(path):
        raise ValueError(f"{name} is empty: '.' is the folder one is in")
    return Path(path)


def write_folder(
    folder: str | os.PathLike[str], files: Mapping[str, Writer], *, replace: bool = False
) -> None:
    """Write files, by their paths in a folder that is new or empty.

    They are written into a folder beside it, which then takes its place: it is there with
    all of them, or as it was before. A process that is killed leaves the other one
    behind, .NAME.*.tmp.

    With `replace` there may be something in the folder: when all files are written, each
    takes the place of the one of its name, and others stay. Who has mapped a file that is
    replaced keeps the bytes that it had.
    """
    target = as_folder(folder, "folder").resolve()
    filled = target.is_dir() and any(target.iterdir())
    if (target.exists() and not target.is_dir()) or (filled and not replace):
        what = "is not empty" if target.is_dir() else "is a file"
        raise FileExistsError(
            f"{os.fspath(folder)} {what}: nothing is replaced, name a new folder"
        )
    for path in (target / name for name in files):
        if path.is_dir() or (path.parent.exists() and not path.parent.is_dir()):
            raise FileExistsError(
                f"{path if path.is_dir() else path.parent} is in the way of a file or a "
                "folder of that name: remove it, or name a new folder"
            )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir()
    try:
        for name, write in files.items():
            path = temporary / name
            path.parent.mkdir(exist_ok=True)
            with path.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
        if not filled:
            temporary.rename(target)
            return
        for name in files:
            (target / name).parent.mkdir(exist_ok=True)
            (temporary / name).replace(target / name)
        shutil.rmtree(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


class Hashed:
    """A file of which only a hash is kept."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.write = self._hash.update
        self.hexdigest = self._hash.hexdigest


def digest_of(write: Writer) -> str:
    """Compute the SHA-256 of a file."""
    file = Hashed()
    write(cast(BinaryIO, file))
    return file.hexdigest()


def json_file(value: Any) -> Writer:
    """Write a value as JSON, which it is made into now."""
    content = json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
    return lambda file: file.write(content)

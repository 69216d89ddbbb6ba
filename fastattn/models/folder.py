"""The one way to the files of a model: regular, inside its folder, of a bounded size."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from ..errors import ModelFormatError

# What git leaves in place of a large file where git-lfs was not there to get it.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class Folder:
    """A folder of a model, out of which files are read.

    Nothing in a folder is trusted: a pipe would keep its reader waiting, a device has no
    end, and a link may lead to a file that is no business of the model.

    Parameters
    ----------
    path : Path
        The folder.
    roots : tuple of str, optional
        The folders that links may not lead out of; `path` unless given, or, for a
        snapshot in the Hugging Face cache, the model's folder there, for the files of a
        snapshot are links to the blobs beside it, and the blobs that all models share.
    """

    # A command that converts a folder of this machine converts it where it is.
    converted = ""

    def __init__(self, path: Path, roots: tuple[str, ...] = ()) -> None:
        self.path = path
        self._roots = roots or _roots(os.path.realpath(path))

    def has(self, name: str) -> bool:
        """Say whether there is something of this name, a link that leads nowhere too."""
        return os.path.lexists(self.path / name)

    def names(self) -> list[str]:
        """List the names of what is in it."""
        return sorted(os.listdir(self.path)) if os.path.isdir(self.path) else []

    def source(self) -> str:
        """Write the path as Python does."""
        return repr(str(self.path))

    def subfolder(self, name: str) -> "Folder":
        """Get a folder inside this one; its files are held to the same roots."""
        return Folder(self.path / name, self._roots)

    def open(self, name: str) -> BufferedReader:
        """Open a file to read its bytes."""
        path = self.path / name
        target = os.path.realpath(path)
        if not any(os.path.commonpath([target, root]) == root for root in self._roots):
            raise ModelFormatError(
                f"{path}: leads out of the model's folder, to {target}: put the file "
                "itself there (cp -rL copies a folder with what its links lead to)"
            )
        if not os.path.exists(target):
            raise ModelFormatError(f"{path}: no such file")
        if not os.path.isfile(target):
            raise ModelFormatError(f"{path}: not a regular file")
        file = open(target, "rb")
        if file.peek(len(LFS_POINTER)).startswith(LFS_POINTER):
            file.close()
            raise ModelFormatError(
                f"{path}: a pointer of git-lfs stands in place of the file: get it with "
                "`git lfs pull` where the repository was cloned, or download it"
            )
        return file

    def read(self, name: str, limit: int) -> bytes:
        """Read a whole file of at most `limit` bytes."""
        with self.open(name) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise ModelFormatError(
                    f"{self.path / name}: has {size} bytes, more than {limit}"
                )
            return file.read(size)


def _roots(path: str) -> tuple[str, ...]:
    """List the folders that links in a folder may not lead out of."""
    cache, *inside = path.rsplit(os.sep, 3)
    if len(inside) < 3 or not inside[0].startswith("models--") or inside[1] != "snapshots":
        return (path,)
    # huggingface_hub keeps large files once, by what is in them, for all models.
    return os.path.join(cache, inside[0]), os.path.join(cache, "blobs")


def printable(text: str) -> str:
    """Make text that stands in a file fit for a message: short, on one line."""
    text = text[:200]
    return text if text.isprintable() else ascii(text)


@contextmanager
def errors_of_library(path: Path | str, cure: str = "") -> Iterator[None]:
    """Turn whatever a library makes of a file into a ModelFormatError that names it.

    tokenizers and safetensors are written in Rust: they raise plain Exceptions, and where
    they panic a BaseException whose class cannot be imported.
    """
    try:
        yield
    except (ModelFormatError, ImportError, MemoryError, OSError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelFormatError(f"{path}: {printable(str(error))}{cure}") from None

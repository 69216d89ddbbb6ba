"""Files as they are, and what of them was compressed."""

import gzip
import io
from pathlib import Path
from typing import Any, BinaryIO, cast


def plain(path: Path) -> BinaryIO:
    """Open a file as it is."""
    return path.open("rb")


def _gzip(path: Path) -> BinaryIO:
    """Open a file that was compressed by gzip."""
    return cast(BinaryIO, gzip.open(path, "rb"))


class _ZstdFile(io.RawIOBase):
    """What a file that was compressed by zstd holds: frames that follow one another.

    Its package reads a part of a frame as if it were whole.
    """

    # Bytes that are decompressed at once: they may stand for 32 MB.
    PART = 2**10

    def __init__(self, path: Path, zstandard: Any) -> None:
        self._file = path.open("rb")
        self._zstandard = zstandard
        self._frame: Any = None
        self._given, self._found = b"", memoryview(b"")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Decompress until there is something, or nothing more."""
        while not self._found:
            self._given = self._given or self._file.read(self.PART)
            if not self._given:
                if self._frame is None:
                    return 0
                raise EOFError("the file ends before what was compressed does")
            self._decompress()
        count = min(len(buffer), len(self._found))
        buffer[:count] = self._found[:count]
        self._found = self._found[count:]
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _decompress(self) -> None:
        if self._frame is None:
            self._frame = self._zstandard.ZstdDecompressor().decompressobj()
        try:
            self._found = memoryview(self._frame.decompress(self._given))
        except self._zstandard.ZstdError as error:
            raise OSError(str(error)) from None
        self._given = b""
        if self._frame.eof:
            self._given, self._frame = self._frame.unused_data, None


def _zstd(path: Path) -> BinaryIO:
    """Open a file that was compressed by zstd."""
    try:
        import zstandard
    except ImportError:
        raise ImportError(
            f"{path}: needs the package zstandard: pip install 'fastattn[zstd]'"
        ) from None
    return io.BufferedReader(_ZstdFile(path, zstandard))


COMPRESSED = {".gz": _gzip, ".zst": _zstd}

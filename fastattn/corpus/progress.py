"""How far it is: a bar on a terminal, now and then a line in a log."""

import sys
import time
from types import TracebackType
from typing import Any, Self

# Seconds between two lines.
LINE_SECONDS = 60.0


class Meter:
    """Show how many texts have been encoded, of about how many, and how fast.

    It is a bar of tqdm on a terminal, and lines elsewhere if `show` is True.
    """

    def __init__(self, show: bool | None) -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._wants_bar = terminal and show is not False
        self._lines = bool(show) and sys.stderr is not None
        self._bar: Any = None
        self._done = 0
        self._start = self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int, left: int | None) -> None:
        """Count texts that were encoded, and tell about how many are left."""
        self._done += count
        if self._wants_bar:
            # Not before: it starts a thread, which processes must not be copied with.
            self._wants_bar = False
            self._open_bar()
        if self._bar is not None:
            self._bar.total = None if left is None else self._done + left
            self._bar.update(count)
        now = time.monotonic()
        if self._lines and self._bar is None and now >= self._last + LINE_SECONDS:
            self._last = now
            print(self._line(now - self._start, left), file=sys.stderr, flush=True)

    def _open_bar(self) -> None:
        """Make the bar, if that is installed."""
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(unit=" texts")

    def _line(self, seconds: float, left: int | None) -> str:
        """Say it in a line."""
        rate = self._done / seconds
        line = f"fastattn: {self._done:,} texts, {rate:,.0f} a second"
        if left is None or not rate:
            return line
        hours, minutes = divmod(round(left / rate / 60), 60)
        return f"{line}, about {hours} h {minutes:02} min left"

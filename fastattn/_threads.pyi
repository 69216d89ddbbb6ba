"""Threads: how many a call may use, and what keeps OpenMP's pool from harm."""

from types import TracebackType

__pyx_capi__: dict[str, object]  # what _cpu uses

def openmp_runtime() -> str:
    """Name the OpenMP runtime that this build uses, "none" for a serial build."""

def get_num_threads() -> int:
    """Return the number of threads that a call uses when it is not told."""

def set_num_threads(n: int | None) -> None:
    """Set the number of threads for all calls of this process that are not told."""

def thread_count(num_threads: int | None = None) -> int:
    """Check the `num_threads` of a call; None means the current setting."""

class num_threads:
    """Context manager: the number of threads inside the block."""

    n: int
    def __init__(self, n: int) -> None: ...
    def __enter__(self) -> num_threads: ...
    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

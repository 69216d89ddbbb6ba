"""The machine: instruction sets, threads, and programs of kernels."""

from types import TracebackType
from typing import Never, final

__pyx_capi__: dict[str, object]  # what the other extension modules share

def available_isas() -> list[str]:
    """Name the instruction sets of this build that this machine can run, best first."""

def get_isa() -> str:
    """Name the instruction set in use."""

def set_isa(name: str) -> None:
    """Use another instruction set, for everything that runs from now on."""

def openmp_threads() -> int:
    """Say how many threads OpenMP would use here: 1 in a serial build."""

def openmp_runtime() -> str:
    """Name the OpenMP runtime that this build uses, "none" for a serial build."""

def build_flags() -> str:
    """Name the compiler that made this build and the flags that it was given."""

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

@final
class Program:
    """Steps that run one after the other inside as few parallel regions as possible."""

    def __init__(self) -> None: ...
    def __reduce__(self) -> Never: ...
    def run(self, num_threads: int | None = None) -> None:
        """Run the steps in order; `num_threads` None means the current setting."""

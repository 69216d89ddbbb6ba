"""The instruction set in use, and programs of kernels."""

from typing import Any, Never, final

__pyx_capi__: dict[str, object]  # what the other extension modules share

def available_isas() -> list[str]:
    """Name the instruction sets of this build that this machine can run, best first."""

def get_isa() -> str:
    """Name the instruction set in use."""

def set_isa(name: str) -> None:
    """Use another instruction set, for everything that runs from now on."""

def build_flags() -> str:
    """Name the compiler that made this build and the flags that it was given."""

@final
class Program:
    """Steps that run one after the other inside as few parallel regions as possible."""

    @property
    def recorder(self) -> Any: ...
    def __init__(self, recorder: object | None = None) -> None: ...
    def __reduce__(self) -> Never: ...
    def record(self, name: str, value: object) -> None:
        """Show a recorder the value that an array has after the steps so far."""

    def run(self, num_threads: int | None = None) -> None:
        """Run the steps in order; `num_threads` None means the current setting."""

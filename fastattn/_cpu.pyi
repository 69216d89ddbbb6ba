"""The instruction set in use, and the threads that run its kernels."""

__pyx_capi__: dict[str, object]  # what the other extension modules share

def available_isas() -> list[str]:
    """Name the instruction sets of this build that this machine can run, best first."""

def get_isa() -> str:
    """Name the instruction set in use."""

def set_isa(name: str) -> None:
    """Use another instruction set, for everything that runs from now on."""

def available_engines() -> list[str]:
    """Name the engines of this build that this machine can run, best first."""

def get_engines() -> dict[str, str]:
    """Name the engine in use for each precision."""

def set_engine(name: str) -> None:
    """Use an engine and no better ones; what it cannot multiply, the next one does."""

def build_flags() -> str:
    """Name the compiler that made this build and the flags that it was given."""

"""The floating-point environment of the calling thread, read and changed through C."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# Where the control register stands in C's fenv_t, its bits of control, and those that
# round upward and that flush subnormals to zero.
OFFSET, CONTROL, UPWARD, FLUSH = {
    "x86_64": (28, 0xFFFFFFC0, 0x4000, 0x8040),  # MXCSR, without the flags of the past
    "aarch64": (0, 0xFFFFFFFF, 0x400000, 0x1000000),  # FPCR
}[platform.machine()]

_libc = ctypes.CDLL(None)
_register = slice(OFFSET, OFFSET + 4)


def _environment() -> "ctypes.Array[ctypes.c_char]":
    state = ctypes.create_string_buffer(64)
    _libc.fegetenv(state)
    return state


def control() -> tuple[bytes, int]:
    """Read what decides on rounding, subnormals and traps; on x86, x87's word as well."""
    raw = _environment().raw
    return raw[:2], int.from_bytes(raw[_register], "little") & CONTROL


@contextmanager
def changed(bits: int) -> Iterator[None]:
    """Set some bits of the control register inside of a with statement."""
    before, state = _environment(), _environment()
    register = int.from_bytes(state.raw[_register], "little") | bits
    state[_register] = register.to_bytes(4, "little")
    _libc.fesetenv(state)
    try:
        yield
    finally:
        _libc.fesetenv(before)

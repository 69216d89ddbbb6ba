"""Memory in which the weights of a model lie side by side, in large pages."""

import contextlib
import mmap
import threading
import weakref

# A layer's weights or more. What nobody writes to takes no memory.
ARENA_SIZE = 1 << 24

_lock = threading.Lock()
_latest: weakref.ref[mmap.mmap] | None = None
_used = 0  # bytes of the latest arena


def take(nbytes: int) -> memoryview:
    """Return zeroed memory, which lives as long as anything holds on to it.

    It lies next to the block returned before, in pages of 2 MB where the system gives
    them: the TLB holds the addresses of only a fraction of a model in pages of 4 KB, and
    every call reads all of it. It is meant for weights that stay, since the system takes
    0.1 ms to provide a page of 2 MB.
    """
    global _latest, _used
    with _lock:
        arena = None if _latest is None else _latest()
        if arena is None or len(arena) - _used < nbytes:
            arena = _mapped(max(nbytes, ARENA_SIZE))
            _latest, _used = weakref.ref(arena), 0
        _used += nbytes
        return memoryview(arena)[_used - nbytes : _used]


def _mapped(size: int) -> mmap.mmap:
    try:
        arena = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"no {size} bytes for weights") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # where it is refused, pages are small
            arena.madvise(mmap.MADV_HUGEPAGE)
    return arena

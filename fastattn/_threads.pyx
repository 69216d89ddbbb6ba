"""Threads: how many a call may use, and what keeps OpenMP's pool from harm.

The policy stands here. The parallel region itself is in :mod:`fastattn._cpu`.
"""
import os
from contextvars import ContextVar

from .cpus import available_cpus

cdef extern from *:
    """
    #include <pthread.h>
    #ifdef _OPENMP
    #include <omp.h>
    #else
    #define omp_get_max_threads() 1
    #endif

    #if defined(_OPENMP) && defined(__GNUC__) && !defined(__clang__)
    #define FA_RUNTIME "libgomp"
    /* A child of fork() has the pool of its parent but none of its threads, and libgomp
       would wait for them for ever. Giving the pool back before the fork cures it. */
    static void release_pool(void) { omp_pause_resource_all(omp_pause_hard); }
    static void prepare_for_fork(void) { pthread_atfork(release_pool, NULL, NULL); }
    #elif defined(_OPENMP)
    #define FA_RUNTIME "libomp"
    static void prepare_for_fork(void) {}
    #else
    #define FA_RUNTIME "none"
    static void prepare_for_fork(void) {}
    #endif

    /* libgomp ends the process when it cannot create a thread. So before this thread's
       team grows, as many are made by hand and wait for each other: those that could be
       made are what the team may have. */
    static void *wait_for_go(void *go)
    {
        pthread_mutex_lock(go);
        pthread_mutex_unlock(go);
        return NULL;
    }
    static int startable_team(int wanted)
    {
        static __thread int possible = 1;
        pthread_t made[1024];
        pthread_mutex_t go = PTHREAD_MUTEX_INITIALIZER;
        int n = 0;
        if (wanted <= possible) return wanted;
        pthread_mutex_lock(&go);
        while (n < wanted - 1 && !pthread_create(&made[n], NULL, wait_for_go, &go)) n++;
        pthread_mutex_unlock(&go);
        for (int i = 0; i < n; i++) pthread_join(made[i], NULL);
        if (n == wanted - 1) possible = wanted;
        /* Where memory is that short, leave some of it. */
        return n == wanted - 1 ? wanted : 1 + n / 2;
    }
    """
    const char *FA_RUNTIME
    int omp_get_max_threads() noexcept nogil
    void prepare_for_fork() noexcept
    int startable_team(int wanted) noexcept nogil


cdef object chosen_threads = None  # by set_num_threads, for the process
cdef object scoped_threads = ContextVar("fastattn_num_threads", default=None)


def openmp_runtime():
    """Name the OpenMP runtime that this build uses, "none" for a serial build."""
    return FA_RUNTIME.decode()


cdef int checked_threads(object n) except -1:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"the number of threads must be an integer, got {n!r}")
    if not 1 <= n <= 1024:
        raise ValueError(f"the number of threads must be 1 to 1024, got {n}")
    return n


def thread_count(num_threads=None):
    """Check the `num_threads` of a call; None means the current setting."""
    return checked_threads(get_num_threads() if num_threads is None else num_threads)


def get_num_threads():
    """Return the number of threads that a call uses when it is not told.

    The first that is set of: the innermost :class:`num_threads` block,
    :func:`set_num_threads`, ``OMP_NUM_THREADS`` or threadpoolctl's limit (what OpenMP
    says in this thread), and, unless ``OMP_NUM_THREADS`` is set, at most the CPUs that
    the affinity mask and the cgroup quota leave to this process.

    Returns
    -------
    int

    Examples
    --------
    >>> import fastattn as fa
    >>> with fa.num_threads(3):
    ...     fa.get_num_threads()
    3
    """
    scoped = scoped_threads.get()
    if scoped is not None:
        return scoped
    if chosen_threads is not None:
        return chosen_threads
    if "OMP_NUM_THREADS" in os.environ:
        return omp_get_max_threads()
    return max(1, min(omp_get_max_threads(), available_cpus()))


def set_num_threads(n):
    """Set the number of threads for all calls of this process that are not told.

    Results do not depend on it, to the bit. More threads than CPUs may be asked for.

    Parameters
    ----------
    n : int or None
        1 to 1024; None returns to the default that :func:`get_num_threads` describes.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer or out of range.

    Examples
    --------
    >>> import fastattn as fa
    >>> fa.set_num_threads(2)
    >>> fa.get_num_threads()
    2
    >>> fa.set_num_threads(None)
    """
    global chosen_threads
    chosen_threads = None if n is None else checked_threads(n)


class num_threads:
    """Context manager: the number of threads inside the block.

    It holds for the calls that the block makes in its own thread (or asyncio task), not
    for those of other threads, and wins over :func:`set_num_threads`.

    Parameters
    ----------
    n : int
        1 to 1024.

    Examples
    --------
    >>> import fastattn as fa
    >>> with fa.num_threads(1):
    ...     fa.get_num_threads()
    1
    """

    def __init__(self, n):
        self.n = checked_threads(n)
        self._tokens = []

    def __enter__(self):
        self._tokens.append(scoped_threads.set(self.n))
        return self

    def __exit__(self, *exception):
        scoped_threads.reset(self._tokens.pop())


cdef int possible_team(int wanted) noexcept nogil:
    return startable_team(wanted)


prepare_for_fork()

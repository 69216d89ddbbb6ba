"""Threads: how many a call may use, and what keeps OpenMP's pool from harm.

The policy stands here. The parallel region itself is in :mod:`fastattn._cpu`.
"""
import os
from contextvars import ContextVar

from .arrays import as_index
from .cpus import available_cpus

cdef extern from *:
    """
    #include <pthread.h>
    #include <stdint.h>
    #ifdef _OPENMP
    #include <omp.h>
    #else
    #define omp_get_max_threads() 1
    #endif

    enum { MAX_THREADS = 1024 };
    /* Threads in the parallel regions of all calls of this process. */
    static int64_t busy = 0;
    /* The team that OpenMP keeps for this thread. Initial-exec: memory for it is there
       from the start, where at first use there may be none. */
    static __thread __attribute__((tls_model("initial-exec"))) int team = 1;

    #if defined(_OPENMP) && defined(__GNUC__) && !defined(__clang__)
    #define FA_RUNTIME "libgomp"
    /* A child of fork() has the pool of its parent but none of its threads, and libgomp
       would wait for them for ever. Giving the pool back before the fork cures it. */
    static void before_fork(void)
    {
        omp_pause_resource_all(omp_pause_hard);
        team = 1;
    }
    #else
    #ifdef _OPENMP
    #define FA_RUNTIME "libomp"
    #else
    #define FA_RUNTIME "none"
    #endif
    #define before_fork NULL
    #endif
    static void in_child(void) { busy = 0; }
    static void prepare_for_fork(void) { pthread_atfork(before_fork, NULL, in_child); }

    static void *wait_for_go(void *go)
    {
        pthread_mutex_lock(go);
        pthread_mutex_unlock(go);
        return NULL;
    }

    /* libgomp ends the process when it cannot create a thread. So before this thread's
       team grows, as many are made by hand and wait for each other: those that could be
       made are what the team may have. */
    static int possible_team(int wanted)
    {
        pthread_t made[MAX_THREADS];
        pthread_mutex_t go = PTHREAD_MUTEX_INITIALIZER;
        int n = 0;
        if (wanted <= team) return wanted;
        pthread_mutex_lock(&go);
        while (n < wanted - 1 && !pthread_create(&made[n], NULL, wait_for_go, &go)) n++;
        pthread_mutex_unlock(&go);
        for (int i = 0; i < n; i++) pthread_join(made[i], NULL);
        /* Where memory is that short, leave some of it. */
        return n == wanted - 1 ? wanted : 1 + n / 2;
    }

    static int enter(int wanted, int limit)
    {
        const int64_t others = __atomic_fetch_add(&busy, wanted, __ATOMIC_RELAXED);
        int threads = limit - others < wanted ? limit - others : wanted;
        threads = threads > 1 ? possible_team(threads) : 1;
        /* One thread alone needs no team: the one that is there stays. */
        if (threads > 1) team = threads;
        __atomic_fetch_sub(&busy, wanted - threads, __ATOMIC_RELAXED);
        return threads;
    }

    static void leave(int threads)
    {
        __atomic_fetch_sub(&busy, threads, __ATOMIC_RELAXED);
    }
    """
    enum:
        MAX_THREADS
    const char *FA_RUNTIME
    int omp_get_max_threads() noexcept nogil
    void prepare_for_fork() noexcept
    int enter(int wanted, int limit) noexcept nogil
    void leave(int threads) noexcept nogil


# Each a number and what OpenMP said in its thread when it was set, or None.
cdef object chosen_threads = None  # by set_num_threads, for the process
cdef object scoped_threads = ContextVar("fastattn_num_threads", default=None)


def openmp_runtime():
    """Name the OpenMP runtime that this build uses, "none" for a serial build."""
    return FA_RUNTIME.decode()


cdef int checked_threads(object n) except -1:
    return as_index(n, "the number of threads", 1, MAX_THREADS)


def thread_count(num_threads=None):
    """Check the `num_threads` of a call; None means the current setting."""
    return checked_threads(get_num_threads() if num_threads is None else num_threads)


cdef bint is_told(object num_threads) except -1:
    return num_threads is not None or scoped_threads.get() is not None


def get_num_threads():
    """Return the number of threads that a call uses when it is not told.

    The first that is set of: the innermost :class:`num_threads` block,
    :func:`set_num_threads`, ``OMP_NUM_THREADS`` or threadpoolctl's limit (what OpenMP
    says in this thread), and, unless ``OMP_NUM_THREADS`` is set, at most the CPUs that
    the affinity mask and the cgroup quota leave to this process. Inside a block of
    threadpoolctl's ``threadpool_limits`` its limit bounds what was set before it.

    Calls that run in several Python threads at once share this number: each uses what
    the others leave of it, and always its own thread. So a pool of threads is not
    multiplied by ours. A number in a call's `num_threads` or a :class:`num_threads`
    block is for that call alone. A call that is not told uses no more threads than its
    work is worth.

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
    told = scoped_threads.get()
    if told is None:
        told = chosen_threads
    most = min(omp_get_max_threads(), MAX_THREADS)
    if told is not None:
        threads, before = told
        # Less than OpenMP said then: a limit that came later.
        return min(threads, most) if most < before else threads
    return most if "OMP_NUM_THREADS" in os.environ else min(most, available_cpus())


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
    chosen_threads = None if n is None else (checked_threads(n), omp_get_max_threads())


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
        self._tokens.append(scoped_threads.set((self.n, omp_get_max_threads())))
        return self

    def __exit__(self, *exception):
        scoped_threads.reset(self._tokens.pop())


cdef int enter_region(int wanted, int limit) noexcept nogil:
    return enter(wanted, limit)


cdef void leave_region(int threads) noexcept nogil:
    leave(threads)


prepare_for_fork()

"""The instruction set in use, and the threads that run its kernels.

The only module that links the kernels and the only one that runs them.
"""
import os

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel, threadid
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from ._threads cimport enter_region, is_told, leave_region

from ._threads import thread_count

cdef extern from *:
    """
    #include <time.h>
    #ifdef _OPENMP
    #define fa_barrier() _Pragma("omp barrier")
    #else
    #define fa_barrier()
    #endif

    /* Steps of a few milliseconds are fine enough, and cost a few nanoseconds to read. */
    #ifndef CLOCK_MONOTONIC_COARSE
    #define CLOCK_MONOTONIC_COARSE CLOCK_MONOTONIC
    #endif
    static double seconds_now(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
        return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }

    static int64_t take(int64_t *counter, int64_t count)
    {
        return __atomic_fetch_add(counter, count, __ATOMIC_RELAXED);
    }
    """
    const char *FA_BUILD_FLAGS
    const char *FA_COMPILER "__VERSION__"
    void fa_barrier() noexcept nogil
    double seconds_now() noexcept nogil
    int64_t take(int64_t *counter, int64_t count) noexcept nogil

cdef extern from "<fenv.h>" nogil:
    ctypedef struct fenv_t:
        pass
    int fegetenv(fenv_t *environment)
    int fesetenv(const fenv_t *environment)


# ---- Instruction sets ---------------------------------------------------------------

cdef const fa_kernels *active = NULL


cdef const fa_kernels *kernels() noexcept:
    return active


def available_isas():
    """Name the instruction sets of this build that this machine can run, best first."""
    return [
        fa_kernels_at(i).name.decode() for i in range(fa_num_kernels())
        if fa_kernels_supported(i)
    ]


def get_isa():
    """Name the instruction set in use."""
    return active.name.decode()


def set_isa(str name):
    """Use another instruction set, for everything that runs from now on."""
    global active
    for i in range(fa_num_kernels()):
        if fa_kernels_at(i).name.decode() == name and fa_kernels_supported(i):
            active = fa_kernels_at(i)
            return
    raise ValueError(
        f"instruction set {name!r} is unknown or not supported by this machine; "
        f"it has: {', '.join(available_isas())}"
    )


# ---- Engines ------------------------------------------------------------------------

cdef const fa_engine *engine_of[FA_NUM_PRECISIONS]


cdef const fa_multiplier *multiplier_of(int precision) noexcept:
    return &engine_of[precision].in_[precision]


def available_engines():
    """Name the engines of this build that this machine can run, best first."""
    return [
        fa_engine_at(i).name.decode() for i in range(fa_num_engines())
        if fa_engine_at(i).supported()
    ]


def get_engines():
    """Name the engine in use for each precision."""
    return {
        FA_PRECISION_FACTS[i].name.decode(): engine_of[i].name.decode()
        for i in range(FA_NUM_PRECISIONS)
    }


def set_engine(str name):
    """Use an engine and no better ones; what it cannot multiply, the next one does."""
    cdef const fa_engine *engine
    engines = available_engines()
    if name not in engines:
        raise ValueError(
            f"engine {name!r} is unknown or not supported by this machine; "
            f"it has: {', '.join(engines)}"
        )
    usable = engines[engines.index(name):]
    for precision in range(FA_NUM_PRECISIONS):
        for i in reversed(range(fa_num_engines())):
            engine = fa_engine_at(i)
            if engine.name.decode() in usable and engine.in_[precision].rows:
                engine_of[precision] = engine


def build_flags():
    """Name the compiler that made this build and the flags that it was given."""
    return f"{FA_COMPILER.decode()}: {FA_BUILD_FLAGS.decode()}"


# ---- Threads ------------------------------------------------------------------------

cdef enum:
    # Tasks that a thread claims at once: one where there are few, or where the last one
    # lasted a tick of the coarse clock or more (milliseconds); up to MAX_TAKE where there
    # are many, which may be as short as a microsecond.
    TAKES_PER_PART = 16
    MAX_TAKE = 8
    # Multiply-adds that are worth another thread: 10 to 40 microseconds. Waking it takes a
    # part of that, and milliseconds where another process has its core.
    WORK_PER_THREAD = 1 << 20

# How long a parallel region may run before signals are checked. Ctrl-C answers within
# this and the longest task, which may be tens of milliseconds.
cdef double REGION_SECONDS = 0.05


cdef struct Run:
    Step *steps
    Py_ssize_t num_steps, step
    int parts
    int64_t *taken  # (parts, steps), how many tasks of a part of a step have been taken
    char *scratch
    size_t scratch_size
    double deadline
    fenv_t rounding  # of the thread that calls


cdef int64_t part_start(int64_t tasks, int parts, int part) noexcept nogil:
    """The first task of a part; parts differ by at most one task."""
    return tasks // parts * part + min(part, tasks % parts)


# Run tasks of a part of a step until all are taken, True, or the deadline has passed.
cdef bint run_part(Run *run, Py_ssize_t at, int part, void *scratch) noexcept nogil:
    cdef Step *step = run.steps + at
    cdef int64_t *taken = run.taken + part * run.num_steps + at
    cdef int64_t start = part_start(step.tasks, run.parts, part)
    cdef int64_t stop = part_start(step.tasks, run.parts, part + 1)
    cdef int64_t most = min(max((stop - start) // TAKES_PER_PART, 1), MAX_TAKE)
    cdef int64_t task, last, share = 1
    cdef double now = seconds_now(), before
    while True:
        task = start + take(taken, share)
        if task >= stop:
            return True
        last = min(task + share, stop)
        while task < last:
            step.op.run(step.plan, task, scratch)
            task += 1
        before, now = now, seconds_now()
        if now > run.deadline:
            return False
        share = most if now == before else 1


# After the barrier nobody takes any more, so all threads see whether a step is complete.
cdef bint is_complete(Run *run, Py_ssize_t at) noexcept nogil:
    cdef int64_t tasks = run.steps[at].tasks
    cdef int part
    for part in range(run.parts):
        if run.taken[part * run.num_steps + at] < (
            part_start(tasks, run.parts, part + 1) - part_start(tasks, run.parts, part)
        ):
            return False
    return True


# One thread's part of a region, and of the parts of others what they leave. The tasks of
# most steps go along the tokens: what a thread reads it has mostly written itself, in the
# step before, and finds in its cache.
cdef void work(Run *run, int thread) noexcept nogil:
    cdef Py_ssize_t at = run.step
    cdef int i
    cdef void *scratch = run.scratch + thread * run.scratch_size
    while at < run.num_steps:
        for i in range(run.parts):
            if not run_part(run, at, (thread + i) % run.parts, scratch):
                break
        fa_barrier()
        if not is_complete(run, at):
            break
        at += 1
    if thread == 0:
        run.step = at


cdef int run_steps(
    Step *steps, Py_ssize_t num_steps, double total_work, object num_threads
) except -1:
    """Run steps in order; `num_threads` None means the current setting."""
    cdef Run run
    cdef int64_t most_tasks = 1, scratch = 0
    cdef int threads = 1, limit = INT_MAX
    cdef size_t counters
    if is_told(num_threads):
        threads = thread_count(num_threads)
    elif total_work >= WORK_PER_THREAD:
        limit = thread_count()
        threads = <int>min(limit, 1 + total_work / WORK_PER_THREAD)
    for i in range(num_steps):
        most_tasks = max(most_tasks, steps[i].tasks)
        scratch = max(scratch, steps[i].op.scratch(steps[i].plan))
    threads = min(threads, most_tasks)
    run.steps = steps
    run.num_steps = num_steps
    run.step = 0
    run.scratch_size = (scratch + FA_ALIGN - 1) // FA_ALIGN * FA_ALIGN
    run.parts = threads
    counters = threads * run.num_steps * sizeof(int64_t)
    memory = malloc(counters + threads * run.scratch_size + FA_ALIGN)
    if memory == NULL:
        raise MemoryError
    run.taken = <int64_t *>memory
    memset(run.taken, 0, counters)
    run.scratch = <char *>memory + counters
    run.scratch += FA_ALIGN - <uintptr_t>run.scratch % FA_ALIGN
    try:
        while run.step < run.num_steps:
            run.deadline = seconds_now() + REGION_SECONDS
            threads = enter_region(run.parts, limit)
            if threads == 1:
                with nogil:
                    work(&run, 0)
            else:
                fegetenv(&run.rounding)
                with nogil, parallel(num_threads=threads):
                    # Threads of earlier calls have the one of those calls.
                    fesetenv(&run.rounding)
                    work(&run, threadid())
            leave_region(threads)
            PyErr_CheckSignals()
    finally:
        free(memory)


set_isa(os.environ.get("FASTATTN_ISA") or available_isas()[0])
set_engine(os.environ.get("FASTATTN_ENGINE") or available_engines()[0])

"""The instruction set in use, and programs of kernels.

The only module that links the kernels and the only one that runs them, on threads.
"""
import os

cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport (
    PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc,
)
from cython.parallel cimport parallel, threadid
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t, uintptr_t
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


def build_flags():
    """Name the compiler that made this build and the flags that it was given."""
    return f"{FA_COMPILER.decode()}: {FA_BUILD_FLAGS.decode()}"


# ---- Programs -----------------------------------------------------------------------

cdef enum:
    # Tasks that a thread takes at once: one where there are few or the last one took so
    # long that the clock moved, up to MAX_TAKE where they are many and may be as short as
    # a microsecond.
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


cdef void *grow(
    void *items, Py_ssize_t count, Py_ssize_t *capacity, size_t size
) except NULL:
    if count < capacity[0]:
        return items
    items = PyMem_RawRealloc(items, 2 * (count + 8) * size)
    if items == NULL:
        raise MemoryError
    capacity[0] = 2 * (count + 8)
    return items


@cython.final
cdef class Program:
    """Steps that run one after the other inside as few parallel regions as possible.

    A step is an operation of the instruction set in use and its plan. The program owns
    the plans and holds on to the arrays that they point into.

    A recorder sees values between the steps: its `wants(name)` says which, and its
    `keep(name, value)` gets them.
    """

    def __init__(self, recorder=None):
        self.recorder = recorder

    def __dealloc__(self):
        for i in range(self.num_buffers):
            PyBuffer_Release(self.buffers[i])
        for i in range(self.num_blocks):
            PyMem_RawFree(self.blocks[i])
        PyMem_RawFree(self.buffers)
        PyMem_RawFree(self.blocks)
        PyMem_RawFree(self.steps)

    cdef void *allocate(self, size_t size, size_t count=1) except NULL:
        """Zeroed memory for `count` items, which lives as long as the program."""
        cdef void *block
        self.blocks = <void **>grow(
            self.blocks, self.num_blocks, &self.max_blocks, sizeof(void *)
        )
        block = PyMem_RawCalloc(count, size)
        if block == NULL:
            raise MemoryError
        self.blocks[self.num_blocks] = block
        self.num_blocks += 1
        return block

    cdef int hold(self, object owner) except -1:
        """Keep an object alive as long as the program."""
        if self.held is None:
            self.held = []
        self.held.append(owner)
        return 0

    cdef Py_buffer *view(
        self, object array, str name, str kind, int ndim, bint writable=False
    ) except NULL:
        """The memory of an array of `ndim` dimensions (-1: any) whose elements are
        aligned and of the `kind` "float32", "int64" or "bool"."""
        cdef Py_buffer *view
        cdef Py_ssize_t size
        cdef int i
        if not PyObject_CheckBuffer(array):
            raise TypeError(f"{name} must be an array, got {type(array).__name__}")
        self.buffers = <Py_buffer **>grow(
            self.buffers, self.num_buffers, &self.max_buffers, sizeof(void *)
        )
        view = <Py_buffer *>self.allocate(sizeof(Py_buffer))
        PyObject_GetBuffer(
            array, view, PyBUF_FORMAT | PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0)
        )
        self.buffers[self.num_buffers] = view
        self.num_buffers += 1
        size = view.itemsize
        code = view.format.decode() if view.format != NULL else "B"
        if not (
            (kind == "float32" and code == "f")
            or (kind == "float16" and code == "e")
            or (kind == "bfloat16" and code == "H")  # no buffer format: viewed as uint16
            or (kind == "int64" and code in ("l", "q") and size == 8)
            or (kind == "bool" and code == "?")
        ):
            raise TypeError(f"{name} must be {kind}, got the buffer format {code!r}")
        if ndim >= 0 and view.ndim != ndim:
            raise ValueError(f"{name} must have {ndim} dimensions, got {view.ndim}")
        if <uintptr_t>view.buf % size:
            raise ValueError(f"{name} is not aligned to its {size}-byte elements")
        for i in range(view.ndim):
            if view.shape[i] > 1 and view.strides[i] % size:
                raise ValueError(f"{name} has strides that are no multiple of {size} bytes")
        return view

    cdef Py_buffer *matrix(
        self, object array, str name, int64_t rows, int64_t cols, bint writable=False
    ) except NULL:
        """A float32 matrix with adjacent columns; -1 leaves rows or columns open."""
        cdef Py_buffer *view = self.view(array, name, "float32", 2, writable)
        if rows not in (-1, view.shape[0]) or cols not in (-1, view.shape[1]):
            raise ValueError(
                f"{name} must have shape ({rows}, {cols}) (-1: any), "
                f"got ({view.shape[0]}, {view.shape[1]})"
            )
        if view.shape[1] > 1 and view.strides[1] != sizeof(float):
            raise ValueError(f"{name} must have adjacent columns")
        return view

    cdef Py_buffer *adjacent(
        self, object array, str name, str kind, int64_t size, bint writable
    ) except NULL:
        """A contiguous array of one dimension."""
        cdef Py_buffer *view = self.view(array, name, kind, 1, writable)
        if view.shape[0] != size:
            raise ValueError(f"{name} must have shape ({size},), got ({view.shape[0]},)")
        if size > 1 and view.strides[0] != view.itemsize:
            raise ValueError(f"{name} must be contiguous")
        return view

    cdef const float *vector(
        self, object array, str name, int64_t size, bint writable=False
    ) except? NULL:
        """The elements of a contiguous float32 array (size,), NULL for None."""
        if array is None:
            return NULL
        return <const float *>self.adjacent(array, name, "float32", size, writable).buf

    cdef const int64_t *integers(self, object array, str name, int64_t size) except? NULL:
        """The elements of a contiguous int64 array (size,)."""
        return <const int64_t *>self.adjacent(array, name, "int64", size, False).buf

    cdef const int64_t *cu_seqlens(
        self, object array, str name, int64_t sequences, int64_t tokens
    ) except? NULL:
        """The starts of packed sequences, first 0, never decreasing, last `tokens`."""
        cdef const int64_t *starts
        cdef int64_t i
        if sequences < 0:
            raise ValueError(f"{name} must have shape (sequences + 1,), got (0,)")
        starts = self.integers(array, name, sequences + 1)
        for i in range(sequences):
            if starts[i] > starts[i + 1]:
                raise ValueError(
                    f"{name} must not decrease, got {starts[i]} before {starts[i + 1]}"
                )
        if starts[0] != 0 or starts[sequences] != tokens:
            raise ValueError(
                f"{name} must go from 0 to the {tokens} tokens, "
                f"got {starts[0]} to {starts[sequences]}"
            )
        return starts

    cdef int add(self, const fa_op *op, const void *plan, double work) except -1:
        """Add a step; `work` says how many multiply-adds would take about as long."""
        cdef Step *step
        self.steps = <Step *>grow(
            self.steps, self.num_steps, &self.max_steps, sizeof(Step)
        )
        step = self.steps + self.num_steps
        step.op = op
        step.plan = plan
        step.tasks = op.tasks(plan)
        self.num_steps += 1
        self.work += work
        return 0

    def __reduce__(self):
        raise TypeError("a program points into memory and cannot be pickled")

    def record(self, str name, value):
        """Show a recorder the value that an array has after the steps so far."""
        if self.recorder is not None and self.recorder.wants(name):
            self.run()
            self.num_steps, self.work = 0, 0
            self.recorder.keep(name, value)

    def run(self, num_threads=None):
        """Run the steps in order; `num_threads` None means the current setting."""
        cdef Run run
        cdef int64_t most_tasks = 1, scratch = 0
        cdef int threads = 1, limit = INT_MAX
        cdef size_t counters
        if is_told(num_threads):
            threads = thread_count(num_threads)
        elif self.work >= WORK_PER_THREAD:
            limit = thread_count()
            threads = <int>min(limit, 1 + self.work / WORK_PER_THREAD)
        for i in range(self.num_steps):
            most_tasks = max(most_tasks, self.steps[i].tasks)
            scratch = max(scratch, self.steps[i].op.scratch(self.steps[i].plan))
        threads = min(threads, most_tasks)
        run.steps = self.steps
        run.num_steps = self.num_steps
        run.step = 0
        run.scratch_size = (scratch + FA_ALIGN - 1) // FA_ALIGN * FA_ALIGN
        run.parts = threads
        counters = threads * run.num_steps * sizeof(int64_t)
        memory = PyMem_RawMalloc(counters + threads * run.scratch_size + FA_ALIGN)
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
            PyMem_RawFree(memory)


cdef int64_t row_stride(const Py_buffer *view) noexcept:
    """Elements between the rows of a (rows, columns) view."""
    return view.strides[0] // view.itemsize


set_isa(os.environ.get("FASTATTN_ISA") or available_isas()[0])

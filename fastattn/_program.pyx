"""Programs: steps of kernels, their plans, and the arrays that they point into."""
cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from libc.stdint cimport SIZE_MAX, int64_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc

from ._cpu cimport fa_op, run_steps


cdef enum:
    # Between the things in a block: for any C type.
    ALIGN = 16
    # Bytes that a program takes at once for plans and views, those of a single call: with
    # what a block begins with 2 KB, which libc clears by vectors and not byte by byte.
    BLOCK_BYTES = (1 << 11) - ALIGN


cdef void *grow(
    void *items, Py_ssize_t count, Py_ssize_t *capacity, size_t size
) except NULL:
    if count < capacity[0]:
        return items
    items = realloc(items, 2 * (count + 8) * size)
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
    `keep(name, value, kind)` gets them. `num_threads` None means the setting when it runs.
    """

    def __init__(self, recorder=None, *, num_threads=None):
        self.recorder = recorder
        self.num_threads = num_threads

    def __dealloc__(self):
        cdef Block *before
        for i in range(self.num_buffers):
            PyBuffer_Release(self.buffers[i])
        free(self.buffers)
        free(self.steps)
        while self.last_block != NULL:
            before = self.last_block.before
            free(self.last_block)
            self.last_block = before

    cdef void *allocate(self, size_t size, size_t count=1) except NULL:
        """Zeroed memory for `count` items, which lives as long as the program."""
        cdef void *memory
        if size and count > (SIZE_MAX - BLOCK_BYTES) // size:
            raise MemoryError
        size = (size * count + ALIGN - 1) // ALIGN * ALIGN
        if size > BLOCK_BYTES:
            return self.new_block(size)
        if size > self.room:
            self.free, self.room = <char *>self.new_block(BLOCK_BYTES), BLOCK_BYTES
        memory = self.free
        self.free += size
        self.room -= size
        return memory

    cdef void *hand_over(self, size_t size) except NULL:
        """Memory for what a step makes for the next one alone; others use it again."""
        if size > self.room_to_hand_over or self.handed_over == NULL:
            self.handed_over, self.room_to_hand_over = self.allocate(size), size
        return self.handed_over

    cdef void *new_block(self, size_t size) except NULL:
        cdef Block *block = <Block *>calloc(1, ALIGN + size)
        if block == NULL:
            raise MemoryError
        block.before = self.last_block
        self.last_block = block
        return <char *>block + ALIGN

    cdef int hold(self, object owner) except -1:
        """Keep an object alive as long as the program."""
        if self.held is None:
            self.held = []
        self.held.append(owner)
        return 0

    cdef Py_buffer *buffer(self, object array, str name, bint writable) except NULL:
        """The memory of an array, which one of the arrays before may be."""
        # Objects lie 16 bytes apart at least.
        cdef Py_ssize_t place = <Py_ssize_t>(<uintptr_t><void *>array // 16) % SHARED_VIEWS
        cdef Py_buffer *buffer = self.shared[place]
        if (
            buffer != NULL
            and <void *>buffer.obj == <void *>array
            and not (writable and buffer.readonly)
        ):
            return buffer
        if not PyObject_CheckBuffer(array):
            raise TypeError(f"{name} must be an array, got {type(array).__name__}")
        self.buffers = <Py_buffer **>grow(
            self.buffers, self.num_buffers, &self.max_buffers, sizeof(void *)
        )
        buffer = <Py_buffer *>self.allocate(sizeof(Py_buffer))
        PyObject_GetBuffer(
            array, buffer,
            PyBUF_FORMAT | PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0),
        )
        self.buffers[self.num_buffers] = buffer
        self.num_buffers += 1
        if self.shared[place] == NULL:
            self.shared[place] = buffer
        return buffer

    cdef Py_buffer *view(
        self, object array, str name, str kind, int ndim, bint writable=False
    ) except NULL:
        """The memory of an array of `ndim` dimensions (-1: any) whose elements are
        aligned and of the `kind` "float32", "int64" or "bool"."""
        cdef Py_buffer *view = self.buffer(array, name, writable)
        cdef Py_ssize_t size = view.itemsize
        cdef int i
        if kind_of(view) != kind:
            code = "B" if view.format == NULL else view.format.decode()
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

    def record(self, str name, value, kind):
        """Show a recorder the value that an array has after the steps so far.

        `kind` says what it has a row for: the recorder's business.
        """
        if self.recorder is not None and self.recorder.wants(name):
            self.run()
            self.num_steps, self.work = 0, 0
            self.recorder.keep(name, value, kind)

    def run(self):
        """Run the steps in order."""
        run_steps(self.steps, self.num_steps, self.work, self.num_threads)


cdef int64_t row_stride(const Py_buffer *view) noexcept:
    """Elements between the rows of a (rows, columns) view."""
    return view.strides[0] // view.itemsize


cdef str kind_of(const Py_buffer *view):
    """Name the elements of a view as `Program.view` does, None for any others."""
    # One letter is a number in native order.
    cdef char code = 0 if view.format == NULL else view.format[0]
    if not code or view.format[1]:
        return None
    if code == c"f":
        return "float32"
    if code == c"e":
        return "float16"
    if code == c"H":
        return "bfloat16"  # which has no letter: it is viewed as uint16
    if code == c"d":
        return "float64"
    if code == c"?":
        return "bool"
    return "int64" if code in (c"l", c"q") and view.itemsize == 8 else None

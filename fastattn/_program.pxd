# What the extension modules that add steps share.
from libc.stdint cimport int64_t

from ._cpu cimport Step, fa_op


cdef enum:
    # The work of an element that is read, changed and written, in multiply-adds.
    ELEMENT_WORK = 16
    # Places for arrays that are used again, each for those of some addresses. The first
    # stays: all layers of a model work in arrays that the first of them has shown.
    SHARED_VIEWS = 64


cdef struct Block:
    Block *before


cdef class Program:
    cdef Step *steps
    cdef Py_ssize_t num_steps, max_steps
    cdef Py_buffer **buffers
    cdef Py_ssize_t num_buffers, max_buffers
    cdef Py_buffer *shared[SHARED_VIEWS]
    cdef Block *last_block
    cdef char *free
    cdef size_t room
    cdef void *handed_over
    cdef size_t room_to_hand_over
    cdef list held
    cdef double work  # of all steps, as multiply-adds
    cdef readonly object recorder, num_threads

    cdef void *allocate(self, size_t size, size_t count=*) except NULL
    cdef void *hand_over(self, size_t size) except NULL
    cdef void *new_block(self, size_t size) except NULL
    cdef Py_buffer *buffer(self, object array, str name, bint writable) except NULL
    cdef int hold(self, object owner) except -1
    cdef Py_buffer *view(
        self, object array, str name, str kind, int ndim, bint writable=*
    ) except NULL
    cdef Py_buffer *matrix(
        self, object array, str name, int64_t rows, int64_t cols, bint writable=*
    ) except NULL
    cdef Py_buffer *adjacent(
        self, object array, str name, str kind, int64_t size, bint writable
    ) except NULL
    cdef const float *vector(
        self, object array, str name, int64_t size, bint writable=*
    ) except? NULL
    cdef const int64_t *integers(self, object array, str name, int64_t size) except? NULL
    cdef const int64_t *cu_seqlens(
        self, object array, str name, int64_t sequences, int64_t tokens
    ) except? NULL
    cdef int add(self, const fa_op *op, const void *plan, double work) except -1

cdef int64_t row_stride(const Py_buffer *view) noexcept

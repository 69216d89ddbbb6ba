# What products read of a packed matrix.
from libc.stdint cimport int64_t

from ._cpu cimport fa_format


cdef class PackedMatrix:
    cdef Py_buffer memory
    cdef char *panels
    cdef float *scales  # of integers, behind the panels
    cdef float *sums  # of integers that products are of, behind the scales
    cdef fa_format kind
    cdef int number  # of the precision, -1 for float32
    cdef readonly str format, precision
    cdef readonly object factors
    cdef object inverses  # of the factors
    cdef readonly int64_t nbytes
    cdef int64_t n, k, row_bytes
    cdef int64_t blocks  # of a row, each with a scale and a sum

    cdef int reserve(
        self, int64_t n, int64_t k, str format, str precision, object allocate
    ) except -1
    cdef int set_factors(self, object factors, int64_t k) except -1
    cdef object contents(self)
    cdef object dequantized(self)

# Whether a call was told a number of threads, by this argument or a block around it.
cdef bint is_told(object num_threads) except -1

# Enter a parallel region: how many of the `wanted` threads it has, where calls that run
# beside it leave so many of the `limit`; and leave it.
cdef int enter_region(int wanted, int limit) noexcept nogil
cdef void leave_region(int threads) noexcept nogil

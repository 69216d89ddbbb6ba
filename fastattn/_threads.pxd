# Whether a call was told a number of threads, by this argument or a block around it.
cdef bint is_told(object num_threads) except -1

# Enter a parallel region and return how many threads it gets: `wanted`, or fewer where
# regions of other threads of the process use up the `limit`. Leave it.
cdef int enter_region(int wanted, int limit) noexcept nogil
cdef void leave_region(int threads) noexcept nogil

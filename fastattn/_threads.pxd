# How many threads a call of `threads` and those that run beside it may use together: no
# limit for a number that was asked for this call.
cdef int thread_limit(object num_threads, int threads) except -1

# Enter a parallel region: how many of the `wanted` threads it has, and leave it.
cdef int enter_region(int wanted, int limit) noexcept nogil
cdef void leave_region(int threads) noexcept nogil

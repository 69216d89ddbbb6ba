# How many of the `wanted` threads a parallel region of this thread can have.
cdef int possible_team(int wanted) noexcept nogil

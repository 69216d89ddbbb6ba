# What attention takes of the vectors of distances.
from libc.stdint cimport int32_t, int64_t

from ._cpu cimport fa_attention_plan, fa_sequence
from ._program cimport Program


cdef class DistanceVectors:
    cdef Program program  # which holds the memory
    cdef const float *key_table
    cdef const float *query_table
    cdef int32_t *own_buckets
    cdef int64_t panels
    cdef readonly object keys, queries, buckets
    cdef readonly int64_t num_heads, head_dim

    cdef int give(self, Program program, fa_attention_plan *plan) except -1


cdef int check_distances(
    const fa_attention_plan *plan, const fa_sequence *sequence
) except -1

"""What queries and keys are to the distance between them, besides each other."""
cimport cython
from libc.stdint cimport int32_t, int64_t

from ._cpu cimport FA_FAR, FA_PANEL, fa_attention_plan, fa_sequence
from ._program cimport Program


@cython.final
cdef class DistanceVectors:
    """Vectors of keys and of queries for distances, which are checked and kept."""

    def __init__(
        self, keys, queries, buckets, int64_t num_heads, int64_t head_dim
    ):
        cdef Program program = Program()
        cdef int64_t count = len(buckets), before = 0, i
        cdef const int64_t *given = program.integers(buckets, "buckets", count)
        self.own_buckets = <int32_t *>program.allocate(sizeof(int32_t), count)
        if count % 2 == 0:
            raise ValueError(f"buckets must be an odd number, got {count}")
        for i in range(count):
            if not before <= given[i] <= before + (i > 0):
                raise ValueError("buckets must start with 0, and stay or grow by 1")
            self.own_buckets[i], before = <int32_t>given[i], given[i]
        if not 0 < num_heads < FA_FAR or not 0 < head_dim < FA_FAR:
            raise ValueError(f"there are no {num_heads} heads of size {head_dim}")
        self.panels = before // FA_PANEL + 1
        size = num_heads * self.panels * head_dim * FA_PANEL
        self.key_table = program.vector(keys, "keys", size)
        self.query_table = program.vector(queries, "queries", size)
        self.program, self.buckets = program, buckets
        self.keys, self.queries = keys, queries
        self.num_heads, self.head_dim = num_heads, head_dim

    def __reduce__(self):
        sizes = self.num_heads, self.head_dim
        return DistanceVectors, (self.keys, self.queries, self.buckets, *sizes)

    cdef int give(self, Program program, fa_attention_plan *plan) except -1:
        """Let attention add the products with these vectors."""
        if self.program is None:
            raise ValueError("these vectors were not made")
        if plan.dtype != 0:
            raise TypeError("vectors of distances need float32 queries and keys")
        if plan.num_heads != self.num_heads or plan.head_dim != self.head_dim:
            raise ValueError(
                f"vectors of distances are for {self.num_heads} heads of size "
                f"{self.head_dim}, got {plan.num_heads} of {plan.head_dim}"
            )
        program.hold(self)
        plan.bucket_keys, plan.bucket_queries = self.key_table, self.query_table
        plan.buckets, plan.bucket_panels = self.own_buckets, self.panels
        plan.farthest = len(self.buckets) // 2
        return 0


cdef int check_distances(
    const fa_attention_plan *plan, const fa_sequence *sequence
) except -1:
    """Make sure that there is a bucket for each distance in a sequence."""
    cdef int64_t first = sequence.offset - sequence.seqlen_k + 1
    cdef int64_t last = sequence.offset + sequence.seqlen_q - 1
    if plan.buckets == NULL or sequence.seqlen_q == 0 or sequence.seqlen_k == 0:
        return 0
    cdef const float *q = sequence.q_positions
    cdef const float *k = sequence.k_positions
    if q != NULL:
        check_ascending(q, sequence.seqlen_q)
        check_ascending(k, sequence.seqlen_k)
        first = <int64_t>q[0] - <int64_t>k[sequence.seqlen_k - 1]
        last = <int64_t>q[sequence.seqlen_q - 1] - <int64_t>k[0]
    if first < -plan.farthest or last > plan.farthest:
        raise ValueError(
            f"there are vectors of distances up to {plan.farthest}, got "
            f"{max(-first, last)}"
        )
    return 0


cdef int check_ascending(const float *positions, int64_t count) except -1:
    """Refuse positions that fall, or are beyond what float32 counts."""
    cdef int64_t i
    for i in range(count):
        if not 0 <= positions[i] < FA_FAR or (i and positions[i] <= positions[i - 1]):
            raise ValueError("positions must be numbers from 0 on that ascend")
    return 0

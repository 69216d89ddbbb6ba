"""Attention over dense batches and over packed sequences."""
from libc.stdint cimport int64_t

from ._cpu cimport (
    FA_BOOL_MASK, FA_FAR, FA_FLOAT_MASK, FA_FORMAT_FACTS, FA_KEY_CHUNK, FA_NUM_DTYPES,
    FA_PANEL, FA_QUERY_BLOCK, fa_attention_plan, fa_dtype, fa_sequence, kernels,
)
from ._distances cimport DistanceVectors, check_distances
from ._program cimport ELEMENT_WORK, Program

from ._threads import thread_count

cdef dict DTYPES = {FA_FORMAT_FACTS[i].name.decode(): i for i in range(FA_NUM_DTYPES)}
# By kind and bytes of an element: NumPy has no letter of its own for bfloat16.
cdef dict MASKS = {
    ("b", 1): "bool", ("f", 4): "float32", ("f", 2): "float16", ("V", 2): "bfloat16"
}
FAR = FA_FAR

cdef enum:
    # Query blocks per thread below which the chunks of keys become tasks: with more of
    # them the threads are evenly loaded without the detour over memory.
    SPLIT_BLOCKS = 4
    # Bytes that the parts of the chunks may take; beyond that nothing is split.
    SPLIT_BYTES = 1 << 26


# The four arrays of a call, and which of their axes are rows and heads, from the end.
cdef struct Operands:
    Py_buffer *q
    Py_buffer *k
    Py_buffer *v
    Py_buffer *o
    int ndim, row_axis, head_axis
    bint weights  # whether `o` is for them, and there are no values


cdef int64_t stride(const Py_buffer *view, int axis) noexcept:
    return view.strides[axis] // view.itemsize


cdef int same(str what, int64_t got, int64_t expected) except -1:
    if got != expected:
        raise ValueError(f"{what} must be {expected}, got {got}")
    return 0


cdef Py_buffer *operand(
    Program program, object array, str name, str dtype, int ndim, bint writable=False
) except NULL:
    """A view whose elements of the last dimension are adjacent."""
    cdef Py_buffer *view = program.view(array, name, dtype, ndim, writable)
    if view.ndim < 3:
        raise ValueError(f"{name} must have at least 3 dimensions, got {view.ndim}")
    if view.shape[view.ndim - 1] > 1 and view.strides[view.ndim - 1] != view.itemsize:
        raise ValueError(f"{name} must have an adjacent last dimension")
    return view


cdef fa_attention_plan *plan_for(
    Program program, Operands *x, str dtype, int64_t num_sequences, object scores
) except NULL:
    """Check sizes; fill in strides and everything that is the same for all sequences."""
    cdef fa_attention_plan *plan = <fa_attention_plan *>program.allocate(
        sizeof(fa_attention_plan)
    )
    cdef int n = x.ndim, rows = n - x.row_axis, heads = n - x.head_axis
    cdef int64_t num_kv_heads = x.k.shape[heads]
    plan.num_sequences, plan.dtype = num_sequences, <fa_dtype><int>DTYPES[dtype]
    plan.num_heads = x.q.shape[heads]
    plan.head_dim = x.q.shape[n - 1]
    plan.value_dim = 0 if x.weights else x.v.shape[n - 1]
    plan.columns = x.k.shape[rows] if x.weights else plan.value_dim
    same("the last dimension of key", x.k.shape[n - 1], plan.head_dim)
    same("the last dimension of out", x.o.shape[n - 1], plan.columns)
    same("the number of value heads", x.v.shape[heads], num_kv_heads)
    same("the number of out heads", x.o.shape[heads], plan.num_heads)
    same("the length of value", x.v.shape[rows], x.k.shape[rows])
    same("the length of out", x.o.shape[rows], x.q.shape[rows])
    if max(x.q.shape[rows], x.k.shape[rows]) >= FA_FAR // 2:
        raise ValueError(f"sequences must be shorter than {FA_FAR // 2}")
    if plan.num_heads % num_kv_heads if num_kv_heads else plan.num_heads:
        raise ValueError(
            f"the number of query heads must be a multiple of the number of key heads, "
            f"got {plan.num_heads} and {num_kv_heads}"
        )
    plan.group = plan.num_heads // num_kv_heads if num_kv_heads else 1
    plan.q_row, plan.q_head = stride(x.q, rows), stride(x.q, heads)
    plan.k_row, plan.k_head = stride(x.k, rows), stride(x.k, heads)
    plan.v_row, plan.v_head = stride(x.v, rows), stride(x.v, heads)
    plan.o_row, plan.o_head = stride(x.o, rows), stride(x.o, heads)
    plan.scale, plan.softcap, plan.left, plan.right, slopes, bias, relative = scores
    if not (-FA_FAR <= plan.left <= FA_FAR and -FA_FAR <= plan.right <= FA_FAR):
        raise ValueError("the window must be within FAR")
    if bias is not None:
        add_distance_bias(program, plan, bias)
    if relative is not None:
        (<DistanceVectors?>relative).give(program, plan)
    plan.sequences = <const fa_sequence *>program.allocate(
        sizeof(fa_sequence), num_sequences + 1
    )
    plan.first_block = <const int64_t *>program.allocate(
        sizeof(int64_t), num_sequences + 1
    )
    if slopes is not None:
        add_slopes(program, plan, slopes)
    return plan


cdef int add_slopes(Program program, fa_attention_plan *plan, object slopes) except -1:
    """Give each sequence its row of slopes; a single row is for all of them."""
    cdef fa_sequence *sequence = <fa_sequence *>plan.sequences
    cdef Py_buffer *view = program.matrix(slopes, "alibi_slopes", -1, plan.num_heads)
    cdef int64_t row = 0 if view.shape[0] == 1 else stride(view, 0), i
    if view.shape[0] != 1:
        same("the number of alibi_slopes", view.shape[0], plan.num_sequences)
    for i in range(plan.num_sequences):
        sequence[i].slopes = <const float *>view.buf + i * row
    return 0


cdef int add_distance_bias(
    Program program, fa_attention_plan *plan, object bias
) except -1:
    cdef Py_buffer *view = program.matrix(bias, "distance_bias", plan.num_heads, -1)
    if view.shape[1] % 2 == 0:
        raise ValueError(
            f"distance_bias must have an odd number of columns, got {view.shape[1]}"
        )
    if view.shape[0] > 1 and stride(view, 0) != view.shape[1]:
        raise ValueError("distance_bias must be contiguous")
    plan.distance_bias, plan.distance = <const float *>view.buf, view.shape[1] // 2
    return 0


cdef int add_positions(
    Program program, fa_attention_plan *plan, object queries, object keys
) except -1:
    """Give each sequence its part of the positions, which lie one behind the other."""
    cdef fa_sequence *sequence = <fa_sequence *>plan.sequences
    cdef int64_t i, num_q = 0, num_k = 0
    for i in range(plan.num_sequences):
        num_q += sequence[i].seqlen_q
        num_k += sequence[i].seqlen_k
    cdef const float *q = <const float *>program.adjacent(
        queries, "positions of queries", "float32", num_q, False
    ).buf
    cdef const float *k = <const float *>program.adjacent(
        keys, "positions of keys", "float32", num_k, False
    ).buf
    for i in range(plan.num_sequences):
        sequence[i].q_positions, sequence[i].k_positions = q, k
        q += sequence[i].seqlen_q
        k += sequence[i].seqlen_k
    return 0


cdef int finish(
    Program program, fa_attention_plan *plan, object positions, object offsets,
    bint weights
) except -1:
    """Give the sequences their offsets, number the blocks, add the steps."""
    cdef fa_sequence *sequence = <fa_sequence *>plan.sequences
    cdef int64_t *first = <int64_t *>plan.first_block
    cdef int64_t i, chunks = 0, longest = 0, blocks
    cdef double scores = 0, work
    cdef const int64_t *offset = NULL
    cdef int threads
    if offsets is not None:
        offset = program.integers(offsets, "query_offset", plan.num_sequences)
    if positions is not None:
        add_positions(program, plan, positions[0], positions[1])
    for i in range(plan.num_sequences):
        if offset != NULL:
            sequence[i].offset = min(max(offset[i], -FA_FAR // 2), FA_FAR // 2)
            sequence[i].beyond = abs(<double>offset[i]) - abs(<double>sequence[i].offset)
        first[i + 1] = first[i] + (
            sequence[i].seqlen_q + FA_QUERY_BLOCK - 1
        ) // FA_QUERY_BLOCK
        check_distances(plan, &sequence[i])
        chunks = max(chunks, (sequence[i].seqlen_k + FA_KEY_CHUNK - 1) // FA_KEY_CHUNK)
        longest = max(longest, sequence[i].seqlen_q)
        # A few queries take as long as 16: they wait for the keys.
        scores += <double>max(sequence[i].seqlen_q, 16) * sequence[i].seqlen_k
    work = scores * plan.num_heads * (plan.head_dim + plan.value_dim + ELEMENT_WORK)
    longest = min(longest, FA_QUERY_BLOCK)
    plan.lanes = (longest + FA_PANEL - 1) // FA_PANEL * FA_PANEL
    blocks = first[plan.num_sequences] * plan.num_heads
    size = blocks * chunks * plan.lanes * (2 + plan.value_dim) * sizeof(float)
    threads = 1 if chunks < 2 else thread_count(program.num_threads)
    if threads < 2 or blocks >= SPLIT_BLOCKS * threads or size > SPLIT_BYTES:
        return program.add(
            &kernels().attention_weights if weights else &kernels().attention, plan,
            2 * work if weights else work
        )
    plan.chunks = chunks
    plan.partials = <float *>program.allocate(size)
    program.add(&kernels().attention, plan, work)
    program.add(&kernels().attention_merge, plan, 0)
    return program.add(&kernels().attention_weights, plan, work) if weights else 0


cdef char *at(const Py_buffer *view, const int64_t *index, int leading) noexcept:
    """The address of a leading index; NULL for no array."""
    cdef char *address
    cdef int axis
    if view == NULL:
        return NULL
    address = <char *>view.buf
    for axis in range(leading):
        address += index[axis] * view.strides[axis]
    return address


cdef Py_buffer *mask_view(
    Program program, fa_attention_plan *plan, object mask, Operands *x
) except NULL:
    """A mask of any strides, of the shape of the scores."""
    cdef int n = x.ndim, axis
    dtype = MASKS.get((mask.dtype.kind, mask.dtype.itemsize), "bool or floating")
    if dtype == "bfloat16":
        mask = mask.view("H")
    cdef Py_buffer *view = program.view(mask, "mask", dtype, n)
    for axis in range(n - 1):
        same("a dimension of mask", view.shape[axis], x.q.shape[axis])
    same("the last dimension of mask", view.shape[n - 1], x.k.shape[n - 2])
    plan.mask_kind = FA_BOOL_MASK if dtype == "bool" else FA_FLOAT_MASK
    if dtype != "bool":
        plan.mask_dtype = <fa_dtype><int>DTYPES[dtype]
    plan.mask_head, plan.mask_row = stride(view, n - 3), stride(view, n - 2)
    plan.mask_col = stride(view, n - 1)
    return view


cdef Py_buffer *lse_view(
    Program program, fa_attention_plan *plan, object lse, Operands *x, int ndim
) except NULL:
    """Where to write lse: the shape of out without its last dimension."""
    cdef Py_buffer *view = program.view(lse, "lse", "float32", ndim, True)
    cdef int axis
    for axis in range(ndim):
        same("a dimension of lse", view.shape[axis], x.o.shape[axis])
    plan.lse_row = stride(view, x.ndim - x.row_axis)
    plan.lse_head = stride(view, x.ndim - x.head_axis)
    return view


def attention(
    Program program not None, query, key, value, out, scores, *, str dtype="float32",
    mask=None, key_lengths=None, query_offset=None, positions=None, lse=None
):
    """Add attention over (..., heads, length, dim), leading dimensions broadcast.

    Without a value, out (..., heads, length, key length) gets the weights.
    """
    cdef Operands x
    cdef Py_buffer *m = NULL
    cdef Py_buffer *lse_out = NULL
    cdef const int64_t *lengths = NULL
    cdef int64_t count = 1, i
    cdef int leading, axis
    cdef fa_sequence *sequence
    x.q = operand(program, query, "query", dtype, -1)
    x.ndim, x.row_axis, x.head_axis, leading = x.q.ndim, 2, 3, x.q.ndim - 3
    x.k = operand(program, key, "key", dtype, x.ndim)
    x.weights = value is None
    x.v = operand(program, key if x.weights else value, "value", dtype, x.ndim)
    x.o = operand(program, out, "out", dtype, x.ndim, True)
    for axis in range(leading):
        count *= x.q.shape[axis]
        same("a leading dimension of key", x.k.shape[axis], x.q.shape[axis])
        same("a leading dimension of value", x.v.shape[axis], x.q.shape[axis])
        same("a leading dimension of out", x.o.shape[axis], x.q.shape[axis])
    cdef fa_attention_plan *plan = plan_for(program, &x, dtype, count, scores)
    cdef int64_t seqlen_q = x.q.shape[x.ndim - 2], seqlen_k = x.k.shape[x.ndim - 2]
    cdef int64_t *index = <int64_t *>program.allocate((leading + 1) * sizeof(int64_t))
    if mask is not None:
        m = mask_view(program, plan, mask, &x)
    if lse is not None:
        lse_out = lse_view(program, plan, lse, &x, x.ndim - 1)
    if key_lengths is not None:
        lengths = program.integers(key_lengths, "key_lengths", count)
    for i in range(count):
        if lengths != NULL and not 0 <= lengths[i] <= seqlen_k:
            raise ValueError(f"key_lengths must be 0 to {seqlen_k}, got {lengths[i]}")
        sequence = <fa_sequence *>plan.sequences + i
        sequence.seqlen_q = seqlen_q
        sequence.seqlen_k = seqlen_k if lengths == NULL else lengths[i]
        sequence.q, sequence.k = at(x.q, index, leading), at(x.k, index, leading)
        sequence.v, sequence.o = at(x.v, index, leading), at(x.o, index, leading)
        sequence.mask = at(m, index, leading)
        sequence.lse = <float *>at(lse_out, index, leading)
        for axis in range(leading - 1, -1, -1):
            index[axis] += 1
            if index[axis] < x.q.shape[axis]:
                break
            index[axis] = 0
    finish(program, plan, positions, query_offset, x.weights)


def attention_varlen(
    Program program not None, query, key, value, out, cu_seqlens_q, cu_seqlens_k,
    scores, *, str dtype="float32", query_offset=None, positions=None, lse=None
):
    """Add attention over packed sequences: arrays (tokens, heads, dim)."""
    cdef Operands x
    cdef Py_buffer *lse_out = NULL
    cdef int64_t count = len(cu_seqlens_q) - 1, i
    cdef fa_sequence *sequence
    x.ndim, x.row_axis, x.head_axis, x.weights = 3, 3, 2, False
    x.q = operand(program, query, "query", dtype, 3)
    x.k = operand(program, key, "key", dtype, 3)
    x.v = operand(program, value, "value", dtype, 3)
    x.o = operand(program, out, "out", dtype, 3, True)
    cdef const int64_t *start_q = program.cu_seqlens(
        cu_seqlens_q, "cu_seqlens_q", count, x.q.shape[0]
    )
    cdef const int64_t *start_k = program.cu_seqlens(
        cu_seqlens_k, "cu_seqlens_k", count, x.k.shape[0]
    )
    cdef fa_attention_plan *plan = plan_for(program, &x, dtype, count, scores)
    if lse is not None:
        lse_out = lse_view(program, plan, lse, &x, 2)
    for i in range(count):
        sequence = <fa_sequence *>plan.sequences + i
        sequence.seqlen_q = start_q[i + 1] - start_q[i]
        sequence.seqlen_k = start_k[i + 1] - start_k[i]
        sequence.q = <const char *>x.q.buf + start_q[i] * x.q.strides[0]
        sequence.k = <const char *>x.k.buf + start_k[i] * x.k.strides[0]
        sequence.v = <const char *>x.v.buf + start_k[i] * x.v.strides[0]
        sequence.o = <char *>x.o.buf + start_q[i] * x.o.strides[0]
        if lse_out != NULL:
            sequence.lse = <float *>(
                <char *>lse_out.buf + start_q[i] * lse_out.strides[0]
            )
    finish(program, plan, positions, query_offset, False)

"""Operations on rows: normalisation, activations, embedding, pooling, positions."""
from libc.stdint cimport int64_t

from ._cpu cimport (
    FA_ACTIVATION_NAMES, FA_EMBED_TABLES, FA_IDENTITY, FA_NUM_ACTIVATIONS,
    FA_NUM_POOLINGS, FA_POOLING_NAMES, fa_activate_plan, fa_activation, fa_embed_plan,
    fa_layer_norm_plan, fa_pool_plan, fa_pooling, fa_rotary_plan, fa_sinusoid_plan,
    fa_softmax_plan, fa_split_heads_plan, kernels,
)
from ._program cimport ELEMENT_WORK, Program, row_stride


cdef dict numbered(const char *const *names, int first, int end):
    return {names[i].decode(): i for i in range(first, end)}


# The names of the kernels' lists, and their numbers. No activation has the number 0.
ACTIVATIONS = numbered(FA_ACTIVATION_NAMES, FA_IDENTITY + 1, FA_NUM_ACTIVATIONS)
POOLINGS = numbered(FA_POOLING_NAMES, 0, FA_NUM_POOLINGS)


def softmax(Program program not None, x, out):
    """Add the softmax of each row; out may be x."""
    cdef fa_softmax_plan *plan = <fa_softmax_plan *>program.allocate(
        sizeof(fa_softmax_plan)
    )
    cdef Py_buffer *x_view = program.matrix(x, "x", -1, -1)
    cdef Py_buffer *out_view = program.matrix(
        out, "out", x_view.shape[0], x_view.shape[1], True
    )
    plan.rows, plan.cols = x_view.shape[0], x_view.shape[1]
    plan.x, plan.ldx = <const float *>x_view.buf, row_stride(x_view)
    plan.y, plan.ldy = <float *>out_view.buf, row_stride(out_view)
    program.add(&kernels().softmax, plan, ELEMENT_WORK * <double>plan.rows * plan.cols)


def layer_norm(
    Program program not None, x, weight, bias, float eps, out, *, bint rms=False
):
    """Add the layer normalisation of each row, with `rms` around 0; out may be x."""
    cdef fa_layer_norm_plan *plan = <fa_layer_norm_plan *>program.allocate(
        sizeof(fa_layer_norm_plan)
    )
    cdef Py_buffer *x_view = program.matrix(x, "x", -1, -1)
    cdef int64_t rows = x_view.shape[0], cols = x_view.shape[1]
    cdef Py_buffer *out_view = program.matrix(out, "out", rows, cols, True)
    plan.rows, plan.cols, plan.eps, plan.rms = rows, cols, eps, rms
    plan.x, plan.ldx = <const float *>x_view.buf, row_stride(x_view)
    plan.weight = program.vector(weight, "weight", cols)
    plan.bias = program.vector(bias, "bias", cols)
    plan.y, plan.ldy = <float *>out_view.buf, row_stride(out_view)
    program.add(&kernels().layer_norm, plan, ELEMENT_WORK * <double>plan.rows * plan.cols)


def activate(Program program not None, x, activation, out):
    """Add an activation, element by element, on contiguous (n,) arrays; out may be x."""
    cdef fa_activate_plan *plan = <fa_activate_plan *>program.allocate(
        sizeof(fa_activate_plan)
    )
    plan.n = len(x)
    plan.x = program.vector(x, "x", plan.n)
    plan.y = <float *>program.vector(out, "out", plan.n, True)
    plan.activation = <fa_activation><int>ACTIVATIONS[activation]
    program.add(&kernels().activate, plan, ELEMENT_WORK * <double>plan.n)


def embed(Program program not None, tables, ids, out, *, float scale=1, norm=None):
    """Add out[t] = norm(scale * sum of table[ids[t]]) for 1 to 3 tables (rows, dim)."""
    cdef fa_embed_plan *plan = <fa_embed_plan *>program.allocate(sizeof(fa_embed_plan))
    cdef Py_buffer *out_view = program.matrix(out, "out", -1, -1, True)
    cdef int64_t tokens = out_view.shape[0], dim = out_view.shape[1]
    cdef Py_buffer *table
    cdef const int64_t *index
    cdef int64_t t
    if not 1 <= len(tables) == len(ids) <= FA_EMBED_TABLES:
        raise ValueError(
            f"one to three tables with their ids, got {len(tables)} and {len(ids)}"
        )
    plan.tokens, plan.dim, plan.num_tables = tokens, dim, len(tables)
    for i in range(len(tables)):
        table = program.matrix(tables[i], "table", -1, dim)
        index = program.integers(ids[i], "ids", tokens)
        for t in range(tokens):
            if not 0 <= index[t] < table.shape[0]:
                raise IndexError(
                    f"ids must be 0 to {table.shape[0] - 1}, got {index[t]} at position {t}"
                )
        plan.table[i], plan.ldt[i] = <const float *>table.buf, row_stride(table)
        plan.ids[i] = index
    plan.scale = scale
    if norm is not None:
        plan.norm = 1
        plan.norm_weight = program.vector(norm[0], "norm weight", dim)
        plan.norm_bias = program.vector(norm[1], "norm bias", dim)
        plan.norm_eps = norm[2]
    plan.y, plan.ldy = <float *>out_view.buf, row_stride(out_view)
    program.add(&kernels().embed, plan, ELEMENT_WORK * <double>tokens * dim)


def pool(
    Program program not None, x, cu_seqlens, pooling, out, *, int64_t first=0,
    bint normalize=False
):
    """Add one vector per sequence, pooled: x (tokens, dim), out (n, dim)."""
    cdef fa_pool_plan *plan = <fa_pool_plan *>program.allocate(sizeof(fa_pool_plan))
    cdef Py_buffer *out_view = program.matrix(out, "out", -1, -1, True)
    cdef Py_buffer *x_view = program.matrix(x, "x", -1, out_view.shape[1])
    plan.num_sequences, plan.dim = out_view.shape[0], out_view.shape[1]
    plan.cu_seqlens = program.cu_seqlens(
        cu_seqlens, "cu_seqlens", plan.num_sequences, x_view.shape[0]
    )
    plan.x, plan.ldx = <const float *>x_view.buf, row_stride(x_view)
    plan.pooling = <fa_pooling><int>POOLINGS[pooling]
    if first < 0:
        raise ValueError(f"first must not be negative, got {first}")
    plan.first, plan.normalize = first, normalize
    plan.y, plan.ldy = <float *>out_view.buf, row_stride(out_view)
    program.add(&kernels().pool, plan, ELEMENT_WORK * <double>x_view.shape[0] * plan.dim)


def sinusoid(
    Program program not None, double base, out, *, int64_t first=0, frequencies=None
):
    """Add the sinusoidal positions from `first` on, out (length, dim) contiguous.

    `frequencies` (dim / 2, rounded up), float64, stand in place of those of the base.
    """
    cdef int64_t j
    cdef fa_sinusoid_plan *plan = <fa_sinusoid_plan *>program.allocate(
        sizeof(fa_sinusoid_plan)
    )
    cdef Py_buffer *out_view = program.matrix(out, "out", -1, -1, True)
    plan.length, plan.dim, plan.base = out_view.shape[0], out_view.shape[1], base
    plan.first = first
    if not 0 <= first < 1 << 31 or plan.length >= 1 << 31:
        raise ValueError(f"positions must be 0 to {1 << 31}, got the first {first}")
    if plan.length > 1 and row_stride(out_view) != plan.dim:
        raise ValueError("out must be contiguous")
    if not 1.0 <= base < float("inf"):
        raise ValueError(f"base must be at least 1 and finite, got {base}")
    if frequencies is not None:
        plan.frequencies = <const double *>program.adjacent(
            frequencies, "frequencies", "float64", (plan.dim + 1) // 2, False
        ).buf
        for j in range((plan.dim + 1) // 2):
            if not 0 <= plan.frequencies[j] <= 1:
                raise ValueError(
                    f"frequencies must be from 0 to 1, got {plan.frequencies[j]}"
                )
    plan.y = <float *>out_view.buf
    program.add(&kernels().sinusoid, plan, ELEMENT_WORK * <double>plan.length * plan.dim)


def rotary(
    Program program not None, x, cos, sin, positions, *, bint interleaved=False
):
    """Add the turning of heads x (rows, heads, dim), in place, by rows of cos and sin."""
    cdef fa_rotary_plan *plan = <fa_rotary_plan *>program.allocate(sizeof(fa_rotary_plan))
    cdef Py_buffer *x_view = program.view(x, "x", "float32", 3, True)
    cdef Py_buffer *cos_view = program.matrix(cos, "cos", -1, -1)
    cdef Py_buffer *sin_view = program.matrix(
        sin, "sin", cos_view.shape[0], cos_view.shape[1]
    )
    cdef int64_t length = cos_view.shape[0], i
    plan.rows, plan.num_heads = x_view.shape[0], x_view.shape[1]
    plan.pairs, plan.interleaved = cos_view.shape[1], interleaved
    if 2 * plan.pairs > x_view.shape[2]:
        raise ValueError(
            f"{plan.pairs} pairs are more than x has: {x_view.shape[2]} columns"
        )
    if x_view.shape[2] > 1 and x_view.strides[2] != sizeof(float):
        raise ValueError("x must have an adjacent last dimension")
    for view in (cos, sin):
        if not memoryview(view).c_contiguous:
            raise ValueError("cos and sin must be contiguous")
    plan.cos, plan.sin = <const float *>cos_view.buf, <const float *>sin_view.buf
    plan.positions = program.integers(positions, "positions", plan.rows)
    for i in range(plan.rows):
        if not 0 <= plan.positions[i] < length:
            raise IndexError(
                f"positions must be 0 to {length - 1}, got {plan.positions[i]}"
            )
    plan.x = <float *>x_view.buf
    plan.x_row, plan.x_head = row_stride(x_view), x_view.strides[1] // sizeof(float)
    work = ELEMENT_WORK * <double>plan.rows * plan.num_heads * plan.pairs
    program.add(&kernels().rotary, plan, work)


def split_heads(Program program not None, x, out):
    """Add the copy of packed rows x (tokens, heads, dim) to out (n, heads, length, dim)."""
    cdef fa_split_heads_plan *plan = <fa_split_heads_plan *>program.allocate(
        sizeof(fa_split_heads_plan)
    )
    cdef Py_buffer *x_view = program.view(x, "x", "float32", 3)
    cdef Py_buffer *out_view = program.view(out, "out", "float32", 4, True)
    plan.num_sequences, plan.num_heads = out_view.shape[0], out_view.shape[1]
    plan.length, plan.dim = out_view.shape[2], out_view.shape[3]
    shape = (plan.num_sequences * plan.length, plan.num_heads, plan.dim)
    if (x_view.shape[0], x_view.shape[1], x_view.shape[2]) != shape:
        raise ValueError(
            f"x must have shape {shape}, got "
            f"{(x_view.shape[0], x_view.shape[1], x_view.shape[2])}"
        )
    if plan.dim > 1 and not (
        x_view.strides[2] == out_view.strides[3] == <Py_ssize_t>sizeof(float)
    ):
        raise ValueError("x and out must have an adjacent last dimension")
    plan.x, plan.y = <const float *>x_view.buf, <float *>out_view.buf
    plan.x_row, plan.x_head = row_stride(x_view), x_view.strides[1] // x_view.itemsize
    plan.y_sequence = row_stride(out_view)
    plan.y_head = out_view.strides[1] // out_view.itemsize
    plan.y_row = out_view.strides[2] // out_view.itemsize
    work = ELEMENT_WORK * <double>shape[0] * plan.num_heads * plan.dim
    program.add(&kernels().split_heads, plan, work)

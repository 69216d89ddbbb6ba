"""Products with packed weights, and with matrices that nobody packed."""
import numpy as np

from libc.stdint cimport int64_t

from ._cpu cimport (
    FA_FOLD_MAX, FA_FOLD_SUM, FA_FORMAT_FLOAT32, FA_IDENTITY, FA_PANEL,
    FA_UNPACKED_ROWS, fa_activation, fa_gemm_plan, fa_matmul_plan, fa_precision,
    fa_quantize_rows_plan, kernels, multiplier_of,
)
from ._packed cimport PackedMatrix
from ._program cimport ELEMENT_WORK, Program, row_stride

from . import _rowwise

from .arrays import as_choice

UNPACKED_ROWS = FA_UNPACKED_ROWS

# The name of a product for a recorder: a packed weight, and the rows that it is multiplied
# with.
PRODUCT = "product"

cdef enum:
    # The least number of rows for which layer normalisation is fused into the product: the
    # task that computed the rows normalises them while they are in its cache. Such a task
    # computes whole rows, so fewer rows would make too few tasks for the threads; then the
    # normalisation is a step of its own, with the same bits.
    FUSED_NORM_ROWS = 1024


cdef fa_activation number_of(activation) except *:
    if activation is None:
        return FA_IDENTITY
    as_choice(activation, "activation", _rowwise.ACTIVATIONS)
    return <fa_activation><int>_rowwise.ACTIVATIONS[activation]


cdef int set_a(
    fa_gemm_plan *plan, const Py_buffer *view, int rows, str name
) except -1:
    """A is a view, from its dimension `rows` on: matrices of adjacent rows or columns."""
    plan.m, plan.k = view.shape[rows], view.shape[rows + 1]
    plan.a, plan.lda = <const float *>view.buf, view.strides[rows] // view.itemsize
    plan.a_col = view.strides[rows + 1] // view.itemsize if plan.k > 1 else 1
    if plan.m > 1 and plan.lda != 1 and plan.a_col != 1:
        raise ValueError(f"{name} must have adjacent rows or columns")
    return 0


cdef int set_operands(
    Program program, object x, PackedMatrix weight, int64_t start, fa_gemm_plan *plan
) except -1:
    """Point a plan to x and to the rows of a weight from `start` on.

    A recorder may see them before the steps of their product are added.
    """
    if program.recorder is not None:
        program.record(PRODUCT, (weight, x), PRODUCT)
    set_a(plan, program.view(x, "x", "float32", 2), 0, "x")
    if plan.k != weight.k:
        raise ValueError(f"x must have {weight.k} columns, got {plan.k}")
    if plan.a_col != 1 and (weight.kind != FA_FORMAT_FLOAT32 or weight.number >= 0):
        raise ValueError("x must have adjacent columns but for weights of float32")
    # A panel is FA_PANEL rows of the weight.
    plan.format, plan.b = weight.kind, weight.panels + start * weight.row_bytes
    if weight.scales != NULL:
        plan.scales = weight.scales + start * weight.blocks
    program.hold(weight)
    if weight.number >= 0:
        plan.multiplier = multiplier_of(weight.number)
        plan.precision = <fa_precision>weight.number
        plan.sums = weight.sums + start * weight.blocks
        add_quantize(program, weight, plan)
    return 0


cdef int add_quantize(
    Program program, PackedMatrix weight, fa_gemm_plan *plan
) except -1:
    """Add the step that makes the rows of a plan into what an engine reads."""
    cdef fa_quantize_rows_plan *rows = <fa_quantize_rows_plan *>program.allocate(
        sizeof(fa_quantize_rows_plan)
    )
    cdef int64_t numbers = plan.m * weight.blocks
    cdef char *memory = <char *>program.hand_over(
        plan.m * weight.row_bytes + 2 * numbers * sizeof(float)
    )
    plan.rows.groups, plan.rows.ld = memory, weight.row_bytes
    plan.rows.scales = <float *>(memory + plan.m * weight.row_bytes)
    plan.rows.zeros = plan.rows.scales + numbers
    rows.m, rows.k, rows.a, rows.lda = plan.m, plan.k, plan.a, plan.lda
    rows.factors = program.vector(weight.inverses, "factors", weight.k)
    rows.precision, rows.rows = plan.precision, plan.rows
    return program.add(
        &kernels().quantize_rows, rows, ELEMENT_WORK * <double>plan.m * plan.k
    )


def linear(
    Program program not None, x, PackedMatrix weight not None, out, *, bias=None,
    rows=None, activation=None, factor=None, residual=None, norm=None
):
    """Add out = norm(activation(x weight^T + bias) * factor + residual)."""
    cdef fa_gemm_plan *plan = <fa_gemm_plan *>program.allocate(sizeof(fa_gemm_plan))
    cdef int64_t start = 0, stop = weight.n
    if rows is not None:
        start, stop = rows
        if start % FA_PANEL or not 0 <= start <= stop <= weight.n:
            raise ValueError(
                f"rows must start at a multiple of {FA_PANEL} and end at most at "
                f"{weight.n}, got {rows}"
            )
    set_operands(program, x, weight, start, plan)
    cdef int64_t m = plan.m, n = stop - start
    cdef Py_buffer *out_view = program.matrix(out, "out", m, n, True)
    cdef Py_buffer *factor_view
    cdef Py_buffer *residual_view
    plan.n = n
    plan.bias = program.vector(bias, "bias", n)
    plan.activation = number_of(activation)
    plan.c, plan.ldc = <float *>out_view.buf, row_stride(out_view)
    if factor is not None:
        factor_view = program.matrix(factor, "factor", m, n)
        plan.factor, plan.ldf = <const float *>factor_view.buf, row_stride(factor_view)
    if residual is not None:
        residual_view = program.matrix(residual, "residual", m, n)
        plan.residual = <const float *>residual_view.buf
        plan.ldr = row_stride(residual_view)
    if norm is not None and m >= FUSED_NORM_ROWS:
        plan.norm = 1
        plan.norm_weight = program.vector(norm[0], "norm weight", n)
        plan.norm_bias = program.vector(norm[1], "norm bias", n)
        plan.norm_eps = norm[2]
    # A few rows take as long as 16: they wait for the weights.
    program.add(&kernels().gemm, plan, <double>max(m, 16) * n * weight.k)
    if norm is not None and not plan.norm:
        _rowwise.layer_norm(program, out, norm[0], norm[1], norm[2], out)


def fold(
    Program program not None, x, PackedMatrix weight not None, cu_seqlens, out, *,
    bias=None, activation=None, bint add=False
):
    """Add out[i] = max over the rows of sequence i of activation(x weight^T + bias), and 0.

    With `add` it is their sum.
    """
    cdef fa_gemm_plan *plan = <fa_gemm_plan *>program.allocate(sizeof(fa_gemm_plan))
    cdef Py_buffer *out_view = program.matrix(out, "out", -1, weight.n, True)
    set_operands(program, x, weight, 0, plan)
    plan.n = weight.n
    plan.bias = program.vector(bias, "bias", plan.n)
    plan.activation = number_of(activation)
    plan.c, plan.ldc = <float *>out_view.buf, row_stride(out_view)
    plan.fold, plan.num_owners = FA_FOLD_SUM if add else FA_FOLD_MAX, out_view.shape[0]
    program.cu_seqlens(cu_seqlens, "cu_seqlens", plan.num_owners, plan.m)
    owners = np.repeat(np.arange(plan.num_owners), np.diff(cu_seqlens))
    plan.owners = program.integers(owners, "owners", plan.m)
    program.add(&kernels().fold, plan, <double>max(plan.m, 16) * plan.n * plan.k)


cdef Py_buffer *matrices(
    Program program, object array, str name, int dims, const Py_ssize_t *shape,
    int64_t rows, int64_t cols, bint writable=False,
) except NULL:
    """Matrices of one size at every index of a shape; with adjacent columns to write."""
    cdef Py_buffer *view = program.view(array, name, "float32", dims + 2, writable)
    cdef int i
    if view.shape[dims] != rows or view.shape[dims + 1] != cols:
        raise ValueError(
            f"{name} must have matrices of shape ({rows}, {cols}), "
            f"got ({view.shape[dims]}, {view.shape[dims + 1]})"
        )
    for i in range(dims):
        if view.shape[i] != shape[i]:
            raise ValueError(f"{name} must have {shape[i]} matrices, got {view.shape[i]}")
    if writable and cols > 1 and view.strides[dims + 1] != sizeof(float):
        raise ValueError(f"{name} must have adjacent columns")
    return view


cdef int64_t *steps_of(Program program, const Py_buffer *view, int dims) except? NULL:
    """The distances in elements between matrices."""
    cdef int64_t *steps = <int64_t *>program.allocate(sizeof(int64_t), dims)
    for i in range(dims):
        steps[i] = view.strides[i] // <int64_t>sizeof(float)
    return steps


cdef int merged(
    int dims, int64_t *shape, int64_t *a_steps, int64_t *b_steps, int64_t *c_steps
) noexcept:
    """Make one of neighbouring dimensions over which all three move on evenly: how many
    are left."""
    cdef int kept = 0, i
    for i in range(dims):
        if shape[i] == 1:
            continue
        if (
            kept
            and a_steps[kept - 1] == shape[i] * a_steps[i]
            and b_steps[kept - 1] == shape[i] * b_steps[i]
            and c_steps[kept - 1] == shape[i] * c_steps[i]
        ):
            kept -= 1
            shape[i] *= shape[kept]
        shape[kept] = shape[i]
        a_steps[kept], b_steps[kept], c_steps[kept] = a_steps[i], b_steps[i], c_steps[i]
        kept += 1
    return kept


def matmul(Program program not None, a, b, out, *, bias=None, activation=None):
    """Add out = activation(a b + bias) for matrices at every index, b of any strides.

    It is meant for at most UNPACKED_ROWS rows; the bits are those of `linear`.
    """
    cdef fa_matmul_plan *plan = <fa_matmul_plan *>program.allocate(sizeof(fa_matmul_plan))
    cdef fa_gemm_plan *first = &plan.first
    cdef Py_buffer *c = program.view(out, "out", "float32", -1, True)
    cdef int dims = c.ndim - 2, i
    if dims < 0:
        raise ValueError(f"out must have at least 2 dimensions, got {c.ndim}")
    cdef int64_t m = c.shape[dims], n = c.shape[dims + 1]
    cdef Py_buffer *x = program.view(a, "a", "float32", dims + 2)
    cdef int64_t k = x.shape[dims + 1]
    matrices(program, out, "out", dims, c.shape, m, n, True)
    matrices(program, a, "a", dims, c.shape, m, k)
    cdef Py_buffer *y = matrices(program, b, "b", dims, c.shape, k, n)
    set_a(first, x, dims, "a")
    first.n = n
    first.unpacked = <const float *>y.buf
    first.ldb, first.b_col = y.strides[dims] // 4, y.strides[dims + 1] // 4
    first.bias = program.vector(bias, "bias", n)
    first.activation = number_of(activation)
    first.c, first.ldc = <float *>c.buf, c.strides[dims] // 4
    cdef int64_t *shape = <int64_t *>program.allocate(sizeof(int64_t), dims)
    for i in range(dims):
        shape[i] = c.shape[i]
    cdef int64_t *a_steps = steps_of(program, x, dims)
    cdef int64_t *b_steps = steps_of(program, y, dims)
    cdef int64_t *c_steps = steps_of(program, c, dims)
    dims = merged(dims, shape, a_steps, b_steps, c_steps)
    if m == n == 1 and bias is None and dims and c_steps[dims - 1] == 1:
        # Dot products are the columns of a row, each of which may have a row of `a`.
        dims -= 1
        first.n, first.a_step, first.b_col = shape[dims], a_steps[dims], b_steps[dims]
    plan.dims, plan.shape = dims, shape
    plan.a_steps, plan.b_steps, plan.c_steps = a_steps, b_steps, c_steps
    plan.matrices = 1
    for i in range(dims):
        plan.matrices *= shape[i]
    # What is packed is read and written: as much as 16 rows of a product.
    cdef double work = <double>first.n * k * max(m, 16)
    program.add(&kernels().matmul, plan, plan.matrices * work)

"""Packed weights and the products with them."""
from functools import partial

import numpy as np

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uintptr_t

from ._cpu cimport (
    FA_ALIGN, FA_FOLD_MAX, FA_FOLD_SUM, FA_FORMAT_FACTS, FA_FORMAT_FLOAT32, FA_IDENTITY,
    FA_NUM_DTYPES, FA_NUM_FORMATS, FA_PANEL, FA_UNPACKED_ROWS, fa_activation, fa_format,
    fa_gemm_plan, fa_matmul_plan, fa_pack_plan, fa_unpack_plan, kernels,
)
from ._program cimport ELEMENT_WORK, Program, row_stride

from . import _rowwise, arena

from .arrays import as_choice

PANEL = FA_PANEL
UNPACKED_ROWS = FA_UNPACKED_ROWS


cdef tuple facts_of(int format):
    return format, FA_FORMAT_FACTS[format].bytes, FA_FORMAT_FACTS[format].largest


# How weights are stored, as the kernels' list says: the number of the format, the bytes of
# an element, and the largest magnitude that is taken, which rounds to something finite.
FORMATS = {FA_FORMAT_FACTS[i].name.decode(): facts_of(i) for i in range(FA_NUM_FORMATS)}

cdef enum:
    # The least number of rows for which layer normalisation is fused into the product: the
    # task that computed the rows normalises them while they are in its cache. Such a task
    # computes whole rows, so fewer rows would make too few tasks for the threads; then the
    # normalisation is a step of its own, with the same bits.
    FUSED_NORM_ROWS = 1024


@cython.final
cdef class PackedMatrix:
    """Weights (out_features, in_features) in the layout that the kernels read.

    Immutable once packed, and the same for every instruction set.
    """
    cdef Py_buffer memory
    cdef char *panels
    cdef float *scales  # of integers, behind the panels
    cdef fa_format kind
    cdef readonly str format
    cdef readonly int64_t nbytes
    cdef int64_t n, k, itemsize

    def __init__(self, *weights, str format="float32"):
        """Pack one weight, or several on top of each other, of any strides.

        Weights of another format than float32 must be finite, and stay so in it.
        """
        if self.panels != NULL:
            raise TypeError("packed weights are immutable: make new ones")
        as_choice(format, "format", FORMATS)
        program = Program()
        rows = [weight.shape[0] for weight in weights]
        self.reserve(sum(rows), weights[0].shape[1], format, arena.take)
        column = 0
        for weight, size in zip(weights, rows, strict=True):
            add_pack(program, weight, self, column)
            column += size
        program.run()
        if self.kind != FA_FORMAT_FLOAT32:
            check_magnitudes(weights, format)

    def __dealloc__(self):
        PyBuffer_Release(&self.memory)

    cdef int reserve(self, int64_t n, int64_t k, str format, object allocate) except -1:
        """Have zeroed memory allocated; panels start on a cache line."""
        cdef int64_t panels = (n + FA_PANEL - 1) // FA_PANEL
        cdef int kind = FORMATS[format][0]
        cdef bint scaled = kind >= FA_NUM_DTYPES
        self.kind, self.format = <fa_format>kind, format
        self.itemsize = FA_FORMAT_FACTS[kind].bytes
        if k and panels > (<int64_t>1 << 60) // FA_PANEL // k:
            raise MemoryError(f"weights of shape ({n}, {k}) are too large")
        cdef int64_t size = panels * FA_PANEL * k * self.itemsize
        self.nbytes = size + (panels * FA_PANEL * <int64_t>sizeof(float) if scaled else 0)
        PyObject_GetBuffer(
            allocate(self.nbytes + FA_ALIGN), &self.memory, PyBUF_WRITABLE
        )
        self.panels = <char *>self.memory.buf
        self.panels += -<uintptr_t>self.panels % FA_ALIGN
        if scaled:
            self.scales = <float *>(self.panels + size)
        self.n, self.k = n, k
        return 0

    @property
    def shape(self):
        """(out_features, in_features)."""
        return self.n, self.k

    def unpack(self):
        """Copy the weights into a float32 array (out_features, in_features).

        Packed again in the same format, they are the same to the bit.
        """
        cdef Program program = Program()
        cdef fa_unpack_plan *plan = <fa_unpack_plan *>program.allocate(
            sizeof(fa_unpack_plan)
        )
        weight = np.empty(self.shape, np.float32)
        plan.k, plan.n, plan.format = self.k, self.n, self.kind
        plan.packed, plan.scales = self.panels, self.scales
        plan.b = <float *>program.view(weight, "weight", "float32", 2, True).buf
        program.add(&kernels().unpack, plan, ELEMENT_WORK * <double>plan.n * plan.k)
        program.run()
        return weight

    def __reduce__(self):
        return partial(PackedMatrix, format=self.format), (self.unpack(),)


cdef int check_magnitudes(tuple weights, str format) except -1:
    """Refuse weights that would not be finite in a format."""
    bound = FORMATS[format][2]
    for weight in weights:
        largest = max(weight.max(initial=0), -weight.min(initial=0))
        if not largest <= bound:  # nor is NaN
            raise ValueError(
                f"{format} takes weights of at most {bound:g} in magnitude, got {largest:g}"
            )


def empty_packed(int64_t out_features, int64_t in_features, *, bint temporary=False):
    """Make a packed matrix whose weights are still to be packed, and 0 until then."""
    cdef PackedMatrix packed = PackedMatrix.__new__(PackedMatrix)
    allocate = partial(np.zeros, dtype=np.uint8) if temporary else arena.take
    packed.reserve(out_features, in_features, "float32", allocate)
    return packed


cdef int add_pack(
    Program program, object weight, PackedMatrix packed, int64_t column
) except -1:
    cdef Py_buffer *view = program.view(weight, "weight", "float32", 2)
    cdef fa_pack_plan *plan = <fa_pack_plan *>program.allocate(sizeof(fa_pack_plan))
    if view.shape[1] != packed.k or column + view.shape[0] > packed.n:
        raise ValueError(
            f"weight of shape ({view.shape[0]}, {view.shape[1]}) does not fit "
            f"packed weights of shape {packed.shape} at row {column}"
        )
    plan.k, plan.n = packed.k, view.shape[0]
    plan.b = <const float *>view.buf
    plan.ldb, plan.b_col = view.strides[1] // 4, view.strides[0] // 4
    plan.format, plan.column = packed.kind, column
    plan.packed, plan.scales = packed.panels, packed.scales
    program.hold(packed)
    return program.add(&kernels().pack, plan, ELEMENT_WORK * <double>plan.n * plan.k)


def pack(Program program not None, weight, PackedMatrix packed not None):
    """Add the step that packs `weight` (out_features, in_features) into `packed`."""
    if tuple(weight.shape) != packed.shape:
        raise ValueError(f"weight must have shape {packed.shape}, got {weight.shape}")
    add_pack(program, weight, packed, 0)


cdef fa_activation number_of(activation) except *:
    if activation is None:
        return FA_IDENTITY
    as_choice(activation, "activation", _rowwise.ACTIVATIONS)
    return <fa_activation><int>_rowwise.ACTIVATIONS[activation]


def linear(
    Program program not None, x, PackedMatrix weight not None, out, *, bias=None,
    rows=None, activation=None, factor=None, residual=None, norm=None
):
    """Add out = norm(activation(x weight^T + bias) * factor + residual)."""
    cdef fa_gemm_plan *plan = <fa_gemm_plan *>program.allocate(sizeof(fa_gemm_plan))
    cdef Py_buffer *x_view = program.matrix(x, "x", -1, weight.k)
    cdef int64_t m = x_view.shape[0], start = 0, stop = weight.n
    if rows is not None:
        start, stop = rows
        if start % FA_PANEL or not 0 <= start <= stop <= weight.n:
            raise ValueError(
                f"rows must start at a multiple of {FA_PANEL} and end at most at "
                f"{weight.n}, got {rows}"
            )
    cdef int64_t n = stop - start
    cdef Py_buffer *out_view = program.matrix(out, "out", m, n, True)
    cdef Py_buffer *factor_view
    cdef Py_buffer *residual_view
    plan.m, plan.n, plan.k = m, n, weight.k
    plan.a, plan.lda = <const float *>x_view.buf, row_stride(x_view)
    # A panel is FA_PANEL rows of the weight.
    plan.format = weight.kind
    plan.b = weight.panels + start * weight.k * weight.itemsize
    if weight.scales != NULL:
        plan.scales = weight.scales + start
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
    program.hold(weight)
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
    cdef Py_buffer *x_view = program.matrix(x, "x", -1, weight.k)
    cdef Py_buffer *out_view = program.matrix(out, "out", -1, weight.n, True)
    plan.m, plan.n, plan.k = x_view.shape[0], weight.n, weight.k
    plan.a, plan.lda = <const float *>x_view.buf, row_stride(x_view)
    plan.format, plan.b, plan.scales = weight.kind, weight.panels, weight.scales
    plan.bias = program.vector(bias, "bias", plan.n)
    plan.activation = number_of(activation)
    plan.c, plan.ldc = <float *>out_view.buf, row_stride(out_view)
    plan.fold, plan.num_owners = FA_FOLD_SUM if add else FA_FOLD_MAX, out_view.shape[0]
    program.cu_seqlens(cu_seqlens, "cu_seqlens", plan.num_owners, plan.m)
    owners = np.repeat(np.arange(plan.num_owners), np.diff(cu_seqlens))
    plan.owners = program.integers(owners, "owners", plan.m)
    program.hold(weight)
    program.add(&kernels().fold, plan, <double>max(plan.m, 16) * plan.n * plan.k)


cdef Py_buffer *matrices(
    Program program, object array, str name, int dims, const Py_ssize_t *shape,
    int64_t rows, int64_t cols, bint adjacent, bint writable=False,
) except NULL:
    """Matrices of one size at every index of a shape, maybe with adjacent columns."""
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
    if adjacent and cols > 1 and view.strides[dims + 1] != sizeof(float):
        raise ValueError(f"{name} must have adjacent columns")
    return view


cdef const int64_t *steps_of(Program program, const Py_buffer *view, int dims) except? NULL:
    """The distances in elements between matrices."""
    cdef int64_t *steps = <int64_t *>program.allocate(sizeof(int64_t), dims)
    for i in range(dims):
        steps[i] = view.strides[i] // <int64_t>sizeof(float)
    return steps


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
    matrices(program, out, "out", dims, c.shape, m, n, True, True)
    matrices(program, a, "a", dims, c.shape, m, k, True)
    cdef Py_buffer *y = matrices(program, b, "b", dims, c.shape, k, n, False)
    cdef int64_t *shape = <int64_t *>program.allocate(sizeof(int64_t), dims)
    plan.matrices = 1
    for i in range(dims):
        shape[i] = c.shape[i]
        plan.matrices *= shape[i]
    plan.dims, plan.shape = dims, shape
    plan.a_steps, plan.b_steps = steps_of(program, x, dims), steps_of(program, y, dims)
    plan.c_steps = steps_of(program, c, dims)
    first.m, first.n, first.k = m, n, k
    first.a, first.lda = <const float *>x.buf, x.strides[dims] // 4
    first.unpacked = <const float *>y.buf
    first.ldb, first.b_col = y.strides[dims] // 4, y.strides[dims + 1] // 4
    first.bias = program.vector(bias, "bias", n)
    first.activation = number_of(activation)
    first.c, first.ldc = <float *>c.buf, c.strides[dims] // 4
    # What is packed is read and written: as much as 16 rows of a product.
    cdef double work = <double>n * k * max(m, 16)
    program.add(&kernels().matmul, plan, plan.matrices * work)

"""Packed weights and the products with them."""
import numpy as np

cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport int64_t, uintptr_t

from ._cpu cimport (
    FA_ALIGN, FA_PANEL, Program, fa_gemm_plan, fa_pack_plan, kernels, row_stride,
)

from . import _rowwise

PANEL = FA_PANEL

cdef enum:
    # From so many rows on, a layer normalisation is done by the task that has the rows in
    # its cache. A task of that kind has whole rows: with fewer rows there would be too few
    # tasks for the threads, and the normalisation is a step of its own. Same bits.
    FUSED_NORM_ROWS = 1024


@cython.final
cdef class PackedMatrix:
    """Weights (out_features, in_features) in the layout that the kernels read.

    Immutable once packed, and the same for every instruction set.
    """
    cdef void *memory
    cdef float *panels
    cdef int64_t n, k

    def __init__(self, *weights):
        """Pack one weight, or several on top of each other, of any strides."""
        if self.memory != NULL:
            raise TypeError("packed weights are immutable: make new ones")
        program = Program()
        rows = [weight.shape[0] for weight in weights]
        self.reserve(sum(rows), weights[0].shape[1])
        column = 0
        for weight, size in zip(weights, rows, strict=True):
            add_pack(program, weight, self, column)
            column += size
        program.run()

    cdef int reserve(self, int64_t n, int64_t k) except -1:
        cdef int64_t panels = (n + FA_PANEL - 1) // FA_PANEL
        if k and panels > (<int64_t>1 << 60) // FA_PANEL // k:
            raise MemoryError(f"weights of shape ({n}, {k}) are too large")
        self.memory = PyMem_RawCalloc(panels * k * FA_PANEL * sizeof(float) + FA_ALIGN, 1)
        if self.memory == NULL:
            raise MemoryError
        self.panels = <float *>(
            <char *>self.memory + FA_ALIGN - <uintptr_t>self.memory % FA_ALIGN
        )
        self.n, self.k = n, k
        return 0

    def __dealloc__(self):
        PyMem_RawFree(self.memory)

    @property
    def shape(self):
        """(out_features, in_features)."""
        return self.n, self.k

    def unpack(self):
        """Copy the weights back into an array (out_features, in_features)."""
        cdef Program program = Program()
        cdef int64_t i, j
        cdef float *out
        weight = np.empty(self.shape, np.float32)
        out = <float *>program.view(weight, "weight", "float32", 2, True).buf
        with nogil:
            for i in range(self.n):
                for j in range(self.k):
                    out[i * self.k + j] = self.panels[
                        (i // FA_PANEL * self.k + j) * FA_PANEL + i % FA_PANEL
                    ]
        return weight

    def __reduce__(self):
        return PackedMatrix, (self.unpack(),)


def empty_packed(int64_t out_features, int64_t in_features):
    """Make a packed matrix whose weights are still to be packed."""
    cdef PackedMatrix packed = PackedMatrix.__new__(PackedMatrix)
    packed.reserve(out_features, in_features)
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
    plan.packed, plan.column = packed.panels, column
    program.hold(packed)
    return program.add(&kernels().pack, plan)


def pack(Program program not None, weight, PackedMatrix packed not None):
    """Add the step that packs `weight` (out_features, in_features) into `packed`."""
    if tuple(weight.shape) != packed.shape:
        raise ValueError(f"weight must have shape {packed.shape}, got {weight.shape}")
    add_pack(program, weight, packed, 0)


def linear(
    Program program not None, x, PackedMatrix weight not None, out, *, bias=None,
    rows=None, activation="identity", factor=None, residual=None, norm=None
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
    if activation not in _rowwise.ACTIVATIONS:
        raise ValueError(
            f"activation must be one of {', '.join(_rowwise.ACTIVATIONS)}, "
            f"got {activation!r}"
        )
    plan.m, plan.n, plan.k = m, n, weight.k
    plan.a, plan.lda = <const float *>x_view.buf, row_stride(x_view)
    plan.b = weight.panels + start * weight.k  # a panel is FA_PANEL rows of the weight
    plan.bias = program.vector(bias, "bias", n)
    plan.activation = _rowwise.ACTIVATIONS[activation]
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
    program.add(&kernels().gemm, plan)
    if norm is not None and not plan.norm:
        _rowwise.layer_norm(program, out, *norm, out)

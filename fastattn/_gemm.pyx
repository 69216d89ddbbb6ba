"""Packed weights and the products with them."""
import weakref
from functools import partial
from threading import Lock

import numpy as np

cimport cython
from libc.stdint cimport int64_t

from ._cpu cimport (
    FA_ALIGN, FA_BFLOAT16, FA_FLOAT16, FA_FLOAT32, FA_INT8, FA_PANEL, Program, fa_dtype,
    fa_gemm_plan, fa_pack_plan, fa_unpack_plan, kernels, row_stride,
)

from . import _rowwise

cdef extern from *:
    """
    #include <sys/mman.h>

    /* Zeroed memory, in pages of 2 MB where the system gives them: of pages of 4 KB a TLB
       holds a fraction of a model, and every call reads all of it. */
    static void *map_memory(size_t size)
    {
        void *memory = mmap(
            NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
        );
        if (memory == MAP_FAILED) return NULL;
    #ifdef MADV_HUGEPAGE
        madvise(memory, size, MADV_HUGEPAGE); /* where it is refused, pages are small */
    #endif
        return memory;
    }
    """
    void *map_memory(size_t size)
    int munmap(void *memory, size_t size)

PANEL = FA_PANEL

# How weights are stored: the kernels' number for it, the bytes of an element, and the
# largest magnitude that is taken, which rounds to something finite.
FORMATS = {
    "float32": (FA_FLOAT32, 4, float("inf")),
    "float16": (FA_FLOAT16, 2, 65504.0),
    "bfloat16": (FA_BFLOAT16, 2, 2.0**127),
    "int8": (FA_INT8, 1, 2.0**127),
}

cdef enum:
    # From so many rows on, a layer normalisation is done by the task that has the rows in
    # its cache. A task of that kind has whole rows: with fewer rows there would be too few
    # tasks for the threads, and the normalisation is a step of its own. Same bits.
    FUSED_NORM_ROWS = 1024


cdef enum:
    ARENA_SIZE = 1 << 24  # a layer's weights or more; what nobody writes to costs nothing


@cython.final
@cython.auto_pickle(False)
cdef class Arena:
    """Memory in which weights lie side by side, given back when the last of them goes."""
    cdef char *memory
    cdef int64_t size, used
    cdef object __weakref__

    def __cinit__(self, int64_t size):
        self.memory = <char *>map_memory(size)
        if self.memory == NULL:
            raise MemoryError
        self.size = size

    def __dealloc__(self):
        if self.memory != NULL:
            munmap(self.memory, self.size)


cdef object latest_arena = None  # a weak reference
cdef object arena_lock = Lock()


cdef Arena arena_with_room(int64_t nbytes):
    """Find or make an arena that has so much left."""
    global latest_arena
    cdef Arena arena = latest_arena() if latest_arena is not None else None
    if arena is None or arena.size - arena.used < nbytes:
        arena = Arena(max(nbytes, ARENA_SIZE))
        latest_arena = weakref.ref(arena)
    return arena


@cython.final
cdef class PackedMatrix:
    """Weights (out_features, in_features) in the layout that the kernels read.

    Immutable once packed, and the same for every instruction set.
    """
    cdef Arena arena
    cdef char *panels
    cdef float *scales  # of int8, behind the panels
    cdef fa_dtype kind
    cdef readonly str format
    cdef readonly int64_t nbytes
    cdef int64_t n, k, itemsize

    def __init__(self, *weights, str format="float32"):
        """Pack one weight, or several on top of each other, of any strides.

        Weights of another format than float32 must be finite, and stay so in it.
        """
        if self.arena is not None:
            raise TypeError("packed weights are immutable: make new ones")
        program = Program()
        rows = [weight.shape[0] for weight in weights]
        self.reserve(sum(rows), weights[0].shape[1], format)
        column = 0
        for weight, size in zip(weights, rows, strict=True):
            add_pack(program, weight, self, column)
            column += size
        program.run()
        if format != "float32":
            check_magnitudes(weights, format)

    cdef int reserve(self, int64_t n, int64_t k, str format) except -1:
        cdef int64_t panels = (n + FA_PANEL - 1) // FA_PANEL
        check_format(format)
        self.kind, self.itemsize, _ = FORMATS[format]
        self.format = format
        if k and panels > (<int64_t>1 << 60) // FA_PANEL // k:
            raise MemoryError(f"weights of shape ({n}, {k}) are too large")
        self.nbytes = panels * FA_PANEL * k * self.itemsize
        if self.kind == FA_INT8:
            self.nbytes += panels * FA_PANEL * sizeof(float)
        with arena_lock:
            self.arena = arena_with_room(self.nbytes)
            self.panels = self.arena.memory + self.arena.used
            self.arena.used += (self.nbytes + FA_ALIGN - 1) // FA_ALIGN * FA_ALIGN
        if self.kind == FA_INT8:
            self.scales = <float *>(self.panels + panels * FA_PANEL * k)
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
        program.add(&kernels().unpack, plan)
        program.run()
        return weight

    def __reduce__(self):
        return partial(PackedMatrix, format=self.format), (self.unpack(),)


def check_format(format):
    """Refuse what is not the name of a format."""
    if format not in FORMATS:
        raise ValueError(
            f"the format of weights must be one of {', '.join(FORMATS)}, got {format!r}"
        )


cdef int check_magnitudes(tuple weights, str format) except -1:
    """Refuse weights that would not be finite in a format."""
    bound = FORMATS[format][2]
    for weight in weights:
        largest = max(weight.max(initial=0), -weight.min(initial=0))
        if not largest <= bound:  # nor is NaN
            raise ValueError(
                f"{format} takes weights of at most {bound:g} in magnitude, got {largest:g}"
            )


def empty_packed(int64_t out_features, int64_t in_features):
    """Make a packed matrix whose weights are still to be packed, and 0 until then."""
    cdef PackedMatrix packed = PackedMatrix.__new__(PackedMatrix)
    packed.reserve(out_features, in_features, "float32")
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
    # A panel is FA_PANEL rows of the weight.
    plan.format = weight.kind
    plan.b = weight.panels + start * weight.k * weight.itemsize
    if weight.scales != NULL:
        plan.scales = weight.scales + start
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

"""Weights in the layout that products read."""
from functools import partial

import numpy as np

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uintptr_t

from ._cpu cimport (
    FA_ALIGN, FA_FORMAT_FACTS, FA_FORMAT_FLOAT32, FA_NUM_DTYPES, FA_NUM_FORMATS,
    FA_NUM_PRECISIONS, FA_PANEL, FA_PRECISION_FACTS, fa_format, fa_pack_plan, fa_precision,
    fa_quantize_weight_plan, fa_unpack_plan, kernels,
)
from ._program cimport ELEMENT_WORK, Program

from . import arena

from .arrays import as_choice

PANEL = FA_PANEL


cdef tuple facts_of(int format):
    return format, FA_FORMAT_FACTS[format].bytes, FA_FORMAT_FACTS[format].largest


# How weights are stored, as the kernels' list says: the number of the format, the bytes of
# an element, and the largest magnitude that is taken, which rounds to something finite.
FORMATS = {FA_FORMAT_FACTS[i].name.decode(): facts_of(i) for i in range(FA_NUM_FORMATS)}
# In what products are taken, as their list says: the number of the precision in the list,
# and the largest magnitude of a weight.
PRECISIONS = {"float32": (-1, FORMATS["float32"][2])} | {
    FA_PRECISION_FACTS[i].name.decode(): (i, FA_PRECISION_FACTS[i].largest)
    for i in range(FA_NUM_PRECISIONS)
}


@cython.final
cdef class PackedMatrix:
    """Weights (out_features, in_features) in the layout that the kernels read.

    Immutable once packed, and the same for every instruction set.
    """
    def __init__(
        self, *weights, str format="float32", str precision="float32", factors=None
    ):
        """Pack one weight, or several on top of each other, of any strides.

        Products with them are taken in a precision: then they are stored in it, and their
        columns times `factors` (in_features,), of which 8 bits count; what they are
        multiplied with is divided by the factors. Weights of another format or precision
        than float32 must be finite, and stay so in it.
        """
        if self.panels != NULL:
            raise TypeError("packed weights are immutable: make new ones")
        as_choice(format, "format", FORMATS)
        as_choice(precision, "precision", PRECISIONS)
        program = Program()
        rows = [weight.shape[0] for weight in weights]
        if factors is not None:
            self.set_factors(factors, weights[0].shape[1])
            weights = tuple([weight * self.factors for weight in weights])
        self.reserve(sum(rows), weights[0].shape[1], format, precision, arena.take)
        if self.number >= 0:
            check_magnitudes(weights, precision, PRECISIONS[precision][1])
        column = 0
        for weight, size in zip(weights, rows, strict=True):
            add_pack(program, weight, self, column)
            column += size
        program.run()
        if self.kind != FA_FORMAT_FLOAT32:
            check_magnitudes(weights, format, FORMATS[format][2])

    def __dealloc__(self):
        PyBuffer_Release(&self.memory)

    cdef int reserve(
        self, int64_t n, int64_t k, str format, str precision, object allocate
    ) except -1:
        """Have zeroed memory allocated; panels start on a cache line."""
        cdef int64_t panels = (n + FA_PANEL - 1) // FA_PANEL
        cdef int kind = FORMATS[format][0], number = PRECISIONS[precision][0]
        cdef int64_t block
        cdef bint scaled = kind >= FA_NUM_DTYPES or number >= 0
        self.kind, self.number, self.precision = <fa_format>kind, number, precision
        self.format = format if number < 0 else precision
        if k and panels > (<int64_t>1 << 60) // FA_PANEL // k:
            raise MemoryError(f"weights of shape ({n}, {k}) are too large")
        self.row_bytes, self.blocks = k * FA_FORMAT_FACTS[kind].bytes, 1
        if number >= 0:
            block = FA_PRECISION_FACTS[number].block
            self.row_bytes = (k * FA_PRECISION_FACTS[number].bytes + 3) // 4 * 4
            self.blocks = max(1, (k + block - 1) // block)
        cdef int64_t size = panels * FA_PANEL * self.row_bytes
        cdef int64_t beside = panels * FA_PANEL * self.blocks * <int64_t>sizeof(float)
        self.nbytes = size + scaled * beside + (number >= 0) * beside
        PyObject_GetBuffer(
            allocate(self.nbytes + FA_ALIGN), &self.memory, PyBUF_WRITABLE
        )
        self.panels = <char *>self.memory.buf
        self.panels += -<uintptr_t>self.panels % FA_ALIGN
        if scaled:
            self.scales = <float *>(self.panels + size)
        if number >= 0:
            self.sums = <float *>(self.panels + size + beside)
        self.n, self.k = n, k
        return 0

    cdef int set_factors(self, object factors, int64_t k) except -1:
        if factors.shape != (k,) or not (np.isfinite(factors) & (factors > 0)).all():
            raise ValueError(
                f"factors must be {k} positive, finite numbers, got shape {factors.shape}"
                f" and numbers from {factors.min(initial=0)} to {factors.max(initial=0)}"
            )
        mantissa, exponent = np.frexp(factors)
        rounded = np.ldexp(np.rint(mantissa * 2**8) / 2**8, exponent)
        self.factors = rounded.astype(np.float32)
        self.inverses = np.float32(1) / self.factors
        return 0

    cdef object contents(self):
        """Panels, scales and sums as an array of bytes."""
        start = self.panels - <char *>self.memory.buf
        return np.frombuffer(<object>self.memory.obj, np.uint8)[start:start + self.nbytes]

    @property
    def shape(self):
        """(out_features, in_features)."""
        return self.n, self.k

    def unpack(self):
        """Copy the weights into a float32 array (out_features, in_features).

        Packed again in the same format, they are the same to the bit.
        """
        if self.number >= 0:
            return self.dequantized()
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

    cdef object dequantized(self):
        cdef int64_t rows = (self.n + FA_PANEL - 1) // FA_PANEL * FA_PANEL
        dtype = np.int8 if FA_PRECISION_FACTS[self.number].bytes == 1 else np.int16
        contents = self.contents()
        groups = contents[:rows * self.row_bytes].view(dtype)
        terms = 4 // groups.itemsize
        groups = groups.reshape(-1, self.row_bytes // 4, FA_PANEL, terms)
        numbers = groups.transpose(0, 2, 1, 3).reshape(rows, -1)[:self.n, :self.k]
        if self.precision == "bfloat16":
            weight = (numbers.astype(np.int32) << 16).view(np.float32)
        else:
            scales = contents[rows * self.row_bytes:].view(np.float32)
            scales = scales[:rows * self.blocks].reshape(-1, self.blocks, FA_PANEL)
            scales = scales.transpose(0, 2, 1).reshape(rows, -1)[:self.n]
            block = FA_PRECISION_FACTS[self.number].block
            weight = numbers * scales.repeat(block, axis=1)[:, :self.k]
        return weight if self.factors is None else weight * self.inverses

    def like(self, weight):
        """Pack another weight in the format and precision of this one."""
        if self.number < 0:
            return PackedMatrix(weight, format=self.format)
        return PackedMatrix(weight, precision=self.precision, factors=self.factors)

    def __reduce__(self):
        if self.number < 0:
            return partial(PackedMatrix, format=self.format), (self.unpack(),)
        state = self.shape, self.precision, self.factors, self.contents()
        return restored, state


def restored(shape, precision, factors, contents):
    """Make the packed matrix of a precision that has these contents."""
    cdef PackedMatrix packed = PackedMatrix.__new__(PackedMatrix)
    packed.reserve(shape[0], shape[1], "float32", precision, arena.take)
    if factors is not None:
        packed.set_factors(factors, packed.k)
    packed.contents()[:] = contents
    return packed


cdef int check_magnitudes(tuple weights, str format, double bound) except -1:
    """Refuse weights that would not be finite in a format."""
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
    packed.reserve(out_features, in_features, "float32", "float32", allocate)
    return packed


cdef int add_pack(
    Program program, object weight, PackedMatrix packed, int64_t column
) except -1:
    cdef Py_buffer *view = program.view(weight, "weight", "float32", 2)
    cdef fa_pack_plan *plan
    cdef fa_quantize_weight_plan *quantize
    cdef double work = ELEMENT_WORK * <double>view.shape[0] * packed.k
    if view.shape[1] != packed.k or column + view.shape[0] > packed.n:
        raise ValueError(
            f"weight of shape ({view.shape[0]}, {view.shape[1]}) does not fit "
            f"packed weights of shape {packed.shape} at row {column}"
        )
    program.hold(packed)
    if packed.number >= 0:
        quantize = <fa_quantize_weight_plan *>program.allocate(
            sizeof(fa_quantize_weight_plan)
        )
        quantize.k, quantize.n = packed.k, view.shape[0]
        quantize.b = <const float *>view.buf
        quantize.ldb, quantize.b_col = view.strides[1] // 4, view.strides[0] // 4
        quantize.precision, quantize.column = <fa_precision>packed.number, column
        quantize.packed, quantize.scales = packed.panels, packed.scales
        quantize.sums = packed.sums
        return program.add(&kernels().quantize_weight, quantize, work)
    plan = <fa_pack_plan *>program.allocate(sizeof(fa_pack_plan))
    plan.k, plan.n = packed.k, view.shape[0]
    plan.b = <const float *>view.buf
    plan.ldb, plan.b_col = view.strides[1] // 4, view.strides[0] // 4
    plan.format, plan.column = packed.kind, column
    plan.packed, plan.scales = packed.panels, packed.scales
    return program.add(&kernels().pack, plan, work)


def pack(Program program not None, weight, PackedMatrix packed not None):
    """Add the step that packs `weight` (out_features, in_features) into `packed`."""
    if tuple(weight.shape) != packed.shape:
        raise ValueError(f"weight must have shape {packed.shape}, got {weight.shape}")
    add_pack(program, weight, packed, 0)

/* SPDX-License-Identifier: BSD-3-Clause */
/* formats.h: how numbers are stored, chosen by fa_dtype or fa_format. They are widened
 * where they are loaded and rounded where they are stored; everything between is float32.
 * Rounding is integer arithmetic alone, so that every instruction set gives the same bits.
 *
 * A format has a header in formats/. The switches made of the lists call what is in it, so
 * that a name without its functions does not compile:
 *
 *     vload_<name>(p)            LANES adjacent elements, as float32
 *     store_<name>(p, x, count)  of a dtype: the first `count` elements, at most LANES, of
 * x pack_<name>(k, columns, wide, packed, scales) of integers: a panel, or some columns of
 * one, and the scale of each column */
#include "formats/bfloat16.h"
#include "formats/float16.h"
#include "formats/float32.h"
#include "formats/int8.h"

/* The bytes of an element, of a dtype or of a format. */
INLINE int64_t size_of(const int format) { return FA_FORMAT_FACTS[format].bytes; }

INLINE int has_scales(const fa_format format) { return (int)format >= FA_NUM_DTYPES; }

/* LANES adjacent elements, as float32; integers without their scales. */
INLINE vf load_as(const fa_format format, const void *p)
{
#define CASE(NAME, name, ...)                                                              \
    case FA_FORMAT_##NAME: return vload_##name(p);
    switch (format) {
        FA_FORMATS(CASE)
    }
#undef CASE
    __builtin_unreachable();
}

/* The first `count` elements, of LANES, widened; the others are 0 and are not read. */
INLINE vf widen(const fa_dtype dtype, const void *p, int64_t count)
{
    vf whole = {0};
    if (count < LANES) {
        if (count > 0) memcpy(&whole, p, (size_t)(count * size_of(dtype)));
        p = &whole;
    }
    return load_as((fa_format)dtype, p);
}

/* Store the first `count` (at most LANES) of x in the given dtype. */
INLINE void narrow(const fa_dtype dtype, void *p, vf x, int64_t count)
{
#define CASE(NAME, name, ...)                                                              \
    case FA_##NAME: store_##name(p, x, count); break;
    switch (dtype) {
        FA_DTYPES(CASE)
    }
#undef CASE
}

INLINE void widen_rows_of(const fa_dtype dtype, int64_t rows, int64_t cols, const void *x,
                          int64_t ldx, float *y, int64_t ldy)
{
    for (int64_t i = 0; i < rows; i++) {
        const char *row = (const char *)x + i * ldx * size_of(dtype);
        for (int64_t j = 0; j < cols; j += LANES) {
            vstore_tail(y + i * ldy + j, widen(dtype, row + j * size_of(dtype), cols - j),
                        cols - j);
        }
    }
}

/* y (rows, cols), ldy apart, = x (rows, cols) of any dtype, ldx apart. */
static void widen_rows(fa_dtype dtype, int64_t rows, int64_t cols, const void *x,
                       int64_t ldx, float *y, int64_t ldy)
{
#define CASE(NAME, ...)                                                                    \
    case FA_##NAME: widen_rows_of(FA_##NAME, rows, cols, x, ldx, y, ldy); break;
    switch (dtype) {
        FA_DTYPES(CASE)
    }
#undef CASE
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* half.h: float16 and bfloat16 as storage. They are widened where they are loaded and
 * rounded to nearest even where they are stored; everything between is float32. Rounding
 * is integer arithmetic alone, so that every instruction set gives the same bits. */

INLINE int64_t size_of(fa_dtype dtype)
{
    return dtype == FA_FLOAT32 ? 4 : dtype == FA_INT8 ? 1 : 2;
}

/* LANES adjacent elements, widened. */
INLINE vf load_as(const fa_dtype dtype, const void *p)
{
    switch (dtype) {
    case FA_FLOAT16: return vload_float16(p);
    case FA_BFLOAT16: return vload_bfloat16(p);
    case FA_INT8: return vload_int8(p);
    default: return vload(p);
    }
}

/* The first `count` elements, of LANES, widened; the others are 0 and are not read. */
INLINE vf widen(const fa_dtype dtype, const void *p, int64_t count)
{
    if (dtype == FA_FLOAT32) return vload_tail(p, count);
    vu16 narrow = {0};
    if (count < LANES) {
        if (count > 0) memcpy(&narrow, p, (size_t)count * 2);
        p = &narrow;
    }
    return load_as(dtype, p);
}

INLINE vu uselect(vu mask, vu a, vu b) { return (mask & a) | (~mask & b); }

/* Adding the largest bit that will be kept, less one, and the last bit kept rounds to
 * nearest even. A magnitude too small for a normal float16 is added to 1/2, whose last
 * bit is the last bit of a subnormal. */
INLINE vu narrow_float16(vf x)
{
    const vu bits = (vu)x & 0x7fffffff, sign = ((vu)x >> 16) & 0x8000;
    const vu rounded = (bits + 0xfff + ((bits >> 13) & 1)) >> 13;
    const vu normal = rounded - (112 << 10);
    const vu subnormal = (vu)((vf)bits + 0.5f) - 0x3f000000;
    vu half = uselect((vu)(bits < 0x38800000u), subnormal, normal);
    half = uselect((vu)(bits >= 0x477ff000u), (vu){0} + 0x7c00, half); /* infinity */
    half = uselect((vu)(bits > 0x7f800000u), (vu){0} + 0x7e00, half);  /* NaN */
    return half | sign;
}

INLINE vu narrow_bfloat16(vf x)
{
    const vu bits = (vu)x;
    const vu rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return uselect((vu)((bits & 0x7fffffff) > 0x7f800000u), (bits >> 16) | 0x40, rounded);
}

/* Store the first `count` (at most LANES) of x in the given dtype. */
INLINE void narrow(const fa_dtype dtype, void *p, vf x, int64_t count)
{
    if (dtype == FA_FLOAT32) {
        vstore_tail(p, x, count);
        return;
    }
    const vu wide = dtype == FA_FLOAT16 ? narrow_float16(x) : narrow_bfloat16(x);
    const vu16 result = __builtin_convertvector(wide, vu16);
    if (count >= LANES) memcpy(p, &result, sizeof result);
    else if (count > 0) memcpy(p, &result, (size_t)count * 2);
}

/* y (rows, cols), ldy apart, = x (rows, cols) of any dtype, ldx apart. */
static void widen_rows(fa_dtype dtype, int64_t rows, int64_t cols, const void *x,
                       int64_t ldx, float *y, int64_t ldy)
{
    for (int64_t i = 0; i < rows; i++) {
        const char *row = (const char *)x + i * ldx * 2;
        for (int64_t j = 0; j < cols; j += LANES) {
            const vf wide = dtype == FA_FLOAT16 ? widen(FA_FLOAT16, row + 2 * j, cols - j)
                                                : widen(FA_BFLOAT16, row + 2 * j, cols - j);
            vstore_tail(y + i * ldy + j, wide, cols - j);
        }
    }
}

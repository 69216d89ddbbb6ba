/* SPDX-License-Identifier: BSD-3-Clause */
/* bfloat16.h: the upper half of a float32, rounded to nearest even. narrow.h loads it. */

INLINE vu bfloat16_bits(vf x)
{
    const vu bits = (vu)x;
    const vu rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const vu is_nan = (vu)((bits & 0x7fffffff) > 0x7f800000u);
    return uselect(is_nan, (bits >> 16) | 0x40, rounded);
}

INLINE void store_bfloat16(void *p, vf x, int64_t count)
{
    vstore_low_halves(p, bfloat16_bits(x), count);
}

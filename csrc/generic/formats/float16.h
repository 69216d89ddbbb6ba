/* SPDX-License-Identifier: BSD-3-Clause */
/* float16.h: IEEE 754's half precision, rounded to nearest even. narrow.h loads it. */

/* Adding the largest bit that will be kept, less one, and the last bit kept rounds to
 * nearest even. A magnitude too small for a normal float16 is added to 1/2, whose last
 * bit is the last bit of a subnormal. */
INLINE void store_float16(void *p, vf x, int64_t count)
{
    const vu bits = (vu)x & 0x7fffffff, sign = ((vu)x >> 16) & 0x8000;
    const vu rounded = (bits + 0xfff + ((bits >> 13) & 1)) >> 13;
    const vu normal = rounded - (112 << 10);
    const vu subnormal = (vu)((vf)bits + 0.5f) - 0x3f000000;
    vu half = uselect((vu)(bits < 0x38800000u), subnormal, normal);
    half = uselect((vu)(bits >= 0x477ff000u), (vu){0} + 0x7c00, half); /* infinity */
    half = uselect((vu)(bits > 0x7f800000u), (vu){0} + 0x7e00, half);  /* NaN */
    vstore_low_halves(p, half | sign, count);
}

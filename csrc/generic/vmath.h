/* SPDX-License-Identifier: BSD-3-Clause */
/* vmath.h: elementary functions on vectors.
 *
 * Each is a polynomial found by weighted minimax fitting (Lawson's iteration) against
 * float64, then rounded to float32; the error that stands beside it was measured over a
 * dense grid of its interval with the evaluation below.
 */

/* Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits; the 127 on top
 * makes those bits the exponent of 2^n. */
#define ROUND_TO_EXPONENT 0x1.8000fep23f

/* 2^n from n + ROUND_TO_EXPONENT. n = -127 gives exactly 0. */
INLINE vf pow2_of_rounded(vf rounded) { return (vf)((vi)rounded << 23); }

/* Functions named _each take up to EACH vectors and do every step to all of them. One
 * vector alone is a chain of operations that wait for each other, and the chains of a few
 * vectors, one after the other, fill the queue in which a processor looks for work. */
enum { EACH = REGISTERS / 4 };

/* p = terms[0] r^degree + ... + terms[degree] for n vectors. */
INLINE void polynomial_each(const int n, const int degree, const float *terms, const vf *r,
                            vf *p)
{
    UNROLL
    for (int i = 0; i < n; i++) p[i] = vsplat(terms[0]);
    UNROLL
    for (int t = 1; t <= degree; t++) {
        UNROLL
        for (int i = 0; i < n; i++) p[i] = vfma(p[i], r[i], vsplat(terms[t]));
    }
}

/* x = 2^y for n vectors, where y = scale x and 2^-100 <= scale <= 2^100. At most 1 ulp from
 * the true value for y from -126 to 127, beside what the rounding of `scale` makes of y.
 * Below -126.5 the result is exactly 0, -infinity included: a masked score has the weight 0
 * and not a small one. NaN stays NaN. y above 127.5 is not a use of this function. */
INLINE void vexp2_each(const int n, const vf scale, vf *x)
{
    static const float terms[] = {0x1.41fbbap-13f,
                                  0x1.5f3e54p-10f,
                                  0x1.3b2d4cp-7f,
                                  0x1.c6aee8p-5f,
                                  0x1.ebfbdcp-3f,
                                  0x1.62e430p-1f,
                                  1.0f};
    const vf lowest = -127.0f / scale;
    vf rounded[EACH], r[EACH];
    UNROLL
    for (int i = 0; i < n; i++) {
        const vf cut = vmax(lowest, x[i]);
        rounded[i] = vfma(cut, scale, vsplat(ROUND_TO_EXPONENT));
        r[i] = vfma(cut, scale, ROUND_TO_EXPONENT - rounded[i]); /* in [-1/2, 1/2] */
    }
    polynomial_each(n, 6, terms, r, x);
    UNROLL
    for (int i = 0; i < n; i++) x[i] *= pow2_of_rounded(rounded[i]);
}

INLINE vf vexp2(const vf scale, vf x)
{
    vexp2_each(1, scale, &x);
    return x;
}

#define LOG2_E 0x1.715476p+0f
#define LN2_HIGH 0x1.62p-1f /* 9 bits: n * LN2_HIGH is exact */
#define LN2_LOW 0x1.c85fep-10f

/* e^x for x <= 0, at most 1 ulp from the true value down to -87.3; 0 below -87.7. Cody
 * and Waite's two-step reduction keeps the ulp where x * log2(e) alone would not. */
INLINE vf vexp_nonpositive(vf x)
{
    x = vmax(vsplat(-88.0f), x);
    const vf rounded = vfma(x, vsplat(LOG2_E), vsplat(ROUND_TO_EXPONENT));
    const vf n = rounded - ROUND_TO_EXPONENT;
    const vf r = vfma(n, vsplat(-LN2_LOW), vfma(n, vsplat(-LN2_HIGH), x));
    vf p = vsplat(0x1.6a244ap-10f);
    p = vfma(p, r, vsplat(0x1.1239d4p-7f));
    p = vfma(p, r, vsplat(0x1.5558f2p-5f));
    p = vfma(p, r, vsplat(0x1.555492p-3f));
    p = vfma(p, r, vsplat(0x1.fffffcp-2f));
    p = vfma(p, r, vsplat(1.0f));
    p = vfma(p, r, vsplat(1.0f));
    return p * pow2_of_rounded(rounded);
}

#define LN2 0x1.62e43p-1f

/* tanh x, at most 4 ulp from the true value: e / (e + 2) with e = 2^y - 1, y = 2 |x| log2
 * e, and e formed as 2^n (2^r - 1) + (2^n - 1), so that nothing cancels near 0. NaN stays.
 */
INLINE vf vtanh(vf x)
{
    const vf a = -vmax(vsplat(-20.0f), -vabs(x)); /* beyond 10 the result rounds to 1 */
    const vf rounded = vfma(a, vsplat(2 * LOG2_E), vsplat(ROUND_TO_EXPONENT));
    const vf n = rounded - ROUND_TO_EXPONENT;
    const vf r = vfma(n, vsplat(-LN2_LOW), vfma(n, vsplat(-LN2_HIGH), a + a));
    vf p = vsplat(0x1.6a244ap-10f); /* (e^r - 1) / r, the terms of vexp_nonpositive */
    p = vfma(p, r, vsplat(0x1.1239d4p-7f));
    p = vfma(p, r, vsplat(0x1.5558f2p-5f));
    p = vfma(p, r, vsplat(0x1.555492p-3f));
    p = vfma(p, r, vsplat(0x1.fffffcp-2f));
    p = vfma(p, r, vsplat(1.0f));
    const vf power = pow2_of_rounded(rounded);
    const vf e = vfma(power, p * r, power - 1.0f);
    const vi sign = (vi)x & (int32_t)0x80000000;
    return (vf)((vi)(e / (e + 2.0f)) | sign);
}

/* log x for normal positive x, within 2 ulp of max(1, |log x|): x = 2^e m with m from
 * sqrt(1/2) to sqrt(2), log m = 2 artanh s with s = (m - 1) / (m + 1). NaN stays. */
INLINE vf vlog(vf x)
{
    const vi shifted = (vi)x - 0x3f3504f3;
    const vi exponent = shifted >> 23;
    const vf m = (vf)((vi)x - (exponent << 23));
    const vf s = (m - 1.0f) / (m + 1.0f), s2 = s * s;
    vf p = vsplat(2.0f / 9.0f);
    p = vfma(p, s2, vsplat(2.0f / 7.0f));
    p = vfma(p, s2, vsplat(2.0f / 5.0f));
    p = vfma(p, s2, vsplat(2.0f / 3.0f));
    p = vfma(p, s2, vsplat(2.0f));
    const vf e = __builtin_convertvector(exponent, vf);
    return vselect(x == x, vfma(e, vsplat(LN2), p * s), x);
}

/* log(1 + x) for x >= 0, at most 4 ulp from the true value: log u + lost / u, where u is
 * 1 + x, rounded, and `lost` what that left out. Infinity and NaN stay. */
INLINE vf vlog1p(vf x)
{
    const vf u = 1.0f + x, lost = x - (u - 1.0f);
    return vselect(u <= 0x1.fffffep127f, vlog(u) + lost / u, x);
}

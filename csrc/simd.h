/* SPDX-License-Identifier: BSD-3-Clause */
/* simd.h: vectors of LANES floats, in the GNU C vector extension.
 *
 * + - * / & | ~ << and comparisons are written as operators; a comparison gives a vi of
 * all-ones or all-zero lanes. What the language lacks stands here, once, with an
 * intrinsic where the instruction set has one; no other file names an instruction.
 *
 * VECTORS of them make a FA_PANEL: 16 lanes are the unit of every reduction and of every
 * panel, so a result does not depend on how wide a vector is.
 */
#include "fastattn.h"
#include "target.h"

#include <math.h>
#include <string.h>

enum { VECTORS = FA_PANEL / LANES };

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
typedef float vf_unaligned __attribute__((vector_size(LANES * 4), aligned(4)));
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));
typedef float v4_unaligned __attribute__((vector_size(16), aligned(4)));

INLINE vf vload(const float *p) { return *(const vf_unaligned *)p; }
INLINE void vstore(float *p, vf x) { *(vf_unaligned *)p = x; }

/* x - 0 and not x + 0, which would turn -0 into +0. */
INLINE vf vsplat(float x) { return x - (vf){0}; }

/* a * b + c, rounded once where the instruction set can. */
INLINE vf vfma(vf a, vf b, vf c)
{
#if FA_FMA && LANES == 16
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif FA_FMA && LANES == 8
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif FA_FMA && LANES == 4
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* a where the mask is set, b elsewhere. */
INLINE vf vselect(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }

/* a > b ? a : b, to the letter: b where either is NaN, so a NaN in b survives. That is
 * what x86's max does; Arm's does not. */
INLINE vf vmax(vf a, vf b)
{
#if FA_FMA && LANES == 16
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif FA_FMA && LANES == 8
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vselect(a > b, a, b);
#endif
}

INLINE vf vabs(vf x) { return (vf)((vi)x & 0x7fffffff); }

/* Whether a bit is set in any lane. */
INLINE int any_lane(vi x)
{
    int32_t result = 0;
    UNROLL
    for (int i = 0; i < LANES; i++) result |= x[i];
    return result != 0;
}

/* All ones in the first `count` lanes. */
INLINE vi vfirst(int64_t count)
{
    vi lane;
    UNROLL
    for (int i = 0; i < LANES; i++) lane[i] = i;
    return lane < (int32_t)(count < LANES ? count : LANES);
}

/* The first `count` (0 to LANES) elements; the other lanes are 0 and are not read. */
INLINE vf vload_tail(const float *p, int64_t count)
{
    if (count >= LANES) return vload(p);
    vf x = {0};
    if (count > 0) memcpy(&x, p, (size_t)count * sizeof(float));
    return x;
}

INLINE void vstore_tail(float *p, vf x, int64_t count)
{
    if (count >= LANES) vstore(p, x);
    else if (count > 0) memcpy(p, &x, (size_t)count * sizeof(float));
}

/* The reductions of 16 lanes, with one fixed tree: lane i with lane i + 8, then 4, 2, 1.
 * The lanes may stand in one vector or in four. */
INLINE float sum16(const vf *x)
{
    float lane[FA_PANEL];
    memcpy(lane, x, sizeof lane);
    UNROLL
    for (int i = 0; i < 8; i++) lane[i] += lane[i + 8];
    UNROLL
    for (int i = 0; i < 4; i++) lane[i] += lane[i + 4];
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

INLINE float max16(const vf *x)
{
    float lane[FA_PANEL];
    memcpy(lane, x, sizeof lane);
    float result = lane[0];
    for (int i = 1; i < FA_PANEL; i++) {
        result = result > lane[i] || result != result ? result : lane[i];
    }
    return result;
}

/* y[j, i] = x[i, j] for 4 rows of x, ldx apart, and 4 rows of y, ldy apart. */
INLINE void transpose4x4(const float *x, int64_t ldx, float *y, int64_t ldy)
{
    const v4 a = *(const v4_unaligned *)x, b = *(const v4_unaligned *)(x + ldx);
    const v4 c = *(const v4_unaligned *)(x + 2 * ldx);
    const v4 d = *(const v4_unaligned *)(x + 3 * ldx);
    const v4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const v4 ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const v4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const v4 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(v4_unaligned *)y = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    *(v4_unaligned *)(y + ldy) = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    *(v4_unaligned *)(y + 2 * ldy) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    *(v4_unaligned *)(y + 3 * ldy) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

/* y (cols, rows) = the transpose of x (rows, cols). */
static void transpose(int64_t rows, int64_t cols, const float *x, int64_t ldx, float *y,
                      int64_t ldy)
{
    for (int64_t i = 0; i < rows; i += 4) {
        for (int64_t j = 0; j < cols; j += 4) {
            if (i + 4 <= rows && j + 4 <= cols) {
                transpose4x4(x + i * ldx + j, ldx, y + j * ldy + i, ldy);
                continue;
            }
            for (int64_t ii = i; ii < rows && ii < i + 4; ii++) {
                for (int64_t jj = j; jj < cols && jj < j + 4; jj++) {
                    y[jj * ldy + ii] = x[ii * ldx + jj];
                }
            }
        }
    }
}

INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Part `index` of `length` things in `parts` parts whose sizes differ by at most one:
 * where it starts. The part ends where the next one starts. */
INLINE int64_t part_start(int64_t length, int64_t parts, int64_t index)
{
    return length / parts * index + (index < length % parts ? index : length % parts);
}

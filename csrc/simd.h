/* SPDX-License-Identifier: BSD-3-Clause */
/* simd.h: vectors of LANES floats, in the GNU C vector extension.
 *
 * + - * / & | ~ << and comparisons are written as operators; a comparison gives a vi of
 * all-ones or all-zero lanes. What the language lacks stands here, once, with an
 * intrinsic where the instruction set has one; beside it only narrow.h names one. A stub
 * says which set it is, by FA_AVX512, FA_AVX2 or FA_NEON, and how long its vectors are:
 * neither follows from the other.
 *
 * VECTORS of them make a FA_PANEL: 16 lanes are the unit of every reduction and of every
 * panel, so a result does not depend on how wide a vector is.
 */
#include "fastattn.h"
#include "target.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

enum { VECTORS = FA_PANEL / LANES };

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
typedef float vf_unaligned __attribute__((vector_size(LANES * 4), aligned(4)));
typedef float v4 __attribute__((vector_size(16)));
typedef float v8 __attribute__((vector_size(32)));
typedef int32_t v4i __attribute__((vector_size(16)));
typedef float v4_unaligned __attribute__((vector_size(16), aligned(4)));

INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

INLINE vf vload(const float *p) { return *(const vf_unaligned *)p; }
INLINE void vstore(float *p, vf x) { *(vf_unaligned *)p = x; }

INLINE vi vload_int(const int32_t *p)
{
    vi x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* x - 0 and not x + 0, which would turn -0 into +0. */
INLINE vf vsplat(float x) { return x - (vf){0}; }

/* a * b + c, rounded once where the instruction set can. */
INLINE vf vfma(vf a, vf b, vf c)
{
#if defined(FA_AVX512)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(FA_AVX2)
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(FA_NEON)
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
#if defined(FA_AVX512)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(FA_AVX2)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vselect(a > b, a, b);
#endif
}

/* The larger one, or NaN where either is NaN. */
INLINE vf vmax_or_nan(vf a, vf b) { return vselect(a != a, a, vmax(a, b)); }

/* a < b ? a : b, to the letter. */
INLINE vf vmin(vf a, vf b)
{
#if defined(FA_AVX512)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(FA_AVX2)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vselect(a < b, a, b);
#endif
}

/* x, or the limit of its sign where it is beyond that; NaN stays. */
INLINE vf vclip(vf x, vf limit) { return vmin(limit, vmax(-limit, x)); }

INLINE vf vabs(vf x) { return (vf)((vi)x & 0x7fffffff); }

/* Whether a bit is set in any lane. */
INLINE int any_lane(vi x)
{
    int32_t result = 0;
    UNROLL
    for (int i = 0; i < LANES; i++) result |= x[i];
    return result != 0;
}

/* The largest of numbers that are not NaN. */
INLINE float largest_lane(vf x)
{
    float lane[LANES];
    memcpy(lane, &x, sizeof lane);
    UNROLL
    for (int n = LANES / 2; n; n /= 2) {
        UNROLL
        for (int i = 0; i < n; i++) lane[i] = lane[i] > lane[i + n] ? lane[i] : lane[i + n];
    }
    return lane[0];
}

/* All ones in the first `count` lanes. */
INLINE vi vfirst(int64_t count)
{
    vi lane;
    UNROLL
    for (int i = 0; i < LANES; i++) lane[i] = i;
    return lane < (int32_t)min64(count, LANES);
}

/* The first `count` (0 to LANES) elements; the other lanes are 0 and are not read. */
INLINE vf vload_tail(const float *p, int64_t count)
{
    if (count >= LANES) return vload(p);
#if defined(FA_AVX512)
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << (count > 0 ? count : 0)) - 1), p);
#elif defined(FA_AVX2)
    return (vf)_mm256_maskload_ps(p, (__m256i)vfirst(count));
#else
    vf x = {0};
    if (count > 0) memcpy(&x, p, (size_t)count * sizeof(float));
    return x;
#endif
}

INLINE void vstore_tail(float *p, vf x, int64_t count)
{
    if (count >= LANES) vstore(p, x);
    else if (count > 0) memcpy(p, &x, (size_t)count * sizeof(float));
}

/* 64 bools as the bits of a word, the first one lowest; every byte but 0 is true. Where
 * there is no instruction, eight at a time: each byte becomes 0 or 1, and the
 * multiplication moves byte i to bit 56 + i. */
INLINE uint64_t bits_of_bools(const uint8_t *p)
{
#if defined(FA_AVX512)
    const __m512i bools = _mm512_loadu_si512(p);
    return _mm512_test_epi8_mask(bools, bools);
#elif defined(FA_AVX2)
    const __m256i zero = _mm256_setzero_si256();
    const __m256i low = _mm256_cmpeq_epi8(_mm256_loadu_si256((const void *)p), zero);
    const __m256i high =
        _mm256_cmpeq_epi8(_mm256_loadu_si256((const void *)(p + 32)), zero);
    return ~((uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32 |
             (uint32_t)_mm256_movemask_epi8(low));
#else
    uint64_t word = 0;
    for (int j = 0; j < 64; j += 8) {
        uint64_t x = 0;
        UNROLL
        for (int i = 0; i < 8; i++) x |= (uint64_t)p[j + i] << 8 * i;
        x |= x >> 4;
        x |= x >> 2;
        x |= x >> 1;
        word |= ((x & 0x0101010101010101u) * 0x0102040810204080u >> 56) << j;
    }
    return word;
#endif
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

/* A row is summed in blocks of so many columns, and the sums of the blocks in double: one
 * chain for all of a long row would lose an ulp for every 16 columns. */
enum { SUM_BLOCK = 512 };

/* How many columns the block that starts at `start` has. */
INLINE int64_t block_columns(int64_t start, int64_t n)
{
    return min64(n - start, SUM_BLOCK);
}

typedef uint64_t vu64 __attribute__((vector_size(LANES * 4)));

/* The elements 1 0 3 2 ... */
INLINE vf swap_neighbours(vf x) { return (vf)((vu64)x << 32 | (vu64)x >> 32); }

/* Part `index` of `length` things in `parts` parts whose sizes differ by at most one:
 * where it starts. The part ends where the next one starts. */
INLINE int64_t part_start(int64_t length, int64_t parts, int64_t index)
{
    return length / parts * index + min64(index, length % parts);
}

/* The rows of a task where each has `rows_each`, the last one perhaps fewer. */
typedef struct {
    int64_t start, end;
} row_range;

INLINE row_range rows_of_task(int64_t task, int64_t rows_each, int64_t rows)
{
    return (row_range){task * rows_each, min64((task + 1) * rows_each, rows)};
}

/* What every run function may rely on, checked in debug builds. */
INLINE void assert_task(int64_t task, int64_t tasks, const void *scratch)
{
    assert(0 <= task && task < tasks);
    assert((uintptr_t)scratch % FA_ALIGN == 0);
    (void)task, (void)tasks, (void)scratch;
}

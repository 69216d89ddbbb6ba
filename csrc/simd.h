/* SPDX-License-Identifier: BSD-3-Clause */
/* simd.h: vectors of LANES floats, in the GNU C vector extension.
 *
 * + - * / & | ~ << and comparisons are written as operators; a comparison gives a vi of
 * all-ones or all-zero lanes. What the language lacks stands here, once, with an
 * intrinsic where the instruction set has one; no other file names an instruction. A stub
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

typedef uint32_t vu __attribute__((vector_size(LANES * 4)));
typedef uint16_t vu16 __attribute__((vector_size(LANES * 2)));
typedef int8_t vi8 __attribute__((vector_size(LANES)));

INLINE vu uselect(vu mask, vu a, vu b) { return (mask & a) | (~mask & b); }

/* Store the lower 16 bits of the first `count` (at most LANES) elements. */
INLINE void vstore_low_halves(void *p, vu x, int64_t count)
{
#if defined(FA_AVX2)
    /* Those of each half of x go to its first eight bytes. */
    const __m256i first = _mm256_set1_epi64x(0x0d0c090805040100);
    const __m256i low = _mm256_shuffle_epi8((__m256i)x, first);
    const vu16 halves = (vu16)_mm_unpacklo_epi64(_mm256_castsi256_si128(low),
                                                 _mm256_extracti128_si256(low, 1));
#else
    const vu16 halves = __builtin_convertvector(x, vu16);
#endif
    if (count >= LANES) memcpy(p, &halves, sizeof halves);
    else if (count > 0) memcpy(p, &halves, (size_t)count * 2);
}

/* Store the lowest byte of the first `count` (at most LANES) elements. */
INLINE void vstore_low_bytes(void *p, vi x, int64_t count)
{
#if defined(FA_AVX512)
    const vi8 bytes = (vi8)_mm512_cvtepi32_epi8((__m512i)x);
#elif defined(FA_AVX2)
    /* Those of each half go to its first four bytes. */
    const __m256i first = _mm256_set1_epi32(0x0c080400);
    const __m256i halves = _mm256_shuffle_epi8((__m256i)x, first);
    const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(halves),
                                            _mm256_extracti128_si256(halves, 1));
    vi8 bytes;
    memcpy(&bytes, &both, sizeof bytes);
#else
    const vi8 bytes = __builtin_convertvector(x, vi8);
#endif
    if (count >= LANES) memcpy(p, &bytes, sizeof bytes);
    else if (count > 0) memcpy(p, &bytes, (size_t)count);
}

/* LANES adjacent float16, widened. Where there is no instruction: the exponent and mantissa
 * of a float16 stand 13 bits lower than those of a float32 and its exponent's bias is 112
 * less, so shift, then multiply by 2^112, which also normalises subnormals. Infinity and
 * NaN get the largest exponent afterwards. */
INLINE vf vload_float16(const void *p)
{
#if defined(FA_AVX512)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256(p));
#elif defined(FA_AVX2)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128(p));
#elif defined(FA_NEON)
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
    vu16 bits;
    memcpy(&bits, p, sizeof bits);
    const vu half = __builtin_convertvector(bits, vu);
    const vu magnitude = (half & 0x7fff) << 13;
    const vu finite = (vu)((vf)magnitude * 0x1p112f);
    const vu special = magnitude | 0x7f800000;
    const vu is_special = (vu)(magnitude >= 0x0f800000u);
    return (vf)((is_special & special) | (~is_special & finite) | (half & 0x8000) << 16);
#endif
}

/* LANES adjacent bfloat16, widened: they are the upper halves of float32. */
INLINE vf vload_bfloat16(const void *p)
{
#if defined(FA_AVX512)
    const vu bits = (vu)_mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
#elif defined(FA_AVX2)
    const vu bits = (vu)_mm256_cvtepu16_epi32(_mm_loadu_si128(p));
#else
    vu16 narrow;
    memcpy(&narrow, p, sizeof narrow);
    const vu bits = __builtin_convertvector(narrow, vu);
#endif
    return (vf)(bits << 16);
}

/* LANES adjacent int8, converted. */
INLINE vf vload_int8(const void *p)
{
#if defined(FA_AVX512)
    const vi x = (vi)_mm512_cvtepi8_epi32(_mm_loadu_si128(p));
#elif defined(FA_AVX2)
    const vi x = (vi)_mm256_cvtepi8_epi32(_mm_loadl_epi64(p));
#elif defined(FA_NEON)
    int32_t bits;
    memcpy(&bits, p, sizeof bits);
    const int16x8_t wide = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(bits)));
    const vi x = (vi)vmovl_s16(vget_low_s16(wide));
#else
    vi8 narrow;
    memcpy(&narrow, p, sizeof narrow);
    const vi x = __builtin_convertvector(narrow, vi);
#endif
    return __builtin_convertvector(x, vf);
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

/* The elements of a and b in turn: a0 b0 a1 b1 ..., the first half of them or the second.
 */
INLINE vf interleave_low(vf a, vf b)
{
#if LANES == 16
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                   23);
#elif LANES == 8
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}

INLINE vf interleave_high(vf a, vf b)
{
#if LANES == 16
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14,
                                   30, 15, 31);
#elif LANES == 8
    return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

typedef uint64_t vu64 __attribute__((vector_size(LANES * 4)));

/* The elements 1 0 3 2 ... */
INLINE vf swap_neighbours(vf x) { return (vf)((vu64)x << 32 | (vu64)x >> 32); }

/* x[i][j] and x[j][i] change places. Interleaving the first half of the vectors with the
 * second moves the last bit of an element's vector to the front of its lane; after log2
 * LANES rounds the two have changed roles. */
INLINE void transpose_square(vf *x)
{
    UNROLL
    for (int round = 1; round < LANES; round *= 2) {
        vf y[LANES];
        UNROLL
        for (int i = 0; i < LANES / 2; i++) {
            y[2 * i] = interleave_low(x[i], x[i + LANES / 2]);
            y[2 * i + 1] = interleave_high(x[i], x[i + LANES / 2]);
        }
        UNROLL
        for (int i = 0; i < LANES; i++) x[i] = y[i];
    }
}

/* The transpose of the corner (rows, cols) of x, at most LANES each; 0 in what is beyond.
 */
INLINE void load_transposed(vf *y, const float *x, int64_t ldx, int64_t rows, int64_t cols)
{
    UNROLL
    for (int i = 0; i < LANES; i++) {
        y[i] = i < rows ? vload_tail(x + i * ldx, cols) : vsplat(0.0f);
    }
    transpose_square(y);
}

/* y (cols, width) = the transpose of x (rows, cols), or of its corner; 0 beyond `rows`. */
INLINE void transpose_corner(int64_t rows, int64_t cols, const float *x, int64_t ldx,
                             int64_t width, float *y, int64_t ldy)
{
    vf square[LANES];
    load_transposed(square, x, ldx, rows, cols);
    UNROLL
    for (int c = 0; c < LANES; c++) {
        if (c < cols) vstore_tail(y + c * ldy, square[c], width);
    }
}

/* Whole squares, as almost all are, need not ask how long they are. */
static void transpose(int64_t rows, int64_t cols, const float *x, int64_t ldx,
                      int64_t width, float *y, int64_t ldy)
{
    for (int64_t i = 0; i < width; i += LANES) {
        for (int64_t j = 0; j < cols; j += LANES) {
            const float *from = x + i * ldx + j;
            float *to = y + j * ldy + i;
            if (rows - i >= LANES && cols - j >= LANES) {
                transpose_corner(LANES, LANES, from, ldx, LANES, to, ldy);
            } else {
                transpose_corner(rows - i, cols - j, from, ldx, width - i, to, ldy);
            }
        }
    }
}

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

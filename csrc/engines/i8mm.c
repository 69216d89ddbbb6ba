/* SPDX-License-Identifier: BSD-3-Clause */
/* Arm's products of small matrices of int8: 6 x 16 tiles, 24 of 32 registers accumulate.
 *
 * An instruction takes two rows by two columns and 8 terms, which is two groups: beside
 * each other in a row of A, 64 bytes apart in a panel. */
#if defined(__aarch64__)
#include "../fastattn.h"
#include "../target.h"
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

enum { ROWS = 6, TERMS = 8, COLUMN_PAIRS = FA_PANEL / 2 };

FA_TARGET_BEGIN("arch=armv8.2-a+i8mm")

/* TERMS of a row, or of its last group and 0. */
INLINE uint64_t terms_of(const char *row, const int whole)
{
    uint64_t terms = 0;
    memcpy(&terms, row, whole ? TERMS : TERMS / 2);
    return terms;
}

INLINE void add_terms(const int rows, const int whole, const char *a, int64_t lda,
                      const char *b, int32x4_t acc[][COLUMN_PAIRS])
{
    uint8x16_t row_pairs[ROWS / 2];
    UNROLL
    for (int i = 0; i < rows; i += 2) {
        const uint64x2_t pair = {terms_of(a + i * lda, whole),
                                 i + 1 < rows ? terms_of(a + (i + 1) * lda, whole) : 0};
        row_pairs[i / 2] = (uint8x16_t)pair;
    }
    UNROLL
    for (int j = 0; j < COLUMN_PAIRS; j += 2) {
        const int32x4_t first = vld1q_s32((const int32_t *)(b + j * 8));
        const int32x4_t second =
            whole ? vld1q_s32((const int32_t *)(b + FA_ALIGN + j * 8)) : vdupq_n_s32(0);
        const int8x16_t left = (int8x16_t)vzip1q_s32(first, second);
        const int8x16_t right = (int8x16_t)vzip2q_s32(first, second);
        UNROLL
        for (int i = 0; i < rows; i += 2) {
            int32x4_t *sums = &acc[i / 2][j];
            sums[0] = vusmmlaq_s32(sums[0], row_pairs[i / 2], left);
            sums[1] = vusmmlaq_s32(sums[1], row_pairs[i / 2], right);
        }
    }
}

INLINE void run_rows(const int rows, const fa_group_tile *tile)
{
    int32x4_t acc[ROWS / 2][COLUMN_PAIRS];
    const char *a = tile->a, *b = tile->b;
    UNROLL
    for (int i = 0; i < rows; i += 2) {
        UNROLL
        for (int j = 0; j < COLUMN_PAIRS; j++) acc[i / 2][j] = vdupq_n_s32(0);
    }
    for (int64_t g = 0; g + 1 < tile->groups; g += 2) {
        add_terms(rows, 1, a, tile->lda, b, acc);
        a += TERMS;
        b += 2 * FA_ALIGN;
    }
    if (tile->groups % 2) add_terms(rows, 0, a, tile->lda, b, acc);
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int j = 0; j < COLUMN_PAIRS; j++) {
            const int64x2_t pair = (int64x2_t)acc[i / 2][j];
            memcpy(tile->c + i * FA_PANEL + 2 * j, (const int64_t *)&pair + i % 2, 8);
        }
    }
}

static void multiply_int8(const fa_group_tile *tile)
{
    switch (tile->rows) {
    case 6: run_rows(6, tile); break;
    case 5: run_rows(5, tile); break;
    case 4: run_rows(4, tile); break;
    case 3: run_rows(3, tile); break;
    case 2: run_rows(2, tile); break;
    case 1: run_rows(1, tile); break;
    }
}

FA_TARGET_END

static int supported(void)
{
#if defined(__linux__)
    return getauxval(AT_HWCAP2) >> 13 & 1; /* HWCAP2_I8MM, which older headers lack */
#elif defined(__ARM_FEATURE_MATMUL_INT8)
    return 1;
#else
    return 0;
#endif
}

const fa_engine fa_engine_i8mm = {
    "i8mm",
    supported,
    {[FA_IN_INT8] = {ROWS, 1, multiply_int8}},
};
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Arm's bfloat16: 6 x 16 tiles, 24 of 32 registers accumulate. Its instructions for dot
 * products and matrices round products and sums in a way of their own; these two are
 * multiply-adds, rounded once. */
#if defined(__aarch64__)
#include "../fastattn.h"
#include "../target.h"
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#define ROWS 6
#define PANELS 1

FA_TARGET_BEGIN("arch=armv8.2-a+bf16")

typedef int32_t words __attribute__((vector_size(16)));
typedef float32x4_t sums;

INLINE sums add_products(const fa_precision precision, words a, words b, sums acc)
{
    (void)precision;
    acc = vbfmlaltq_f32(acc, (bfloat16x8_t)a, (bfloat16x8_t)b);
    return vbfmlalbq_f32(acc, (bfloat16x8_t)a, (bfloat16x8_t)b);
}

#include "tile.h"

static void multiply_bfloat16(const fa_group_tile *t) { run_tile(FA_IN_BFLOAT16, ROWS, t); }

FA_TARGET_END

static int supported(void)
{
#if defined(__linux__)
    return getauxval(AT_HWCAP2) >> 14 & 1; /* HWCAP2_BF16, which older headers lack */
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    return 1;
#else
    return 0;
#endif
}

const fa_engine fa_engine_bf16 = {
    "bf16",
    supported,
    {[FA_IN_BFLOAT16] = {ROWS, PANELS, multiply_bfloat16}},
};
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Arm's dot products: 6 x 16 tiles, 24 of 32 registers accumulate. The instruction takes
 * signed integers alone. */
#if defined(__aarch64__)
#include "../fastattn.h"
#include "../target.h"
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#define ROWS 6
#define PANELS 1
#define OFFSET 128

FA_TARGET_BEGIN("arch=armv8.2-a+dotprod")

typedef int32_t words __attribute__((vector_size(16)));
typedef words sums;

INLINE sums add_products(const fa_precision precision, words a, words b, sums acc)
{
    (void)precision;
    const int8x16_t shifted = (int8x16_t)a ^ vdupq_n_s8(-OFFSET);
    return (sums)vdotq_s32((int32x4_t)acc, (int8x16_t)b, shifted);
}

#include "tile.h"

static void multiply_int8(const fa_group_tile *t) { run_tile(FA_IN_INT8, ROWS, t); }

FA_TARGET_END

static int supported(void)
{
#if defined(__linux__)
    return getauxval(AT_HWCAP) >> 20 & 1; /* HWCAP_ASIMDDP, which older headers lack */
#elif defined(__ARM_FEATURE_DOTPROD)
    return 1;
#else
    return 0;
#endif
}

const fa_engine fa_engine_dotprod = {
    "dotprod",
    supported,
    {[FA_IN_INT8] = {ROWS, PANELS, multiply_int8, OFFSET}},
};
#endif

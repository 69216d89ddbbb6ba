/* SPDX-License-Identifier: BSD-3-Clause */
/* AVX2: 6 x 16 tiles, 12 of 16 registers accumulate; of int8 5 x 16 and of bfloat16 4 x 16,
 * which need more beside them. */
#if defined(__x86_64__)
#include "../fastattn.h"
#include "../target.h"
#include <string.h>
#define ROWS 6
#define INT8_ROWS 5
#define BFLOAT16_ROWS 4
#define PANELS 1

FA_TARGET_BEGIN("avx2,fma")

typedef int32_t words __attribute__((vector_size(32)));
typedef words sums;

INLINE sums add_products(const fa_precision precision, words a, words b, sums acc)
{
    if (precision == FA_IN_INT8) { /* weights are such that two products fit 16 bits */
        const __m256i pairs = _mm256_maddubs_epi16((__m256i)a, (__m256i)b);
        return acc + (words)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    }
    if (precision == FA_IN_INT16) {
        return acc + (words)_mm256_madd_epi16((__m256i)a, (__m256i)b);
    }
    __asm__("" : "+x"(a)); /* or gcc takes its parts before they are spread over lanes */
    const words upper = (words){0} + ~0xffff;
    const __m256 second =
        _mm256_fmadd_ps((__m256)(a & upper), (__m256)(b & upper), (__m256)acc);
    return (sums)_mm256_fmadd_ps((__m256)(a << 16), (__m256)(b << 16), second);
}

#include "tile.h"

static void multiply_int8(const fa_group_tile *t) { run_tile(FA_IN_INT8, INT8_ROWS, t); }

static void multiply_int16(const fa_group_tile *t) { run_tile(FA_IN_INT16, ROWS, t); }

static void multiply_bfloat16(const fa_group_tile *t)
{
    run_tile(FA_IN_BFLOAT16, BFLOAT16_ROWS, t);
}

FA_TARGET_END

static int supported(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const fa_engine fa_engine_avx2 = {
    "avx2",
    supported,
    {
        /* Panels one after the other: a call for each costs up to 4 %. */
        [FA_IN_INT8] = {INT8_ROWS, FA_TILE_PANELS, multiply_int8},
        [FA_IN_INT16] = {ROWS, PANELS, multiply_int16},
        [FA_IN_BFLOAT16] = {BFLOAT16_ROWS, PANELS, multiply_bfloat16},
    },
};
#endif

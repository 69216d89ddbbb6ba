/* SPDX-License-Identifier: BSD-3-Clause */
/* AVX-VNNI: 6 x 16 tiles, 12 of 16 registers accumulate. */
#if defined(__x86_64__)
#include "../fastattn.h"
#include "../target.h"
#include <cpuid.h>
#include <string.h>
#define ROWS 6
#define PANELS 1

FA_TARGET_BEGIN("avx2,avxvnni")

typedef int32_t words __attribute__((vector_size(32)));
typedef words sums;

INLINE sums add_products(const fa_precision precision, words a, words b, sums acc)
{
    if (precision == FA_IN_INT16) {
        return (sums)_mm256_dpwssd_avx_epi32((__m256i)acc, (__m256i)a, (__m256i)b);
    }
    return (sums)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)a, (__m256i)b);
}

#include "tile.h"

static void multiply_int8(const fa_group_tile *t) { run_tile(FA_IN_INT8, ROWS, t); }
static void multiply_int16(const fa_group_tile *t) { run_tile(FA_IN_INT16, ROWS, t); }

FA_TARGET_END

/* Not every compiler knows its name where it asks the CPU. */
static int supported(void)
{
    unsigned a = 0, b, c, d;
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
           a >> 4 & 1;
}

const fa_engine fa_engine_avxvnni = {
    "avxvnni",
    supported,
    {
        [FA_IN_INT8] = {ROWS, PANELS, multiply_int8},
        [FA_IN_INT16] = {ROWS, PANELS, multiply_int16},
    },
};
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* AVX-512 VNNI: 6 x 64 tiles, 24 of 32 registers accumulate. */
#if defined(__x86_64__)
#include "../fastattn.h"
#include "../target.h"
#include <string.h>
#define ROWS 6
#define PANELS 4

FA_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

typedef int32_t words __attribute__((vector_size(64)));
typedef words sums;

INLINE sums add_products(const fa_precision precision, words a, words b, sums acc)
{
    if (precision == FA_IN_INT16) {
        return (sums)_mm512_dpwssd_epi32((__m512i)acc, (__m512i)a, (__m512i)b);
    }
    return (sums)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)a, (__m512i)b);
}

#include "tile.h"

static void multiply_int8(const fa_group_tile *t) { run_tile(FA_IN_INT8, ROWS, t); }
static void multiply_int16(const fa_group_tile *t) { run_tile(FA_IN_INT16, ROWS, t); }

FA_TARGET_END

static int supported(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

const fa_engine fa_engine_avx512vnni = {
    "avx512vnni",
    supported,
    {
        [FA_IN_INT8] = {ROWS, PANELS, multiply_int8},
        [FA_IN_INT16] = {ROWS, PANELS, multiply_int16},
    },
};
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* AVX-512 BF16: 6 x 64 tiles, 24 of 32 registers accumulate. The instruction adds the
 * product of the second terms, then that of the first ones, each rounded once, and counts
 * what is subnormal as 0: among sums, too. */
#if defined(__x86_64__)
#include "../fastattn.h"
#include "../target.h"
#include <string.h>
#define ROWS 6
#define PANELS 4

FA_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

typedef int32_t words __attribute__((vector_size(64)));
typedef __m512 sums; /* floats from the start: gcc moves what is cast to them */

INLINE sums add_products(const fa_precision precision, words a, words b, sums acc)
{
    (void)precision;
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

#include "tile.h"

static void multiply_bfloat16(const fa_group_tile *t) { run_tile(FA_IN_BFLOAT16, ROWS, t); }

FA_TARGET_END

static int supported(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bf16");
}

const fa_engine fa_engine_avx512bf16 = {
    "avx512bf16",
    supported,
    {[FA_IN_BFLOAT16] = {ROWS, PANELS, multiply_bfloat16}},
};
#endif

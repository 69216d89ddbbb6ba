/* SPDX-License-Identifier: BSD-3-Clause */
/* The x86-64 baseline: 2 x 16 tiles of int16. */
#if defined(__x86_64__)
#include "../fastattn.h"
#include "../target.h"
#include <string.h>
#define ROWS 2
#define PANELS 1

typedef int32_t words __attribute__((vector_size(16)));
typedef words sums;

INLINE sums add_products(const fa_precision precision, words a, words b, sums acc)
{
    (void)precision;
    return acc + (words)_mm_madd_epi16((__m128i)a, (__m128i)b);
}

#include "tile.h"

static void multiply_int16(const fa_group_tile *t) { run_tile(FA_IN_INT16, ROWS, t); }

static int supported(void) { return 1; }

const fa_engine fa_engine_sse2 = {
    "sse2",
    supported,
    {[FA_IN_INT16] = {ROWS, PANELS, multiply_int16}},
};
#endif

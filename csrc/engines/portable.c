/* SPDX-License-Identifier: BSD-3-Clause */
/* What runs everywhere: 2 x 16 tiles, term by term, in vectors that most machines have. */
#include "../fastattn.h"
#include "../target.h"
#include <string.h>
#define ROWS 2
#define PANELS 1

typedef int32_t words __attribute__((vector_size(16)));
typedef float floats __attribute__((vector_size(16)));
typedef words sums;

/* Term t of each group, its sign extended, or as the float whose upper half it is. */
INLINE words term_of(const fa_precision precision, words groups, const int t)
{
    const int bits = 8 * (int)FA_PRECISION_FACTS[precision].bytes;
    const words high = groups << (32 - bits - bits * t);
    return precision == FA_IN_BFLOAT16 ? high & ~0xffff : high >> (32 - bits);
}

INLINE sums add_products(const fa_precision precision, words a, words b, sums acc)
{
    /* The last term first: that is the order of bfloat16's sums. */
    UNROLL
    for (int t = 4 / (int)FA_PRECISION_FACTS[precision].bytes - 1; t >= 0; t--) {
        words x = term_of(precision, a, t);
        const words y = term_of(precision, b, t);
        if (precision == FA_IN_INT8) x &= 0xff; /* of A they are unsigned */
        if (precision == FA_IN_BFLOAT16) acc = (sums)((floats)acc + (floats)x * (floats)y);
        else acc += x * y;
    }
    return acc;
}

#include "tile.h"

static void multiply_int8(const fa_group_tile *t) { run_tile(FA_IN_INT8, ROWS, t); }
static void multiply_int16(const fa_group_tile *t) { run_tile(FA_IN_INT16, ROWS, t); }

static void multiply_bfloat16(const fa_group_tile *t) { run_tile(FA_IN_BFLOAT16, ROWS, t); }

static int supported(void) { return 1; }

const fa_engine fa_engine_portable = {
    "portable",
    supported,
    {
        [FA_IN_INT8] = {ROWS, PANELS, multiply_int8},
        [FA_IN_INT16] = {ROWS, PANELS, multiply_int16},
        [FA_IN_BFLOAT16] = {ROWS, PANELS, multiply_bfloat16},
    },
};

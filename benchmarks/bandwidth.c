/* SPDX-License-Identifier: BSD-3-Clause */
/* bandwidth.c: read an array front to back, as fast as one core can.
 *
 * STREAMS independent sums, so that the CPU waits for memory and not for additions.
 * Compiled with LANES and the flags of an instruction set, see machine.py. */
#include <string.h>

typedef float vf __attribute__((vector_size(LANES * 4)));
enum { STREAMS = 8 };

/* The sum of the first floats of x, as many as whole rounds of STREAMS vectors hold. */
float read_all(const float *x, long count)
{
    vf sums[STREAMS] = {{0}};
    for (long i = 0; i + STREAMS * LANES <= count; i += STREAMS * LANES) {
#pragma GCC unroll 8
        for (int j = 0; j < STREAMS; j++) {
            vf loaded;
            memcpy(&loaded, x + i + j * LANES, sizeof loaded);
            sums[j] += loaded;
        }
    }
    float result = 0;
    for (int j = 0; j < STREAMS; j++) {
        for (int lane = 0; lane < LANES; lane++) result += sums[j][lane];
    }
    return result;
}

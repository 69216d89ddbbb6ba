/* SPDX-License-Identifier: BSD-3-Clause */
/* peak.c: the most multiply-adds that one core can do.
 *
 * CHAINS independent sums stand in registers and nothing is loaded: the CPU waits neither
 * for memory nor, with enough chains, for the result of the multiply-add before. Compiled
 * with LANES, CHAINS and the flags of an instruction set, see machine.py. */
typedef float vf __attribute__((vector_size(LANES * 4)));

/* 2 * LANES * CHAINS floating-point operations per round. a and b come from outside, so
 * that the compiler cannot compute the result by itself; with 0 < a < 1 the sums stay
 * finite. */
float multiply_add(long rounds, float a, float b)
{
    const vf x = a - (vf){0}, y = b - (vf){0};
    vf sums[CHAINS];
#pragma GCC unroll 32
    for (int i = 0; i < CHAINS; i++) sums[i] = y * (float)i;
    for (long round = 0; round < rounds; round++) {
#pragma GCC unroll 32
        for (int i = 0; i < CHAINS; i++) sums[i] = sums[i] * x + y;
    }
    vf total = {0};
#pragma GCC unroll 32
    for (int i = 0; i < CHAINS; i++) total += sums[i];
    float result = 0;
    for (int i = 0; i < LANES; i++) result += total[i];
    return result;
}

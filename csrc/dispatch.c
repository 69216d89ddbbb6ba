/* SPDX-License-Identifier: BSD-3-Clause */
/* dispatch.c: the tables and engines of this build, best first, and whether this machine
 * can run the tables. __builtin_cpu_supports also asks whether the operating system saves
 * the registers that an instruction set needs. */
#include "fastattn.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Compilers differ in whether __builtin_cpu_supports knows the instructions for float16. */
static int supports_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

extern const fa_kernels fa_kernels_avx512, fa_kernels_avx2, fa_kernels_sse2;
extern const fa_kernels fa_kernels_neon, fa_kernels_portable;

static const fa_kernels *const TABLES[] = {
#if defined(__x86_64__)
    &fa_kernels_avx512,
    &fa_kernels_avx2,
    &fa_kernels_sse2,
#elif defined(__aarch64__)
    &fa_kernels_neon,
#endif
    &fa_kernels_portable,
};

int fa_num_kernels(void) { return (int)(sizeof TABLES / sizeof *TABLES); }

const fa_kernels *fa_kernels_at(int index) { return TABLES[index]; }

int fa_kernels_supported(int index)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (TABLES[index] == &fa_kernels_avx512) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
    if (TABLES[index] == &fa_kernels_avx2) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               supports_f16c();
    }
#else
    (void)index;
#endif
    return 1;
}

extern const fa_engine fa_engine_amx, fa_engine_avx512vnni, fa_engine_avx512bf16;
extern const fa_engine fa_engine_avxvnni, fa_engine_avx2, fa_engine_sse2;
extern const fa_engine fa_engine_i8mm, fa_engine_dotprod, fa_engine_bf16;
extern const fa_engine fa_engine_portable;

static const fa_engine *const ENGINES[] = {
#if defined(__x86_64__)
#if defined(__linux__)
    &fa_engine_amx,
#endif
    &fa_engine_avx512vnni, &fa_engine_avx512bf16, &fa_engine_avxvnni,
    &fa_engine_avx2,       &fa_engine_sse2,
#elif defined(__aarch64__)
    &fa_engine_i8mm,
    &fa_engine_dotprod,
    &fa_engine_bf16,
#endif
    &fa_engine_portable,
};

int fa_num_engines(void) { return (int)(sizeof ENGINES / sizeof *ENGINES); }

const fa_engine *fa_engine_at(int index) { return ENGINES[index]; }

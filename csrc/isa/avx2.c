/* SPDX-License-Identifier: BSD-3-Clause */
/* AVX2 with FMA and F16C: 6 x 16 micro-tiles, 12 of 16 registers accumulate. */
#if defined(__x86_64__)
#include "../target.h"
#include <assert.h>
#include <math.h>
#include <string.h>
#define ISA avx2
#define FA_AVX2
#define LANES 8
#define REGISTERS 16
#define MR 6
#define PANELS 1
#define MAX_PANELS 2
FA_TARGET_BEGIN("avx2,fma,f16c")
#include "../generic/kernels.h"
FA_TARGET_END
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* AVX-512: 14 x 32 micro-tiles, 28 of 32 registers accumulate. */
#if defined(__x86_64__)
#include "../target.h"
#include <assert.h>
#include <math.h>
#include <string.h>
#define ISA avx512
#define FA_AVX512
#define LANES 16
#define REGISTERS 32
#define MR 14
#define PANELS 2
#define MAX_PANELS 4
FA_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#include "../generic/kernels.h"
FA_TARGET_END
#endif

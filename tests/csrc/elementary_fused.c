/* SPDX-License-Identifier: BSD-3-Clause */
/* With FMA: the bits of avx512, avx2 and neon. */
#include "../../csrc/target.h"
#include "driver.h"
#include <math.h>
#include <string.h>
#define ELEMENTARY elementary_fused
#if defined(__x86_64__)
#define FA_AVX2
#define LANES 8
#define REGISTERS 16
FA_TARGET_BEGIN("avx2,fma,f16c")
#include "elementary.h"
FA_TARGET_END
#else
#define FA_NEON
#define LANES 4
#define REGISTERS 32
#include "elementary.h"
#endif

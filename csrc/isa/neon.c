/* SPDX-License-Identifier: BSD-3-Clause */
/* NEON: 6 x 16 micro-tiles, 24 of 32 registers accumulate. */
#if defined(__aarch64__)
#define ISA neon
#define FA_NEON
#define LANES 4
#define REGISTERS 32
#define MR 6
#define PANELS 1
#define MAX_PANELS 2
#include "../generic/kernels.h"
#endif

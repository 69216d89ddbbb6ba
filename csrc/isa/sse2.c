/* SPDX-License-Identifier: BSD-3-Clause */
/* The x86-64 baseline: 2 x 16 micro-tiles, no FMA. */
#if defined(__x86_64__)
#define ISA sse2
#define LANES 4
#define REGISTERS 16
#define MR 2
#define PANELS 1
#define MAX_PANELS 1
#include "../generic/kernels.h"
#endif

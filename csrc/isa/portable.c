/* SPDX-License-Identifier: BSD-3-Clause */
/* Baseline code for any CPU: 2 x 16 micro-tiles in vectors that most of them have, quick to
 * compile. With asserts on, AVX-512's geometry: what tests the loops of the widest table
 * where no AVX-512 is. Its vectors are emulated: unrolled they would be 300 KB of code. */
#define ISA portable
#ifdef NDEBUG
#define LANES 4
#define REGISTERS 16
#define MR 2
#define PANELS 1
#define MAX_PANELS 1
#else
#define UNROLL _Pragma("GCC unroll 1")
#define LANES 16
#define REGISTERS 32
#define MR 14
#define PANELS 2
#define MAX_PANELS 4
#endif
#include "../generic/kernels.h"

/* SPDX-License-Identifier: BSD-3-Clause */
/* AVX-512's geometry in baseline code: the fallback of any other CPU, and what tests the
 * loops of the widest table where no AVX-512 is. */
/* Its vectors are emulated: unrolled they would be 300 KB of code. */
#define UNROLL _Pragma("GCC unroll 1")
#define ISA portable
#define LANES 16
#define REGISTERS 32
#define MR 14
#define PANELS 2
#define MAX_PANELS 4
#include "../generic/kernels.h"

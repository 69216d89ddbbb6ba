/* SPDX-License-Identifier: BSD-3-Clause */
/* Without FMA: the bits of sse2 and portable. */
#include "driver.h"
#define ELEMENTARY elementary_baseline
#define LANES 4
#define REGISTERS 16
#include "elementary.h"

/* SPDX-License-Identifier: BSD-3-Clause */
/* elementary.h: the elementary functions as the kernels compute them, for sweeps. A stub
 * opens and names an instruction set, defines LANES and ELEMENTARY, and includes this. */

/* The order matters: each uses what stands before it. */
/* clang-format off */
#include "../../csrc/simd.h"
#include "../../csrc/generic/vmath.h"
#include "../../csrc/generic/activation.h"
/* clang-format on */

void ELEMENTARY(int function, int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i += LANES) {
        const vf v = vload_tail(x + i, n - i);
        vf result = v;
        switch (function) {
        case EXP2: result = vexp2(vsplat(1.0f), v); break;
        case EXP: result = vexp_nonpositive(v); break;
        case LOG: result = vlog(v); break;
        default: activate_each((fa_activation)function, 1, &result);
        }
        vstore_tail(y + i, result, n - i);
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* float32.h: what everything is computed in; read and written as it is. */

INLINE vf vload_float32(const void *p) { return vload(p); }

INLINE void store_float32(void *p, vf x, int64_t count) { vstore_tail(p, x, count); }

/* SPDX-License-Identifier: BSD-3-Clause */
/* int8.h: integers from -127 to 127 with a scale for each column (Wu et al. 2020, "Integer
 * Quantization for Deep Learning Inference: Principles and Empirical Evaluation", section
 * 3). narrow.h loads them.
 *
 * Scales have 16 significant bits, so that the product of one with an integer is exact.
 * What is unpacked then packs to the same integers and scales. */

/* A scale rounded up, to so many bits fewer than a float has. Zeros get the smallest normal
 * number, which spares them a division by zero. */
INLINE vf scale_up(vf scale, const int fewer)
{
    const int32_t last = (1 << fewer) - 1;
    return vmax((vf)(((vi)scale + last) & ~last), vsplat(0x1p-126f));
}

enum { INT8_FEWER_BITS = 8 };

static void pack_int8(int64_t k, int64_t columns, const float *wide, void *packed,
                      float *scales)
{
    for (int64_t j = 0; j < columns; j += LANES) {
        const int64_t count = min64(columns - j, LANES);
        vf most = {0};
        for (int64_t i = 0; i < k; i++) {
            most = vmax(vabs(vload_tail(wide + i * FA_PANEL + j, count)), most);
        }
        const vf scale = scale_up(most / 127.0f, INT8_FEWER_BITS);
        vstore_tail(scales + j, scale, count);
        for (int64_t i = 0; i < k; i++) {
            /* Adding 1.5 * 2^23 rounds to nearest even, into the last bits. */
            const vf x = vload_tail(wide + i * FA_PANEL + j, count) / scale + 0x1.8p23f;
            const vi8 narrow = __builtin_convertvector((vi)x, vi8);
            memcpy((int8_t *)packed + i * FA_PANEL + j, &narrow, (size_t)count);
        }
    }
}

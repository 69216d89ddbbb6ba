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

enum { INT8_MOST = 127, INT8_FEWER_BITS = 8 };

/* Adding it rounds to the nearest integer, an even one of two, into the last bits. */
#define TO_INTEGER 0x1.8p23f

/* Row p of k rows of a panel, the first `count` columns; 0 beyond the last row. */
INLINE vf weights_at(int64_t k, int64_t p, const float *wide, int64_t count)
{
    return p < k ? vload_tail(wide + p * FA_PANEL, count) : vsplat(0.0f);
}

INLINE vf largest_weight(int64_t k, const float *wide, int64_t count)
{
    vf most = {0};
    for (int64_t p = 0; p < k; p++) {
        most = vmax(vabs(weights_at(k, p, wide, count)), most);
    }
    return most;
}

static void pack_int8(int64_t k, int64_t columns, const float *wide, void *packed,
                      float *scales)
{
    for (int64_t j = 0; j < columns; j += LANES) {
        const int64_t count = min64(columns - j, LANES);
        const vf most = largest_weight(k, wide + j, count);
        const vf scale = scale_up(most / INT8_MOST, INT8_FEWER_BITS);
        vstore_tail(scales + j, scale, count);
        for (int64_t p = 0; p < k; p++) {
            const vf x = weights_at(k, p, wide + j, count) / scale + TO_INTEGER;
            vstore_low_bytes((char *)packed + p * FA_PANEL + j, (vi)x, count);
        }
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* transpose.h: rows into columns, by shuffles of vectors. */

/* The elements of a and b in turn: a0 b0 a1 b1 ..., the first half of them or the second.
 */
INLINE vf interleave_low(vf a, vf b)
{
#if LANES == 16
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                   23);
#elif LANES == 8
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}

INLINE vf interleave_high(vf a, vf b)
{
#if LANES == 16
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14,
                                   30, 15, 31);
#elif LANES == 8
    return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

/* x[i][j] and x[j][i] change places. Interleaving the first half of the vectors with the
 * second moves the last bit of an element's vector to the front of its lane; after log2
 * LANES rounds the two have changed roles. */
INLINE void transpose_square(vf *x)
{
    UNROLL
    for (int round = 1; round < LANES; round *= 2) {
        vf y[LANES];
        UNROLL
        for (int i = 0; i < LANES / 2; i++) {
            y[2 * i] = interleave_low(x[i], x[i + LANES / 2]);
            y[2 * i + 1] = interleave_high(x[i], x[i + LANES / 2]);
        }
        UNROLL
        for (int i = 0; i < LANES; i++) x[i] = y[i];
    }
}

/* Four adjacent elements of every fourth row. */
INLINE vf load_quads(const float *x, int64_t ldx)
{
    v4 quads[LANES / 4];
    UNROLL
    for (int i = 0; i < LANES / 4; i++) quads[i] = *(const v4_unaligned *)(x + 4 * i * ldx);
#if LANES == 16
    const v8 low = __builtin_shufflevector(quads[0], quads[1], 0, 1, 2, 3, 4, 5, 6, 7);
    const v8 high = __builtin_shufflevector(quads[2], quads[3], 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
                                   14, 15);
#elif LANES == 8
    return __builtin_shufflevector(quads[0], quads[1], 0, 1, 2, 3, 4, 5, 6, 7);
#else
    return quads[0];
#endif
}

/* The elements of a and b in turn, in every four of them: the first half or the second. */
INLINE vf interleave_quads_low(vf a, vf b)
{
#if LANES == 16
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28,
                                   13, 29);
#elif LANES == 8
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
#else
    return interleave_low(a, b);
#endif
}

INLINE vf interleave_quads_high(vf a, vf b)
{
#if LANES == 16
    return __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30,
                                   15, 31);
#elif LANES == 8
    return __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
#else
    return interleave_high(a, b);
#endif
}

/* The transpose of a whole square, a third of the shuffles of transpose_square: blocks of
 * 4 x 4 change places as they are loaded, and what is in them by two rounds. */
INLINE void load_square(vf *y, const float *x, int64_t ldx)
{
    UNROLL
    for (int j = 0; j < LANES; j += 4) {
        vf a[4], b[4];
        UNROLL
        for (int i = 0; i < 4; i++) a[i] = load_quads(x + i * ldx + j, ldx);
        UNROLL
        for (int i = 0; i < 2; i++) {
            b[2 * i] = interleave_quads_low(a[i], a[i + 2]);
            b[2 * i + 1] = interleave_quads_high(a[i], a[i + 2]);
        }
        UNROLL
        for (int i = 0; i < 2; i++) {
            y[j + 2 * i] = interleave_quads_low(b[i], b[i + 2]);
            y[j + 2 * i + 1] = interleave_quads_high(b[i], b[i + 2]);
        }
    }
}

/* The transpose of the corner (rows, cols) of x, at most LANES each; 0 in what is beyond.
 */
INLINE void load_transposed(vf *y, const float *x, int64_t ldx, int64_t rows, int64_t cols)
{
    if (rows >= LANES && cols >= LANES) {
        load_square(y, x, ldx);
        return;
    }
    UNROLL
    for (int i = 0; i < LANES; i++) {
        y[i] = i < rows ? vload_tail(x + i * ldx, cols) : vsplat(0.0f);
    }
    transpose_square(y);
}

/* y (cols, width) = the transpose of x (rows, cols), or of its corner; 0 beyond `rows`. */
INLINE void transpose_corner(int64_t rows, int64_t cols, const float *x, int64_t ldx,
                             int64_t width, float *y, int64_t ldy)
{
    vf square[LANES];
    load_transposed(square, x, ldx, rows, cols);
    UNROLL
    for (int c = 0; c < LANES; c++) {
        if (c < cols) vstore_tail(y + c * ldy, square[c], width);
    }
}

/* Whole squares, as almost all are, need not ask how long they are. */
static void transpose(int64_t rows, int64_t cols, const float *x, int64_t ldx,
                      int64_t width, float *y, int64_t ldy)
{
    for (int64_t i = 0; i < width; i += LANES) {
        for (int64_t j = 0; j < cols; j += LANES) {
            const float *from = x + i * ldx + j;
            float *to = y + j * ldy + i;
            if (rows - i >= LANES && cols - j >= LANES) {
                transpose_corner(LANES, LANES, from, ldx, LANES, to, ldy);
            } else {
                transpose_corner(rows - i, cols - j, from, ldx, width - i, to, ldy);
            }
        }
    }
}

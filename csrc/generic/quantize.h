/* SPDX-License-Identifier: BSD-3-Clause */
/* quantize.h: weights and rows as products in int8, int16 and bfloat16 read them.
 *
 * Four or two terms of a sum stand side by side in 4 bytes, a group: in a panel of weights
 * the 16 columns of a group are adjacent, then comes the next group. What is beyond the
 * last term is 0.
 *
 *     int8, k = 6     group 0                       group 1
 *     panel           b00 b10 b20 b30 b01 .. b3,15  b40 b50 0 0 .. b4,15 b5,15 0 0
 *     row of A        a0 a1 a2 a3                   a4 a5 0 0
 *
 * Integers have a scale for each block of a row and of a column, so that one large number
 * spoils no more than its block.
 *
 * Everything is plain multiplication, addition and division, none of them fused, so that
 * every table gives the bits of reference.py. */

enum {
    ROW_STEPS = 252, /* from the smallest to the largest of a row of int8 */
    /* Two neighbours of one sign in a column, at most: times 254 they fit 16 bits. */
    PAIR_MOST = 129,
    INT16_MOST = 2047, /* a sum of a block of products fits 32 bits */
    /* Integers of 11 bits times a scale are exact in a float, as those of 7 are. */
    INT16_FEWER_BITS = 11,
};

enum { GROUP_BYTES = 4 };

/* The groups of k terms. */
INLINE int64_t num_groups(fa_precision precision, int64_t k)
{
    return ceil_div(k * FA_PRECISION_FACTS[precision].bytes, GROUP_BYTES);
}

/* The blocks of k terms; no terms are a block, too. */
INLINE int64_t num_blocks(fa_precision precision, int64_t k)
{
    return k ? ceil_div(k, FA_PRECISION_FACTS[precision].block) : 1;
}

/* bfloat16, and 0 for what is below 2^-54. All others are multiples of 2^-61, and the sums
 * of their products of 2^-122: none is subnormal, which instructions for bfloat16 would
 * make 0. */
INLINE vu flushed_bfloat16(vf x)
{
    const vu bits = bfloat16_bits(x);
    return uselect((vu)((bits & 0x7f80) < (127 - 54) << 7), (vu){0}, bits);
}

/* The largest magnitude of two neighbours of one sign, added up: of the weights, or of the
 * integers that they are with a scale. */
INLINE vf largest_pair(int64_t k, const float *wide, int64_t count, const int rounded,
                       vf scale)
{
    const vf zero = {0};
    vf most = {0};
    for (int64_t p = 0; p < k; p += 2) {
        vf x = weights_at(k, p, wide, count), y = weights_at(k, p + 1, wide, count);
        if (rounded) {
            x = (x / scale + TO_INTEGER) - TO_INTEGER;
            y = (y / scale + TO_INTEGER) - TO_INTEGER;
        }
        most = vmax(vmax(x, zero) + vmax(y, zero), most);
        most = vmax(vmax(-x, zero) + vmax(-y, zero), most);
    }
    return most;
}

/* The scale of each column: the smallest that keeps the integers within their bounds, or
 * little more. */
INLINE vf weight_scales(const fa_precision precision, int64_t k, const float *wide,
                        int64_t count)
{
    if (precision == FA_IN_BFLOAT16) return vsplat(1.0f);
    const vf most = largest_weight(k, wide, count);
    if (precision == FA_IN_INT16) return scale_up(most / INT16_MOST, INT16_FEWER_BITS);
    const vf pair = largest_pair(k, wide, count, 0, most);
    vf scale = scale_up(vmax(most / INT8_MOST, pair / PAIR_MOST), INT8_FEWER_BITS);
    for (;;) { /* what is rounded up can still be too much together */
        const vi wrong = largest_pair(k, wide, count, 1, scale) > (float)PAIR_MOST;
        if (!any_lane(wrong)) return scale;
        scale = vselect(wrong, scale_up(scale * 1.004f, INT8_FEWER_BITS), scale);
    }
}

INLINE void quantize_block(const fa_precision precision, int64_t k, const float *wide,
                           int64_t columns, char *packed, float *scales, float *sums)
{
    const int bits = 8 * (int)FA_PRECISION_FACTS[precision].bytes, terms = 32 / bits;
    for (int64_t j = 0; j < columns; j += LANES) {
        const int64_t count = min64(columns - j, LANES);
        const vf scale = weight_scales(precision, k, wide + j, count);
        vi sum = {0};
        for (int64_t g = 0; g * terms < k; g++) {
            vu group = {0};
            for (int t = 0; t < terms; t++) {
                const vf x = weights_at(k, g * terms + t, wide + j, count);
                vu number;
                if (precision == FA_IN_BFLOAT16) number = flushed_bfloat16(x);
                else number = (vu)(x / scale + TO_INTEGER) - (vu)vsplat(TO_INTEGER);
                sum += (vi)number;
                group |= (number << (32 - bits)) >> (32 - bits) << (bits * t);
            }
            vstore_tail((float *)(packed + g * FA_ALIGN) + j, (vf)group, count);
        }
        vstore_tail(scales + j, scale, count);
        if (precision == FA_IN_INT8) {
            vstore_tail(sums + j, __builtin_convertvector(sum, vf), count);
        }
    }
}

INLINE void quantize_panel(const fa_precision precision, int64_t k, const float *wide,
                           int64_t columns, char *packed, float *scales, float *sums)
{
    const int64_t block = FA_PRECISION_FACTS[precision].block;
    for (int64_t b = 0; b < num_blocks(precision, k); b++) {
        quantize_block(precision, min64(k - b * block, block), wide + b * block * FA_PANEL,
                       columns, packed + num_groups(precision, b * block) * FA_ALIGN,
                       scales + b * FA_PANEL, sums + b * FA_PANEL);
    }
}

static int64_t quantize_weight_tasks(const void *plan)
{
    const fa_quantize_weight_plan *p = plan;
    return ceil_div(p->column % FA_PANEL + p->n, FA_PANEL);
}

static int64_t quantize_weight_scratch(const void *plan)
{
    return (int64_t)sizeof(float) * ((const fa_quantize_weight_plan *)plan)->k * FA_PANEL;
}

/* A task is a panel. */
static void quantize_weight_run(const void *plan, int64_t task, void *scratch)
{
    const fa_quantize_weight_plan *p = plan;
    const int64_t panel = p->column / FA_PANEL + task;
    const panel_part part = part_of(panel, p->column, p->n);
    const int64_t at = panel * num_blocks(p->precision, p->k) * FA_PANEL + part.lane;
    char *packed = (char *)p->packed + 4 * part.lane;
    packed += panel * num_groups(p->precision, p->k) * FA_ALIGN;
    assert_task(task, quantize_weight_tasks(p), scratch);
    read_panel(p->k, part.columns, p->b + part.first * p->b_col, p->ldb, p->b_col, scratch);
#define CASE(NAME, ...)                                                                    \
    case FA_IN_##NAME:                                                                     \
        quantize_panel(FA_IN_##NAME, p->k, scratch, part.columns, packed, p->scales + at,  \
                       p->sums + at);                                                      \
        break;
    switch (p->precision) {
        FA_PRECISIONS(CASE)
    case FA_NUM_PRECISIONS: break;
    }
#undef CASE
}

/* A vector of a block of a row of which `count` elements are left, times the factors of
 * their columns. */
INLINE vf row_part(const float *row, const float *factors, int64_t j, int64_t count)
{
    const vf x = vload_tail(row + j, count);
    return factors ? x * vload_tail(factors + j, count) : x;
}

/* How a block of a row becomes integers: round(x / scale) + zero. */
typedef struct {
    float scale, inverse, zero;
} row_scale;

/* What a block has of extremes: 0, or what is beyond it. */
typedef struct {
    vf low, high, odd; /* odd: NaN where one is not finite, or else 0 */
} extremes;

INLINE void look_at(const fa_precision precision, vf x, extremes *seen)
{
    seen->odd += x - x;
    seen->high = vmax(precision == FA_IN_INT8 ? x : vabs(x), seen->high);
    if (precision == FA_IN_INT8) seen->low = vmin(x, seen->low);
}

/* Vectors that are looked at side by side: one after the other would wait. */
enum { LOOKS = 4 };

INLINE row_scale scale_of_numbers(const fa_precision precision, int64_t k, const float *row,
                                  const float *factors)
{
    extremes seen[LOOKS] = {{{0}, {0}, {0}}};
    int64_t j = 0;
    for (; k - j >= LOOKS * LANES; j += LOOKS * LANES) {
        UNROLL
        for (int i = 0; i < LOOKS; i++) {
            look_at(precision, row_part(row, factors, j + i * LANES, LANES), &seen[i]);
        }
    }
    for (; j < k; j += LANES) {
        look_at(precision, row_part(row, factors, j, k - j), &seen[0]);
    }
    UNROLL
    for (int i = 1; i < LOOKS; i++) {
        seen[0].low = vmin(seen[i].low, seen[0].low);
        seen[0].high = vmax(seen[i].high, seen[0].high);
        seen[0].odd += seen[i].odd;
    }
    if (any_lane(seen[0].odd != (vf){0})) return (row_scale){NAN, 0.0f, 0.0f};
    const float high = largest_lane(seen[0].high), low = -largest_lane(-seen[0].low);
    row_scale s = {.scale = high / INT16_MOST};
    if (precision == FA_IN_INT8) s.scale = high / ROW_STEPS - low / ROW_STEPS;
    if (s.scale < FLT_MIN) s.scale = FLT_MIN;
    s.inverse = 1.0f / s.scale;
    /* From 1 on: what two roundings add keeps integers between 0 and 254. */
    if (precision == FA_IN_INT8) {
        s.zero = (TO_INTEGER - low * s.inverse) - TO_INTEGER + 1.0f;
    }
    return s;
}

INLINE void quantize_part(const fa_precision precision, vf x, row_scale s, int64_t count,
                          char *groups)
{
    const vf number = x * s.inverse + (TO_INTEGER + s.zero);
    if (precision == FA_IN_INT8) vstore_low_bytes(groups, (vi)number, count);
    if (precision == FA_IN_INT16) vstore_low_halves(groups, (vu)number, count);
    if (precision == FA_IN_BFLOAT16) vstore_low_halves(groups, flushed_bfloat16(x), count);
}

/* k terms of a row into groups. */
INLINE row_scale quantize_terms(const fa_precision precision, int64_t k, const float *row,
                                const float *factors, char *groups)
{
    const int64_t size = FA_PRECISION_FACTS[precision].bytes;
    row_scale s = {0};
    if (precision != FA_IN_BFLOAT16) s = scale_of_numbers(precision, k, row, factors);
    int64_t j = 0;
    for (; k - j >= LANES; j += LANES) {
        const vf x = row_part(row, factors, j, LANES);
        quantize_part(precision, x, s, LANES, groups + j * size);
    }
    if (j < k) {
        const vf x = row_part(row, factors, j, k - j);
        quantize_part(precision, x, s, k - j, groups + j * size);
    }
    return s;
}

INLINE void quantize_row(const fa_precision precision, const fa_quantize_rows_plan *p,
                         int64_t i)
{
    const int64_t size = FA_PRECISION_FACTS[precision].bytes;
    const int64_t block = FA_PRECISION_FACTS[precision].block;
    const int64_t blocks = num_blocks(precision, p->k);
    char *groups = (char *)p->rows.groups + i * p->rows.ld;
    memset(groups + p->k * size, 0, (size_t)(p->rows.ld - p->k * size));
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t start = b * block;
        const row_scale s =
            quantize_terms(precision, min64(p->k - start, block), p->a + i * p->lda + start,
                           p->factors ? p->factors + start : 0, groups + start * size);
        if (precision != FA_IN_BFLOAT16) p->rows.scales[i * blocks + b] = s.scale;
        if (precision == FA_IN_INT8) p->rows.zeros[i * blocks + b] = s.zero;
    }
}

enum { QUANTIZE_TASK = 16 }; /* rows: a few microseconds at the widths of encoders */

static int64_t quantize_rows_tasks(const void *plan)
{
    return ceil_div(((const fa_quantize_rows_plan *)plan)->m, QUANTIZE_TASK);
}

static void quantize_rows_run(const void *plan, int64_t task, void *scratch)
{
    const fa_quantize_rows_plan *p = plan;
    const row_range rows = rows_of_task(task, QUANTIZE_TASK, p->m);
    assert_task(task, quantize_rows_tasks(p), scratch);
    for (int64_t i = rows.start; i < rows.end; i++) {
#define CASE(NAME, ...)                                                                    \
    case FA_IN_##NAME: quantize_row(FA_IN_##NAME, p, i); break;
        switch (p->precision) {
            FA_PRECISIONS(CASE)
        case FA_NUM_PRECISIONS: break;
        }
#undef CASE
    }
}

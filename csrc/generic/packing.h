/* SPDX-License-Identifier: BSD-3-Clause */
/* packing.h: weights into panels, narrowed to the format in which they are stored, and
 * back.
 *
 * int8 is symmetric with a scale for each column (Wu et al. 2020, "Integer Quantization
 * for Deep Learning Inference: Principles and Empirical Evaluation", section 3): a weight
 * is the scale times an integer from -127 to 127. Scales have 16 significant bits, so that
 * this product is exact. What is unpacked then packs to the same integers and scales. */

/* Columns of a matrix that stand in one panel: the first of them, how many, and in which
 * lane the first one stands. */
typedef struct {
    int64_t first, columns, lane;
} panel_part;

static panel_part part_of(int64_t panel, int64_t column, int64_t n)
{
    const int64_t start = panel * FA_PANEL - column;
    const int64_t first = start > 0 ? start : 0;
    const int64_t last = min64(start + FA_PANEL, n);
    return (panel_part){first, last - first, first - start};
}

/* The scale that takes `most` to 127, rounded up. Zeros get the smallest normal number,
 * which spares them a division by zero. */
INLINE vf int8_scale(vf most)
{
    const vf scale = (vf)(((vi)(most / 127.0f) + 0xff) & ~0xff);
    return vmax(scale, vsplat(0x1p-126f));
}

static void narrow_panel_int8(int64_t k, int64_t columns, const float *wide, int8_t *packed,
                              float *scales)
{
    for (int64_t j = 0; j < columns; j += LANES) {
        const int64_t count = min64(columns - j, LANES);
        vf most = {0};
        for (int64_t i = 0; i < k; i++) {
            most = vmax(vabs(vload_tail(wide + i * FA_PANEL + j, count)), most);
        }
        const vf scale = int8_scale(most);
        vstore_tail(scales + j, scale, count);
        for (int64_t i = 0; i < k; i++) {
            /* Adding 1.5 * 2^23 rounds to nearest even, into the last bits. */
            const vf x = vload_tail(wide + i * FA_PANEL + j, count) / scale + 0x1.8p23f;
            const vi8 narrow = __builtin_convertvector((vi)x, vi8);
            memcpy(packed + i * FA_PANEL + j, &narrow, (size_t)count);
        }
    }
}

static void narrow_panel(fa_dtype format, int64_t k, int64_t columns, const float *wide,
                         char *packed)
{
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < columns; j += LANES) {
            const vf x = vload_tail(wide + i * FA_PANEL + j, columns - j);
            narrow(format, packed + (i * FA_PANEL + j) * size_of(format), x, columns - j);
        }
    }
}

static int64_t pack_tasks(const void *plan)
{
    const fa_pack_plan *p = plan;
    return ceil_div(p->column % FA_PANEL + p->n, FA_PANEL);
}

static int64_t pack_scratch(const void *plan)
{
    const fa_pack_plan *p = plan;
    return p->format == FA_FLOAT32 ? 0 : (int64_t)sizeof(float) * p->k * FA_PANEL;
}

/* The columns of a row of b, at most those of a panel, side by side. */
INLINE void read_columns(const float *b, int64_t col, int64_t columns, float *wide)
{
    if (col != 1) {
        for (int64_t j = 0; j < columns; j++) wide[j] = b[j * col];
        return;
    }
    UNROLL
    for (int j = 0; j < FA_PANEL; j += LANES) {
        vstore_tail(wide + j, vload_tail(b + j, columns - j), columns - j);
    }
}

/* k rows of at most a panel of columns of b. */
static void read_panel(int64_t k, int64_t columns, const float *b, int64_t ldb,
                       int64_t b_col, float *wide)
{
    if (ldb == 1) {
        transpose(columns, k, b, b_col, wide, FA_PANEL);
        return;
    }
    for (int64_t i = 0; i < k; i++) {
        read_columns(b + i * ldb, b_col, columns, wide + i * FA_PANEL);
    }
}

/* A task is a panel. */
static void pack_run(const void *plan, int64_t task, void *scratch)
{
    const fa_pack_plan *p = plan;
    const int64_t panel = p->column / FA_PANEL + task;
    const panel_part part = part_of(panel, p->column, p->n);
    const int64_t at = panel * p->k * FA_PANEL + part.lane;
    char *packed = (char *)p->packed + at * size_of(p->format);
    float *wide = p->format == FA_FLOAT32 ? p->packed : scratch;
    const float *b = p->b + part.first * p->b_col;
    assert_task(task, pack_tasks(p), scratch);
    if (p->format == FA_FLOAT32) wide += at;
    read_panel(p->k, part.columns, b, p->ldb, p->b_col, wide);
    if (p->format == FA_INT8) {
        float *scales = p->scales + panel * FA_PANEL + part.lane;
        narrow_panel_int8(p->k, part.columns, wide, (int8_t *)packed, scales);
    } else if (p->format != FA_FLOAT32) {
        narrow_panel(p->format, p->k, part.columns, wide, packed);
    }
}

/* The t->k rows of a panel of t->b as float32. */
INLINE void widen_panel(const fa_dtype format, const tile_plan *t, int64_t panel,
                        float *wide)
{
    const char *b = (const char *)t->b + panel * t->b_panel * size_of(format);
    for (int64_t i = 0; i < t->k; i++) {
        UNROLL
        for (int j = 0; j < FA_PANEL; j += LANES) {
            vf x = load_as(format, b + j * size_of(format));
            if (format == FA_INT8) x *= vload(t->scales + panel * FA_PANEL + j);
            vstore(wide + j, x);
        }
        b += FA_PANEL * size_of(format);
        wide += FA_PANEL;
    }
}

/* So many panels, the rows of each adjacent. */
static void widen_panels(const tile_plan *t, int64_t first, int64_t panels, float *wide)
{
    for (int64_t panel = first; panel < first + panels; panel++) {
        switch (t->format) {
        case FA_FLOAT16: widen_panel(FA_FLOAT16, t, panel, wide); break;
        case FA_BFLOAT16: widen_panel(FA_BFLOAT16, t, panel, wide); break;
        case FA_INT8: widen_panel(FA_INT8, t, panel, wide); break;
        default: widen_panel(FA_FLOAT32, t, panel, wide); break;
        }
        wide += t->k * FA_PANEL;
    }
}

static int64_t unpack_tasks(const void *plan)
{
    return ceil_div(((const fa_unpack_plan *)plan)->n, FA_PANEL);
}

static int64_t unpack_scratch(const void *plan)
{
    return (int64_t)sizeof(float) * ((const fa_unpack_plan *)plan)->k * FA_PANEL;
}

static void unpack_run(const void *plan, int64_t task, void *scratch)
{
    const fa_unpack_plan *p = plan;
    const panel_part part = part_of(task, 0, p->n);
    assert_task(task, unpack_tasks(p), scratch);
    const tile_plan t = {
        .k = p->k,
        .format = p->format,
        .b = p->packed,
        .b_panel = p->k * FA_PANEL,
        .scales = p->scales,
    };
    widen_panels(&t, task, 1, scratch);
    transpose(p->k, part.columns, scratch, FA_PANEL, p->b + part.first * p->k, p->k);
}

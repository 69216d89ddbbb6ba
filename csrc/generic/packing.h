/* SPDX-License-Identifier: BSD-3-Clause */
/* packing.h: weights into panels of any format and back, and what products do with panels
 * that are not float32: a tile widens them as it loads them, or they are widened before. */

enum {
    /* So many row tiles widen narrow weights where they load them, each for itself; for
     * more of them the weights are widened once, into scratch. Measured on MiniLM's shapes
     * with AVX-512 and AVX2: loading is up to twice as fast for one tile, as fast or faster
     * for two, and slower for the tiles of MC rows, int8 by a fifth. */
    WIDENING_TILES = 2,
};

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

INLINE void store_panel(const fa_dtype dtype, int64_t k, int64_t columns, const float *wide,
                        char *packed)
{
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < columns; j += LANES) {
            const vf x = vload_tail(wide + i * FA_PANEL + j, columns - j);
            narrow(dtype, packed + (i * FA_PANEL + j) * size_of(dtype), x, columns - j);
        }
    }
}

/* Some columns of a panel, out of those of a panel of float32. */
static void narrow_panel(fa_format format, int64_t k, int64_t columns, const float *wide,
                         char *packed, float *scales)
{
#define STORE(NAME, ...)                                                                   \
    case FA_FORMAT_##NAME: store_panel(FA_##NAME, k, columns, wide, packed); break;
#define PACK(NAME, name, ...)                                                              \
    case FA_FORMAT_##NAME: pack_##name(k, columns, wide, packed, scales); break;
    switch (format) {
        FA_DTYPES(STORE)
        FA_INTEGERS(PACK)
    }
#undef STORE
#undef PACK
}

static int64_t pack_tasks(const void *plan)
{
    const fa_pack_plan *p = plan;
    return ceil_div(p->column % FA_PANEL + p->n, FA_PANEL);
}

static int64_t pack_scratch(const void *plan)
{
    return (int64_t)sizeof(float) * ((const fa_pack_plan *)plan)->k * FA_PANEL;
}

/* k rows of at most a panel of columns of b as a panel of float32, 0 in the others. */
static void read_panel(int64_t k, int64_t columns, const float *b, int64_t ldb,
                       int64_t b_col, float *wide)
{
    if (ldb == 1) {
        transpose(columns, k, b, b_col, FA_PANEL, wide, FA_PANEL);
        return;
    }
    for (int64_t i = 0; i < k; i++, b += ldb, wide += FA_PANEL) {
        if (b_col == 1) {
            UNROLL
            for (int j = 0; j < FA_PANEL; j += LANES) {
                vstore(wide + j, vload_tail(b + j, columns - j));
            }
        } else {
            for (int j = 0; j < FA_PANEL; j++) wide[j] = j < columns ? b[j * b_col] : 0.0f;
        }
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
    const int in_place = p->format == FA_FORMAT_FLOAT32 && part.columns == FA_PANEL;
    float *wide = in_place ? (float *)packed : scratch;
    float *scales = p->scales ? p->scales + panel * FA_PANEL + part.lane : 0;
    const float *b = p->b + part.first * p->b_col;
    assert_task(task, pack_tasks(p), scratch);
    read_panel(p->k, part.columns, b, p->ldb, p->b_col, wide);
    if (!in_place) narrow_panel(p->format, p->k, part.columns, wide, packed, scales);
}

/* The t->k rows of a panel of t->b as float32. */
INLINE void widen_panel(const fa_format format, const tile_plan *t, int64_t panel,
                        float *wide)
{
    const char *b = (const char *)t->b + panel * t->b_panel * size_of(format);
    for (int64_t i = 0; i < t->k; i++) {
        UNROLL
        for (int j = 0; j < FA_PANEL; j += LANES) {
            vf x = load_as(format, b + j * size_of(format));
            if (has_scales(format)) x *= vload(t->scales + panel * FA_PANEL + j);
            vstore(wide + j, x);
        }
        b += FA_PANEL * size_of(format);
        wide += FA_PANEL;
    }
}

/* So many panels, the rows of each adjacent. */
static void widen_panels(const tile_plan *t, int64_t first, int64_t panels, float *wide)
{
#define CASE(NAME, ...)                                                                    \
    case FA_FORMAT_##NAME: widen_panel(FA_FORMAT_##NAME, t, panel, wide); break;
    for (int64_t panel = first; panel < first + panels; panel++) {
        switch (t->format) {
            FA_FORMATS(CASE)
        }
        wide += t->k * FA_PANEL;
    }
#undef CASE
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
    transpose(p->k, part.columns, scratch, FA_PANEL, p->k, p->b + part.first * p->k, p->k);
}

/* The floats of scratch that prepare_strip takes, for at most k rows. */
INLINE int64_t strip_floats(const fa_gemm_plan *p, int64_t k)
{
    const int in_place = p->multiplier || (p->format == FA_FORMAT_FLOAT32 && !p->unpacked);
    return in_place ? 0 : k * MAX_PANELS * FA_PANEL;
}

/* Pack t->k rows of the panels of a strip out of an unpacked B. */
static void pack_strip(const fa_gemm_plan *p, int64_t panel, int panels, int64_t start,
                       float *packed, tile_plan *t)
{
    t->format = FA_FORMAT_FLOAT32;
    t->b = packed;
    t->b_panel = t->k * FA_PANEL;
    for (int64_t i = panel; i < panel + panels; i++, packed += t->b_panel) {
        const int64_t columns = min64(p->n - i * FA_PANEL, FA_PANEL);
        const float *b = p->unpacked + start * p->ldb + i * FA_PANEL * p->b_col;
        read_panel(t->k, columns, b, p->ldb, p->b_col, packed);
    }
}

/* Point t to its t->k rows, from `start` on, of the packed panels of a strip, or to what
 * they are widened to where more tiles read it than can each widen it for themselves. */
static void prepare_strip(const fa_gemm_plan *p, int64_t panel, int panels, int64_t start,
                          int64_t tiles, float *wide, tile_plan *t)
{
    const int64_t at = (panel * p->k + start) * FA_PANEL;
    if (p->unpacked) {
        pack_strip(p, panel, panels, start, wide, t);
        return;
    }
    t->format = p->format;
    t->b = (const char *)p->b + at * size_of(p->format);
    t->b_panel = p->k * FA_PANEL;
    if (p->scales) t->scales = p->scales + panel * FA_PANEL;
    if (p->format != FA_FORMAT_FLOAT32 && tiles > WIDENING_TILES) {
        widen_panels(t, 0, panels, wide);
        t->format = FA_FORMAT_FLOAT32;
        t->b = wide;
        t->b_panel = t->k * FA_PANEL;
    }
}

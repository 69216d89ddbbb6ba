/* SPDX-License-Identifier: BSD-3-Clause */
/* gemm.h: the product with packed weights, and its epilogue.
 *
 * A task is a block of rows by a group of panels. Rows and panels are split into equal
 * parts, not into full ones and a rest: 128 rows are 18 tiles of 6 and 4 of 5, never 21
 * of 6 and one of 2. k is never split over tasks.
 */

enum {
    /* Terms of a sum that is started from zero. Partial sums are added in order, which
     * bounds the rounding error by (KC + k / KC) u instead of k u. One constant for all
     * instruction sets: it is part of the result. 384 rows of a 16-column panel are 24 KB,
     * which leaves room in a first-level cache of 32 KB. */
    KC = 384,
    /* Rows of a task, at most: 56 rows of 384 floats are 84 KB, a small part of a
     * second-level cache, and 4 tiles of 14 or 9 of 6. */
    MC = FA_UNPACKED_ROWS,
    /* Blocks of rows that run down the weights together. Threads start at different bands,
     * and a thread finds what it wrote in its own cache when the next product reads it.
     * With one block to a band the weights come from memory twice as often, with four a
     * batch of 256 rows is two bands of different length. */
    BAND_BLOCKS = 2,
    /* Tasks worth having: enough for a few per thread on any machine of a few cores. */
    TASKS_WANTED = 32,
    /* Rows of an epilogue that are worked on at once, in EACH vectors at most. Three divide
     * the tiles of 6 rows, and leave little of taller ones. */
    EPILOGUE_ROWS = EACH / VECTORS < 3 ? EACH / VECTORS : 3,
};
_Static_assert(EPILOGUE_ROWS >= 1, "an epilogue of no rows");

/* How a gemm is cut: the same for every instruction set but for MR and PANELS, or for the
 * tile of an engine. */
typedef struct {
    int64_t row_tiles, row_blocks, bands; /* row tiles in blocks, those in bands */
    int64_t strips, groups; /* panels in strips of a tile's width, those in groups */
} gemm_grid;

static gemm_grid grid_of(const fa_gemm_plan *p)
{
    gemm_grid g;
    const int64_t panels = ceil_div(p->n, FA_PANEL);
    const int64_t most = p->multiplier ? p->multiplier->rows : MR;
    g.row_tiles = ceil_div(p->m, most);
    g.row_blocks = ceil_div(g.row_tiles, MC / most);
    g.bands = ceil_div(g.row_blocks, BAND_BLOCKS);
    const int64_t rows = ceil_div(p->m, g.row_tiles ? g.row_tiles : 1);
    g.strips = ceil_div(panels, p->multiplier ? p->multiplier->panels : panels_for(rows));
    g.groups = g.row_blocks ? ceil_div(TASKS_WANTED, g.row_blocks) : 1;
    g.groups = min64(g.groups, g.strips);
    if (p->norm && g.strips) g.groups = 1; /* a norm needs its whole row */
    return g;
}

static int64_t gemm_tasks(const void *plan)
{
    const gemm_grid g = grid_of(plan);
    return g.row_blocks * g.groups;
}

static int64_t gemm_scratch(const void *plan)
{
    const fa_gemm_plan *p = plan;
    const int64_t sums = MC * (p->multiplier ? FA_TILE_PANELS : MAX_PANELS) * FA_PANEL;
    return (int64_t)sizeof(float) * (sums + strip_floats(p, KC));
}

/* C = activation(sums + bias) * factor + residual for `count` columns of a panel of some
 * rows: a row of a panel is a cache line of C, which is written in one go. */
INLINE void epilogue_block(const fa_gemm_plan *p, const fa_activation activation,
                           const int rows, const float *sums, int64_t row, int64_t column,
                           int64_t count)
{
    vf x[EACH];
    UNROLL
    for (int i = 0; i < rows * VECTORS; i++) {
        const int64_t at = i % VECTORS * LANES;
        x[i] = vload(sums + i * LANES);
        if (p->bias) x[i] += vload_tail(p->bias + column + at, count - at);
    }
    activate_each(activation, rows * VECTORS, x);
    UNROLL
    for (int i = 0; i < rows * VECTORS; i++) {
        const int64_t at = i % VECTORS * LANES, left = count - at;
        const int64_t r = row + i / VECTORS, c = column + at;
        if (p->factor) x[i] *= vload_tail(p->factor + r * p->ldf + c, left);
        if (p->residual) x[i] += vload_tail(p->residual + r * p->ldr + c, left);
        vstore_tail(p->c + r * p->ldc + c, x[i], left);
    }
}

INLINE void epilogue_rows(const fa_gemm_plan *p, const fa_activation activation,
                          const float *sums, int64_t c_panel, int64_t row, int64_t rows,
                          int64_t column, int64_t columns)
{
    for (int64_t j = 0; j < columns; j += FA_PANEL) {
        const float *from = sums + j / FA_PANEL * c_panel;
        const int64_t count = min64(columns - j, FA_PANEL);
        int64_t i = 0;
        /* Whole panels, as almost all are, need not ask how wide they are. */
        for (; count == FA_PANEL && rows - i >= EPILOGUE_ROWS; i += EPILOGUE_ROWS) {
            epilogue_block(p, activation, EPILOGUE_ROWS, from + i * FA_PANEL, row + i,
                           column + j, FA_PANEL);
        }
        for (; i < rows; i++) {
            epilogue_block(p, activation, 1, from + i * FA_PANEL, row + i, column + j,
                           count);
        }
    }
}

static void epilogue(const fa_gemm_plan *p, const float *sums, int64_t c_panel, int64_t row,
                     int64_t rows, int64_t column, int64_t columns)
{
#define CASE(NAME, name)                                                                   \
    case FA_##NAME:                                                                        \
        epilogue_rows(p, FA_##NAME, sums, c_panel, row, rows, column, columns);            \
        break;
    switch (p->activation) {
        FA_ACTIVATIONS(CASE)
    }
#undef CASE
}

/* Let the tiles of a strip prefetch the next panels: those of the next KC terms, or of the
 * next strip. All tiles that read a panel share its prefetch, so that lines are requested
 * evenly over the work. A single tile has to wait for its own lines. */
INLINE void prefetch_next_panels(const fa_gemm_plan *p, int64_t panel, int panels,
                                 int64_t start, int64_t tile, int64_t tiles, tile_plan *t)
{
    const int64_t sharing = tiles < panels ? 1 : tiles / panels, next = tile / sharing;
    t->next = t->b;
    t->next_step = 0;
    if (tiles == 1 || next >= panels || p->unpacked) return;
    start += t->k;
    const int64_t row =
        start < p->k ? (panel + next) * p->k + start : (panel + panels + next) * p->k;
    t->next = (const char *)p->b + row * FA_PANEL * size_of(p->format) +
              tile % sharing * t->k / sharing * FA_ALIGN;
    t->next_step = FA_ALIGN / sharing;
}

/* Let the tiles of the first strip prefetch the rows of A that stand where theirs do among
 * the next p->m rows, a few bytes at each step of p. */
INLINE void prefetch_next_rows(const fa_gemm_plan *p, int64_t panel, int64_t row,
                               int64_t rows, int64_t start, tile_plan *t)
{
    t->next = t->b;
    t->next_step = 0;
    if (panel) return;
    t->next_step = rows * (int64_t)sizeof(float);
    t->next = (const char *)(p->a + (row + p->m) * p->lda) + start * t->next_step;
}

/* Fold the activated rows of a tile into those of C that own them, in order. */
static void fold_rows(const fa_gemm_plan *p, const float *sums, int64_t c_panel,
                      int64_t row, int64_t rows, int64_t column, int64_t columns)
{
    for (int64_t j = 0; j < columns; j += LANES) {
        const float *from = sums + j / FA_PANEL * c_panel + j % FA_PANEL;
        const int64_t count = min64(columns - j, LANES);
        for (int64_t i = 0; i < rows;) {
            const int64_t owner = p->owners[row + i];
            float *to = p->c + owner * p->ldc + column + j;
            vf all = vload_tail(to, count);
            for (; i < rows && p->owners[row + i] == owner; i++) {
                vf x = vload(from + i * FA_PANEL);
                if (p->bias) x += vload_tail(p->bias + column + j, count);
                activate_each(p->activation, 1, &x);
                all = p->fold == FA_FOLD_SUM ? all + x : vmax_or_nan(all, x);
            }
            vstore_tail(to, all, count);
        }
    }
}

/* A strip of panels, as wide as a tile, for the row tiles first_tile .. last_tile. The
 * sums of the strip stay in scratch, panel by panel, until the last terms are in; the
 * epilogue then runs on each tile while it is in the first-level cache. */
static void gemm_strip(const fa_gemm_plan *p, const gemm_grid *g, int64_t first_tile,
                       int64_t last_tile, int64_t strip, float *sums)
{
    const int64_t all = ceil_div(p->n, FA_PANEL);
    const int64_t panel = part_start(all, g->strips, strip);
    const int panels = (int)(part_start(all, g->strips, strip + 1) - panel);
    const int64_t first_row = part_start(p->m, g->row_tiles, first_tile);
    const int64_t column = panel * FA_PANEL;
    const int64_t columns = min64(p->n - column, panels * FA_PANEL);
    const int64_t c_panel = MC * FA_PANEL, block = p->multiplier ? p->k : KC;
    const int64_t each = p->m / g->row_tiles, longer = p->m % g->row_tiles;
    const int transposed = p->a_col != 1;
    tile_plan t = {
        .lda = transposed ? p->a_col : p->lda, .ldc = FA_PANEL, .c_panel = c_panel};
    int64_t start = 0;
    do { /* at least once: with k = 0 the sums are zero */
        t.k = min64(p->k - start, block);
        t.beta = start ? ONES : 0;
        if (!p->multiplier) {
            prepare_strip(p, panel, panels, start, last_tile - first_tile,
                          sums + MAX_PANELS * c_panel, &t);
        }
        for (int64_t tile = first_tile; tile < last_tile; tile++) {
            /* As part_start says, which divides: that is 5 % of an int8 tile's time. */
            const int64_t row = tile * each + min64(tile, longer);
            const int64_t rows = each + (tile < longer);
            t.a = p->a + row * p->lda + start * p->a_col;
            t.c = sums + (row - first_row) * FA_PANEL;
            if (p->multiplier) {
                multiply_groups(p, row, rows, panel, panels, t.c, c_panel);
            } else {
                if (p->best) prefetch_next_rows(p, panel, row, rows, start, &t);
                else
                    prefetch_next_panels(p, panel, panels, start, tile - first_tile,
                                         last_tile - first_tile, &t);
                if (transposed) multiply_tile_transposed((int)rows, panels, &t);
                else multiply_packed((int)rows, panels, &t);
            }
            if (start + t.k < p->k) continue;
            if (p->owners) fold_rows(p, t.c, c_panel, row, rows, column, columns);
            else if (p->best) keep_tile(p->best, t.c, c_panel, row, rows, column, columns);
            else epilogue(p, t.c, c_panel, row, rows, column, columns);
        }
        start += block;
    } while (start < p->k);
}

static void gemm_run(const void *plan, int64_t task, void *scratch)
{
    const fa_gemm_plan *p = plan;
    const gemm_grid g = grid_of(p);
    assert_task(task, gemm_tasks(p), scratch);
    assert((uintptr_t)p->b % FA_ALIGN == 0);
    assert(p->a_col == 1 || (p->format == FA_FORMAT_FLOAT32 && (p->lda == 1 || p->m == 1)));
    /* Band by band; in a band neighbouring tasks share their panels, which stay in the
     * second-level cache. */
    int64_t band = task / (g.groups * BAND_BLOCKS);
    while (part_start(g.row_blocks, g.bands, band + 1) * g.groups <= task) band++;
    const int64_t first_block = part_start(g.row_blocks, g.bands, band);
    const int64_t blocks = part_start(g.row_blocks, g.bands, band + 1) - first_block;
    const int64_t local = task - first_block * g.groups;
    const int64_t block = first_block + local % blocks, group = local / blocks;
    const int64_t first_tile = part_start(g.row_tiles, g.row_blocks, block);
    const int64_t last_tile = part_start(g.row_tiles, g.row_blocks, block + 1);
    const int64_t last_strip = part_start(g.strips, g.groups, group + 1);
    for (int64_t s = part_start(g.strips, g.groups, group); s < last_strip; s++) {
        gemm_strip(p, &g, first_tile, last_tile, s, scratch);
    }
    if (p->norm) {
        const int64_t last_row = part_start(p->m, g.row_tiles, last_tile);
        for (int64_t i = part_start(p->m, g.row_tiles, first_tile); i < last_row; i++) {
            float *row = p->c + i * p->ldc;
            norm_row(p->n, row, 0, p->norm_weight, p->norm_bias, p->norm_eps, row);
        }
    }
}

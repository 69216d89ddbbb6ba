/* SPDX-License-Identifier: BSD-3-Clause */
/* group_tile.h: tiles that an engine multiplies, and what becomes of its sums.
 *
 * Sums of integers over the terms of a block are exact, so that no engine and no table
 * changes a bit of them; then they are converted, multiplied with the scales of their row
 * and column, and added in order. bfloat16 is one chain of float32 over a block. */

/* Panels that are taken in at once: what a row has is then loaded once for all. */
enum { TAKEN_PANELS = VECTORS < 4 ? 4 / VECTORS : 1 };

/* sums = raw, of the first block, or sums + raw. */
INLINE void take_in(const fa_precision precision, const fa_gemm_plan *p, int64_t row,
                    int64_t rows, int64_t panel, const int panels, int64_t block,
                    const int32_t *raw, float *sums, int64_t c_panel)
{
    const int64_t blocks = num_blocks(precision, p->k), first = row * blocks + block;
    vf scale[TAKEN_PANELS * VECTORS] = {{0}}, all[TAKEN_PANELS * VECTORS] = {{0}};
    UNROLL
    for (int j = 0; j < panels * VECTORS; j++) {
        const int64_t at = ((panel + j / VECTORS) * blocks + block) * FA_PANEL;
        const int64_t from = at + j % VECTORS * LANES;
        if (precision != FA_IN_BFLOAT16) scale[j] = vload(p->scales + from);
        if (precision == FA_IN_INT8) all[j] = vload(p->sums + from);
    }
    for (int64_t i = 0; i < rows; i++, raw += FA_PANEL, sums += FA_PANEL) {
        const int64_t at = first + i * blocks;
        vf zero = {0}, of_row = {0};
        if (precision != FA_IN_BFLOAT16) of_row = vsplat(p->rows.scales[at]);
        if (precision == FA_IN_INT8) {
            zero = vsplat(p->multiplier->offset - p->rows.zeros[at]);
        }
        UNROLL
        for (int j = 0; j < panels * VECTORS; j++) {
            const int64_t lane = j % VECTORS * LANES;
            float *to = sums + j / VECTORS * c_panel + lane;
            const vi sum = vload_int(raw + j / VECTORS * FA_TILE_ROWS * FA_PANEL + lane);
            vf x = (vf)sum;
            if (precision != FA_IN_BFLOAT16) x = __builtin_convertvector(sum, vf);
            /* Exact: these are integers below 2^24. */
            if (precision == FA_IN_INT8) x = vfma(zero, all[j], x);
            if (precision != FA_IN_BFLOAT16) x *= of_row * scale[j];
            if (block) x = vload(to) + x;
            vstore(to, x);
        }
    }
}

/* The sums of a tile of `panels` panels, c_panel apart. */
INLINE void multiply_blocks(const fa_precision precision, const fa_gemm_plan *p,
                            int64_t row, int64_t rows, int64_t panel, int panels,
                            float *sums, int64_t c_panel)
{
    int32_t raw[FA_TILE_PANELS * FA_TILE_ROWS * FA_PANEL];
    const int64_t block = FA_PRECISION_FACTS[precision].block;
    const int64_t bytes = block * FA_PRECISION_FACTS[precision].bytes;
    fa_group_tile tile = {
        .rows = rows,
        .panels = panels,
        .a = (const char *)p->rows.groups + row * p->rows.ld,
        .lda = p->rows.ld,
        .b = (const char *)p->b + panel * p->rows.ld * FA_PANEL,
        .b_panel = p->rows.ld * FA_PANEL,
        .c = raw,
    };
    for (int64_t b = 0; b < num_blocks(precision, p->k); b++) {
        tile.groups = num_groups(precision, min64(p->k - b * block, block));
        p->multiplier->multiply(&tile);
        int i = 0;
        for (; panels - i >= TAKEN_PANELS; i += TAKEN_PANELS) {
            take_in(precision, p, row, rows, panel + i, TAKEN_PANELS, b,
                    raw + i * FA_TILE_ROWS * FA_PANEL, sums + i * c_panel, c_panel);
        }
        for (; i < panels; i++) {
            take_in(precision, p, row, rows, panel + i, 1, b,
                    raw + i * FA_TILE_ROWS * FA_PANEL, sums + i * c_panel, c_panel);
        }
        tile.a += bytes;
        tile.b += bytes * FA_PANEL;
    }
}

static void multiply_groups(const fa_gemm_plan *p, int64_t row, int64_t rows, int64_t panel,
                            int panels, float *sums, int64_t c_panel)
{
#define CASE(NAME, ...)                                                                    \
    case FA_IN_##NAME:                                                                     \
        multiply_blocks(FA_IN_##NAME, p, row, rows, panel, panels, sums, c_panel);         \
        break;
    switch (p->precision) {
        FA_PRECISIONS(CASE)
    case FA_NUM_PRECISIONS: break;
    }
#undef CASE
}

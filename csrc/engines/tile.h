/* SPDX-License-Identifier: BSD-3-Clause */
/* tile.h: the one loop nest of the engines.
 *
 * An engine defines, before it includes this, ROWS and PANELS, its largest tile; `words`, a
 * register of groups, and `sums`, one of accumulators; and add_products, which adds the
 * products of the terms of each group to each. The tiles are inlined into one function for
 * each precision that it has. */

/* Groups between the load and the prefetch: few rows would wait for their weights. */
enum { AHEAD = 32 };

/* Of a register, and the registers of a panel. */
enum { WORDS = sizeof(words) / sizeof(int32_t), PARTS = FA_PANEL / WORDS };

/* Rows are found from every fourth one, as in micro_kernel.h. */
INLINE void run_rows(const fa_precision precision, const int rows, const int panels,
                     const fa_group_tile *tile, int64_t panel)
{
    sums acc[ROWS][PANELS * PARTS];
    const int64_t lda = tile->lda;
    const char *a[(ROWS + 3) / 4], *b = tile->b + panel * tile->b_panel;
    UNROLL
    for (int i = 0; i < rows; i++) {
        if (i % 4 == 0) {
            a[i / 4] = tile->a + i * lda;
            KEEP_APART(a[i / 4]);
        }
        UNROLL
        for (int j = 0; j < panels * PARTS; j++) acc[i][j] = (sums){0};
    }
    for (int64_t g = 0; g < tile->groups; g++) {
        words columns[PANELS * PARTS];
        UNROLL
        for (int j = 0; j < panels * PARTS; j++) {
            columns[j] = ((const words *)(b + j / PARTS * tile->b_panel))[j % PARTS];
        }
        UNROLL
        for (int j = 0; j < panels; j++) {
            __builtin_prefetch(b + j * tile->b_panel + AHEAD * FA_ALIGN);
        }
        UNROLL
        for (int i = 0; i < rows; i++) {
            int32_t group;
            memcpy(&group, a[i / 4] + i % 4 * lda, sizeof group);
            const words x = (words){0} + group;
            UNROLL
            for (int j = 0; j < panels * PARTS; j++) {
                acc[i][j] = add_products(precision, x, columns[j], acc[i][j]);
            }
        }
        UNROLL
        for (int i = 0; i < rows; i += 4) a[i / 4] += sizeof(int32_t);
        b += FA_ALIGN;
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int j = 0; j < panels * PARTS; j++) {
            int32_t *c = tile->c + (panel + j / PARTS) * FA_TILE_ROWS * FA_PANEL;
            memcpy(c + i * FA_PANEL + j % PARTS * WORDS, &acc[i][j], sizeof(sums));
        }
    }
}

INLINE void run_panels(const fa_precision precision, const int most, const int panels,
                       const fa_group_tile *tile, int64_t panel)
{
    /* clang-format off */
    switch (tile->rows) {
    case 6: if (most >= 6) run_rows(precision, 6, panels, tile, panel); break;
    case 5: if (most >= 5) run_rows(precision, 5, panels, tile, panel); break;
    case 4: if (most >= 4) run_rows(precision, 4, panels, tile, panel); break;
    case 3: if (most >= 3) run_rows(precision, 3, panels, tile, panel); break;
    case 2: if (most >= 2) run_rows(precision, 2, panels, tile, panel); break;
    case 1: run_rows(precision, 1, panels, tile, panel); break;
    }
    /* clang-format on */
}

/* At most `most` rows; all PANELS at once, or else one after the other. */
INLINE void run_tile(const fa_precision precision, const int most,
                     const fa_group_tile *tile)
{
    if (tile->panels == PANELS) {
        run_panels(precision, most, PANELS, tile, 0);
        return;
    }
    for (int64_t j = 0; j < tile->panels; j++) {
        run_panels(precision, most, 1, tile, j);
    }
}

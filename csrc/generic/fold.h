/* SPDX-License-Identifier: BSD-3-Clause */
/* fold.h: a product whose rows are folded into one for each sequence, so that a result of
 * many columns is never stored for every row.
 *
 * A task is some strips of panels for all rows, so that nobody else folds into the same
 * elements. It folds the rows of a sequence in order, whatever tiles they are in. */

enum {
    /* Strips that a block of rows meets before the next block comes: theirs are 200 KB of
     * panels, which stay in a second-level cache with the block, and all rows come from
     * beyond it a fourth as often as they would for each strip. */
    FOLD_STRIPS = 4,
};

static gemm_grid fold_grid(const fa_gemm_plan *p)
{
    gemm_grid g = grid_of(p);
    g.groups = min64(TASKS_WANTED, g.strips);
    return g;
}

static int64_t fold_tasks(const void *plan) { return fold_grid(plan).groups; }

static void fold_run(const void *plan, int64_t task, void *scratch)
{
    const fa_gemm_plan *p = plan;
    const gemm_grid g = fold_grid(p);
    const int64_t first_strip = part_start(g.strips, g.groups, task);
    const int64_t last_strip = part_start(g.strips, g.groups, task + 1);
    const int64_t panels = ceil_div(p->n, FA_PANEL);
    const int64_t column = part_start(panels, g.strips, first_strip) * FA_PANEL;
    const int64_t end = part_start(panels, g.strips, last_strip) * FA_PANEL;
    assert_task(task, fold_tasks(p), scratch);
    for (int64_t i = 0; i < p->num_owners; i++) {
        const int64_t columns = min64(p->n, end) - column;
        memset(p->c + i * p->ldc + column, 0, (size_t)columns * sizeof *p->c);
    }
    for (int64_t first = first_strip; first < last_strip; first += FOLD_STRIPS) {
        for (int64_t block = 0; block < g.row_blocks; block++) {
            const int64_t first_tile = part_start(g.row_tiles, g.row_blocks, block);
            const int64_t last_tile = part_start(g.row_tiles, g.row_blocks, block + 1);
            for (int64_t i = first; i < min64(first + FOLD_STRIPS, last_strip); i++) {
                gemm_strip(p, &g, first_tile, last_tile, i, scratch);
            }
        }
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* group_tile.h: tiles that an engine multiplies, and what becomes of its sums.
 *
 * Sums of integers are exact, so that no engine and no table changes a bit of them: those
 * of int8 over all terms, those of int16 over KC of them, which are then converted and
 * added in order. bfloat16 is one chain of float32 over KC terms. */

/* sums = raw, or sums + raw; after the last terms times the scales of row and column. */
INLINE void take_in(const fa_precision precision, const fa_gemm_plan *p, int64_t row,
                    int64_t rows, int64_t column, const int32_t *raw, const int first,
                    const int last, float *sums)
{
    for (int j = 0; j < FA_PANEL; j += LANES) {
        vf scale = {0};
        vi all = {0};
        if (precision != FA_IN_BFLOAT16) scale = vload(p->scales + column + j);
        if (precision == FA_IN_INT8) all = vload_int(p->sums + column + j);
        for (int64_t i = 0; i < rows; i++) {
            vi sum = vload_int(raw + i * FA_PANEL + j);
            if (precision == FA_IN_INT8) {
                sum -= all * (p->rows.zeros[row + i] - p->multiplier->offset);
            }
            vf x = (vf)sum;
            if (precision != FA_IN_BFLOAT16) x = __builtin_convertvector(sum, vf);
            if (precision != FA_IN_INT8 && !first) x = vload(sums + i * FA_PANEL + j) + x;
            if (precision == FA_IN_INT8 || (precision == FA_IN_INT16 && last)) {
                x *= vsplat(p->rows.scales[row + i]) * scale;
            }
            vstore(sums + i * FA_PANEL + j, x);
        }
    }
}

/* k terms, from `start` on, of the sums of a tile of `panels` panels, c_panel apart. */
static void multiply_groups(const fa_gemm_plan *p, int64_t row, int64_t rows, int64_t panel,
                            int panels, int64_t start, int64_t k, float *sums,
                            int64_t c_panel)
{
    int32_t raw[FA_TILE_PANELS * FA_TILE_ROWS * FA_PANEL];
    const int64_t before = start * FA_PRECISION_FACTS[p->precision].bytes;
    const int64_t b_panel = p->rows.ld * FA_PANEL;
    const fa_group_tile tile = {
        .rows = rows,
        .panels = panels,
        .groups = num_groups(p->precision, k),
        .a = (const char *)p->rows.groups + row * p->rows.ld + before,
        .lda = p->rows.ld,
        .b = (const char *)p->b + panel * b_panel + before * FA_PANEL,
        .b_panel = b_panel,
        .c = raw,
    };
    const int first = start == 0, last = start + k == p->k;
    p->multiplier->multiply(&tile);
    for (int i = 0; i < panels; i++) {
        const int32_t *from = raw + i * FA_TILE_ROWS * FA_PANEL;
        const int64_t column = (panel + i) * FA_PANEL;
#define CASE(NAME, ...)                                                                    \
    case FA_IN_##NAME:                                                                     \
        take_in(FA_IN_##NAME, p, row, rows, column, from, first, last,                     \
                sums + i * c_panel);                                                       \
        break;
        switch (p->precision) {
            FA_PRECISIONS(CASE)
        case FA_NUM_PRECISIONS: break;
        }
#undef CASE
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* softmax.h: softmax of rows, shifted by the row's maximum so that nothing overflows. */

/* y = e^(x - max) for a block of columns; returns their sum. */
static float exp_block(int64_t n, const float *x, vf max, float *y)
{
    vf sums[VECTORS] = {{0}};
    for (int64_t i = 0; i < n; i += FA_PANEL) {
        UNROLL
        for (int v = 0; v < VECTORS; v++) {
            const int64_t at = i + v * LANES;
            vf e = vexp_nonpositive(vload_tail(x + at, n - at) - max);
            if (n - at < LANES) e = (vf)((vi)e & vfirst(n - at));
            sums[v] += e;
            vstore_tail(y + at, e, n - at);
        }
    }
    return sum16(sums);
}

static void softmax_row(int64_t n, const float *x, float *y)
{
    vf maxima[VECTORS];
    UNROLL
    for (int v = 0; v < VECTORS; v++) maxima[v] = vsplat(-INFINITY);
    for (int64_t i = 0; i < n; i += FA_PANEL) {
        UNROLL
        for (int v = 0; v < VECTORS; v++) {
            const int64_t at = i + v * LANES;
            vf t = vload_tail(x + at, n - at);
            if (n - at < LANES) t = vselect(vfirst(n - at), t, vsplat(-INFINITY));
            maxima[v] = vmax(maxima[v], t);
        }
    }
    const vf max = vsplat(max16(maxima));
    double total = 0.0;
    for (int64_t i = 0; i < n; i += SUM_BLOCK) {
        total += (double)exp_block(block_columns(i, n), x + i, max, y + i);
    }
    const vf reciprocal = vsplat(1.0f / (float)total);
    for (int64_t i = 0; i < n; i += LANES) {
        vstore_tail(y + i, vload_tail(y + i, n - i) * reciprocal, n - i);
    }
}

enum { SOFTMAX_TASK = 1 << 13 }; /* elements: about ten microseconds */

static int64_t softmax_rows_per_task(const fa_softmax_plan *p)
{
    return p->cols < SOFTMAX_TASK ? SOFTMAX_TASK / (p->cols > 0 ? p->cols : 1) : 1;
}

static int64_t softmax_tasks(const void *plan)
{
    const fa_softmax_plan *p = plan;
    return ceil_div(p->rows, softmax_rows_per_task(p));
}

static void softmax_run(const void *plan, int64_t task, void *scratch)
{
    const fa_softmax_plan *p = plan;
    const row_range rows = rows_of_task(task, softmax_rows_per_task(p), p->rows);
    assert_task(task, softmax_tasks(p), scratch);
    for (int64_t i = rows.start; i < rows.end; i++) {
        softmax_row(p->cols, p->x + i * p->ldx, p->y + i * p->ldy);
    }
}

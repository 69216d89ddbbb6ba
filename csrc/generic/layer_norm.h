/* SPDX-License-Identifier: BSD-3-Clause */
/* layer_norm.h: layer normalisation of a row (Ba, Kiros & Hinton 2016), in two passes, and
 * RMS normalisation (Zhang & Sennrich 2019), which is the same around 0.
 *
 * The mean of squares minus the square of the mean would need one pass and lose
 * mean^2 / var of the precision; the row is in the first-level cache anyway.
 */

/* The sum of (x - centre)^power over a block; power is 1 or 2. */
INLINE float block_sum(const int power, int64_t n, const float *x, float centre)
{
    vf sums[VECTORS] = {{0}};
    for (int64_t i = 0; i < n; i += FA_PANEL) {
        UNROLL
        for (int v = 0; v < VECTORS; v++) {
            const int64_t at = i + v * LANES;
            vf d = vload_tail(x + at, n - at) - vsplat(centre);
            if (n - at < LANES) d = (vf)((vi)d & vfirst(n - at));
            sums[v] = power == 1 ? sums[v] + d : vfma(d, d, sums[v]);
        }
    }
    return sum16(sums);
}

/* mean((x - centre)^power) */
INLINE float row_mean(const int power, int64_t n, const float *x, float centre)
{
    double total = 0.0;
    for (int64_t i = 0; i < n; i += SUM_BLOCK) {
        total += (double)block_sum(power, block_columns(i, n), x + i, centre);
    }
    return (float)total / (float)n;
}

/* y = (x - centre) / sqrt(mean((x - centre)^2) + eps) * weight + bias; y may be x. */
static void norm_row(int64_t n, const float *x, float centre, const float *weight,
                     const float *bias, float eps, float *y)
{
    const vf mean = vsplat(centre);
    const vf rstd = vsplat(1.0f / sqrtf(row_mean(2, n, x, centre) + eps));
    for (int64_t i = 0; i < n; i += LANES) {
        vf normed = (vload_tail(x + i, n - i) - mean) * rstd;
        const vf shift = bias ? vload_tail(bias + i, n - i) : vsplat(0.0f);
        if (weight) normed = vfma(normed, vload_tail(weight + i, n - i), shift);
        else normed += shift;
        vstore_tail(y + i, normed, n - i);
    }
}

static void layer_norm_row(int64_t n, const float *x, const float *weight,
                           const float *bias, float eps, float *y)
{
    norm_row(n, x, row_mean(1, n, x, 0.0f), weight, bias, eps, y);
}

enum { NORM_TASK = 16 }; /* rows: a few microseconds at the widths of encoders */

static int64_t layer_norm_tasks(const void *plan)
{
    return ceil_div(((const fa_layer_norm_plan *)plan)->rows, NORM_TASK);
}

static void layer_norm_run(const void *plan, int64_t task, void *scratch)
{
    const fa_layer_norm_plan *p = plan;
    const row_range rows = rows_of_task(task, NORM_TASK, p->rows);
    assert_task(task, layer_norm_tasks(p), scratch);
    for (int64_t i = rows.start; i < rows.end; i++) {
        const float *x = p->x + i * p->ldx;
        norm_row(p->cols, x, p->rms ? 0.0f : row_mean(1, p->cols, x, 0.0f), p->weight,
                 p->bias, p->eps, p->y + i * p->ldy);
    }
}

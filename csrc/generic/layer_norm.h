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
INLINE double row_sum(const int power, int64_t n, const float *x, float centre)
{
    double total = 0.0;
    for (int64_t i = 0; i < n; i += SUM_BLOCK) {
        total += (double)block_sum(power, block_columns(i, n), x + i, centre);
    }
    return total;
}

INLINE float row_mean(const int power, int64_t n, const float *x, float centre)
{
    return (float)row_sum(power, n, x, centre) / (float)n;
}

/* y = (x - centre) * factor * weight + bias; y may be x. */
INLINE void scale_row(int64_t n, const float *x, float centre, float factor,
                      const float *weight, const float *bias, float *y)
{
    const vf mean = vsplat(centre), rstd = vsplat(factor);
    for (int64_t i = 0; i < n; i += LANES) {
        vf normed = (vload_tail(x + i, n - i) - mean) * rstd;
        const vf shift = bias ? vload_tail(bias + i, n - i) : vsplat(0.0f);
        if (weight) normed = vfma(normed, vload_tail(weight + i, n - i), shift);
        else normed += shift;
        vstore_tail(y + i, normed, n - i);
    }
}

/* A power of two that brings the largest magnitude of a row to 1 or a little more; 1 where
 * that is infinite or NaN. The powers stay normal, so numbers at either end of float32
 * come to 4 and to 2^-22. */
static float scale_of_row(int64_t n, const float *x)
{
    int32_t exponent = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits = bits >> 23 & 0xff;
        exponent = exponent > bits ? exponent : bits;
    }
    const int32_t power = exponent > 253 ? 1 : 254 - exponent;
    const int32_t bits = (exponent == 0xff ? 127 : power) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

/* norm_row for any finite numbers. They are scaled, so that no square overflows or
 * vanishes, and centred twice: what a first mean lost in rounding is the mean of the
 * differences from it, and these differences are exact where they are small. */
static void norm_any_row(int64_t n, const float *x, int rms, const float *weight,
                         const float *bias, float eps, float *y)
{
    const float scale = scale_of_row(n, x);
    float centre = 0.0f;
    scale_row(n, x, 0.0f, scale, NULL, NULL, y);
    if (!rms) {
        scale_row(n, y, row_mean(1, n, y, 0.0f), 1.0f, NULL, NULL, y);
        centre = row_mean(1, n, y, 0.0f);
    }
    /* An eps that vanishes beside the numbers still keeps a constant row finite. */
    double scaled_eps = (double)eps * scale * scale;
    if (eps > 0.0f && scaled_eps < FLT_MIN) scaled_eps = FLT_MIN;
    const double var = row_mean(2, n, y, centre) + scaled_eps;
    scale_row(n, y, centre, (float)(1.0 / sqrt(var)), weight, bias, y);
}

/* Standard deviations from 0 to the mean up to which one mean will do: what its rounding
 * costs is then at most four times what that of a mean near 0 may. In MiniLM no mean is
 * further than 0.1. */
#define FAR_MEAN 4.0

/* y = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias, with 0 for the mean
 * where `rms`; y may be x. */
static void norm_row(int64_t n, const float *x, int rms, const float *weight,
                     const float *bias, float eps, float *y)
{
    const float centre = rms ? 0.0f : row_mean(1, n, x, 0.0f);
    const float var = row_mean(2, n, x, centre);
    /* Squares that overflow make infinity or NaN, for which no comparison holds, or which
     * is too large; those that vanish make less than the smallest normal number. */
    const int plain = var <= FLT_MAX && var >= FLT_MIN &&
                      (double)centre * centre <= FAR_MEAN * FAR_MEAN * var;
    if (plain) scale_row(n, x, centre, 1.0f / sqrtf(var + eps), weight, bias, y);
    else norm_any_row(n, x, rms, weight, bias, eps, y);
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
        norm_row(p->cols, p->x + i * p->ldx, p->rms, p->weight, p->bias, p->eps,
                 p->y + i * p->ldy);
    }
}

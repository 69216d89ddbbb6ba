/* SPDX-License-Identifier: BSD-3-Clause */
/* pooling.h: packed sequences of token vectors to one vector each. A task is a sequence.
 *
 * Each name of FA_POOLINGS has its loop here, a function pool_<name> that makes y (dim,) of
 * the rows first .. end of x (end, dim), of which there is at least one. */

/* y = the sum of weight(row) x[row] / divisor, in order; all weights are 1, or row + 1. */
INLINE void pool_sum(const int weighted, double divisor, int64_t first, int64_t end,
                     int64_t dim, const float *x, int64_t ldx, float *y)
{
    for (int64_t i = 0; i < dim; i += LANES) {
        vf sum = {0};
        for (int64_t row = first; row < end; row++) {
            const vf element = vload_tail(x + row * ldx + i, dim - i);
            sum = weighted ? vfma(element, vsplat((float)(row + 1)), sum) : sum + element;
        }
        vstore_tail(y + i, sum / vsplat((float)divisor), dim - i);
    }
}

/* The first row, that of the token [CLS]. */
static void pool_cls(int64_t first, int64_t end, int64_t dim, const float *x, int64_t ldx,
                     float *y)
{
    (void)end;
    pool_sum(0, 1, first, first + 1, dim, x, ldx, y);
}

/* NaN stays NaN. */
static void pool_max(int64_t first, int64_t end, int64_t dim, const float *x, int64_t ldx,
                     float *y)
{
    for (int64_t i = 0; i < dim; i += LANES) {
        vf most = vload_tail(x + first * ldx + i, dim - i);
        for (int64_t row = first + 1; row < end; row++) {
            const vf element = vload_tail(x + row * ldx + i, dim - i);
            most = vmax_or_nan(most, element);
        }
        vstore_tail(y + i, most, dim - i);
    }
}

static void pool_mean(int64_t first, int64_t end, int64_t dim, const float *x, int64_t ldx,
                      float *y)
{
    pool_sum(0, (double)(end - first), first, end, dim, x, ldx, y);
}

static void pool_mean_sqrt_len_tokens(int64_t first, int64_t end, int64_t dim,
                                      const float *x, int64_t ldx, float *y)
{
    pool_sum(0, sqrt((double)(end - first)), first, end, dim, x, ldx, y);
}

/* Later rows weigh more: a causal model has seen more there (Muennighoff 2022, "SGPT"). */
static void pool_weightedmean(int64_t first, int64_t end, int64_t dim, const float *x,
                              int64_t ldx, float *y)
{
    const double count = (double)(end - first);
    pool_sum(1, count * (double)(first + 1 + end) / 2, first, end, dim, x, ldx, y);
}

static void pool_lasttoken(int64_t first, int64_t end, int64_t dim, const float *x,
                           int64_t ldx, float *y)
{
    (void)first;
    pool_sum(0, 1, end - 1, end, dim, x, ldx, y);
}

static int64_t pool_tasks(const void *plan)
{
    return ((const fa_pool_plan *)plan)->num_sequences;
}

/* y = y / max(|y|, 1e-12), as torch.nn.functional.normalize. */
static void normalize_row(int64_t n, float *y)
{
    float squares = block_sum(2, n, y, 0.0f);
    /* Those that vanish leave a length that is below 1e-12 anyway. */
    if (squares > FLT_MAX) {
        scale_row(n, y, 0.0f, scale_of_row(n, y), NULL, NULL, y);
        squares = block_sum(2, n, y, 0.0f);
    }
    const float length = sqrtf(squares);
    scale_row(n, y, 0.0f, 1.0f / (length < 1e-12f ? 1e-12f : length), NULL, NULL, y);
}

static void pool_run(const void *plan, int64_t task, void *scratch)
{
    const fa_pool_plan *p = plan;
    const int64_t start = p->cu_seqlens[task];
    const int64_t rows = p->cu_seqlens[task + 1] - start;
    const float *x = p->x + start * p->ldx;
    float *y = p->y + task * p->ldy;
    assert_task(task, pool_tasks(p), scratch);
    assert(0 <= rows);
    if (rows <= p->first) {
        memset(y, 0, (size_t)p->dim * sizeof *y);
        return;
    }
#define CASE(NAME, name)                                                                   \
    case FA_POOL_##NAME: pool_##name(p->first, rows, p->dim, x, p->ldx, y); break;
    switch (p->pooling) {
        FA_POOLINGS(CASE)
    }
#undef CASE
    if (p->normalize) normalize_row(p->dim, y);
}

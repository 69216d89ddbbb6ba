/* SPDX-License-Identifier: BSD-3-Clause */
/* pooling.h: packed sequences of token vectors to one vector each. A task is a sequence.
 *
 * Each name of FA_POOLINGS has its loop here, a function pool_<name> that makes y (dim,) of
 * x (rows, dim), of which there is at least one row. */

static void pool_mean(int64_t rows, int64_t dim, const float *x, int64_t ldx, float *y)
{
    for (int64_t i = 0; i < dim; i += LANES) {
        vf sum = {0};
        for (int64_t row = 0; row < rows; row++) {
            sum += vload_tail(x + row * ldx + i, dim - i);
        }
        vstore_tail(y + i, sum / vsplat((float)rows), dim - i);
    }
}

/* The first row, that of the token [CLS]. */
static void pool_cls(int64_t rows, int64_t dim, const float *x, int64_t ldx, float *y)
{
    (void)rows;
    pool_mean(1, dim, x, ldx, y);
}

static int64_t pool_tasks(const void *plan)
{
    return ((const fa_pool_plan *)plan)->num_sequences;
}

/* y = x / max(|x|, 1e-12), as torch.nn.functional.normalize. */
static void normalize_row(int64_t n, float *y)
{
    vf squares[VECTORS] = {{0}};
    for (int64_t i = 0; i < n; i += FA_PANEL) {
        UNROLL
        for (int v = 0; v < VECTORS; v++) {
            const vf x = vload_tail(y + i + v * LANES, n - i - v * LANES);
            squares[v] = vfma(x, x, squares[v]);
        }
    }
    const float length = sqrtf(sum16(squares));
    const vf reciprocal = vsplat(1.0f / (length < 1e-12f ? 1e-12f : length));
    for (int64_t i = 0; i < n; i += LANES) {
        vstore_tail(y + i, vload_tail(y + i, n - i) * reciprocal, n - i);
    }
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
    if (rows == 0) {
        memset(y, 0, (size_t)p->dim * sizeof *y);
        return;
    }
#define CASE(NAME, name)                                                                   \
    case FA_POOL_##NAME: pool_##name(rows, p->dim, x, p->ldx, y); break;
    switch (p->pooling) {
        FA_POOLINGS(CASE)
    }
#undef CASE
    if (p->normalize) normalize_row(p->dim, y);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* matmul.h: products of many matrices, none of which is packed beforehand.
 *
 * Where few rows of A meet a B whose rows are adjacent, packing would cost more than the
 * product: B is read as it lies, row by row, and the sums are kept in memory. Their order
 * is that of gemm: a chain of vfma over KC terms from zero, chains added in order. Where
 * every column has a row of A of its own, which makes dot products of pairs, each lane
 * takes a pair.
 */

enum {
    /* Multiply-adds worth a task: a microsecond or so. Smaller products share one. */
    MATMUL_WORK = 1 << 14,
    /* Rows of A up to which B is read as it lies, and the columns from which that pays:
     * each pair of rows reads it from the first-level cache once for READ_AHEAD terms. */
    STREAM_ROWS = 16,
    STREAM_LEAST = 2 * FA_PANEL,
    /* Columns of a task: half a page of B, whose lines come in order. The sums of 8
     * rows stay in the first-level cache, those of more in the second. */
    STREAM_COLUMNS = 512,
    READ_AHEAD = 4,  /* rows of B for which a sum is loaded and stored once */
    STREAM_PAIR = 2, /* rows of A for which an element of B is loaded once */
    /* Dot products of a task, and terms of them that are transposed at a time: of A and of
     * B a block of 4 KB. */
    DOT_COLUMNS = 64,
    DOT_TERMS = 64,
};

static int is_streamed(const fa_gemm_plan *p)
{
    if (p->a_step) return 1;
    return p->m <= STREAM_ROWS && p->n >= STREAM_LEAST && p->b_col == 1;
}

INLINE int64_t columns_of_task(const fa_gemm_plan *p)
{
    return p->a_step ? DOT_COLUMNS : STREAM_COLUMNS;
}

/* sums += A B for some rows of A, `terms` rows of B and at most a panel of columns. Each
 * element of B that is loaded meets all of the rows. */
INLINE void stream_panel(const int rows, const int terms, const vf (*a)[READ_AHEAD],
                         const float *b, int64_t ldb, int64_t columns, float *sums)
{
    UNROLL
    for (int j = 0; j < FA_PANEL; j += LANES) {
        vf x[READ_AHEAD];
        UNROLL
        for (int i = 0; i < terms; i++) x[i] = vload_tail(b + i * ldb + j, columns - j);
        UNROLL
        for (int row = 0; row < rows; row++) {
            vf sum = vload(sums + row * FA_PANEL + j);
            UNROLL
            for (int i = 0; i < terms; i++) sum = vfma(a[row][i], x[i], sum);
            vstore(sums + row * FA_PANEL + j, sum);
        }
    }
}

INLINE void stream_terms(const fa_gemm_plan *p, const int rows, const int terms,
                         const float *a, const float *b, int64_t columns, float *sums)
{
    const int64_t panel = p->m * FA_PANEL;
    vf factors[STREAM_PAIR][READ_AHEAD];
    UNROLL
    for (int row = 0; row < rows; row++) {
        UNROLL
        for (int i = 0; i < terms; i++) {
            factors[row][i] = vsplat(a[row * p->lda + i * p->a_col]);
        }
    }
    for (; columns >= FA_PANEL; columns -= FA_PANEL, b += FA_PANEL, sums += panel) {
        stream_panel(rows, terms, factors, b, p->ldb, FA_PANEL, sums);
    }
    if (columns) stream_panel(rows, terms, factors, b, p->ldb, columns, sums);
}

/* Some terms of the sums of all rows. */
INLINE void stream_rows(const fa_gemm_plan *p, const int terms, const float *a,
                        const float *b, int64_t columns, float *sums)
{
    int64_t row = 0;
    for (; row + STREAM_PAIR <= p->m; row += STREAM_PAIR) {
        stream_terms(p, STREAM_PAIR, terms, a + row * p->lda, b, columns,
                     sums + row * FA_PANEL);
    }
    for (; row < p->m; row++) {
        stream_terms(p, 1, terms, a + row * p->lda, b, columns, sums + row * FA_PANEL);
    }
}

/* A chain for every row and some columns: rows of 16 sums, panel by panel. */
static void stream_chain(const fa_gemm_plan *p, int64_t column, int64_t columns,
                         int64_t start, int64_t k, float *sums)
{
    const int64_t count = ceil_div(columns, FA_PANEL) * p->m * FA_PANEL;
    const float *a = p->a + start * p->a_col, *b = p->unpacked + start * p->ldb + column;
    memset(sums, 0, (size_t)count * sizeof(float));
    int64_t i = 0;
    for (; i + READ_AHEAD <= k; i += READ_AHEAD) {
        stream_rows(p, READ_AHEAD, a + i * p->a_col, b + i * p->ldb, columns, sums);
    }
    for (; i < k; i++) {
        stream_rows(p, 1, a + i * p->a_col, b + i * p->ldb, columns, sums);
    }
}

/* A chain for each of some columns with a row of A of its own. `blocks` is working memory
 * for the terms of a panel. */
static void dot_chain(const fa_gemm_plan *p, int64_t column, int64_t columns, int64_t start,
                      int64_t k, float *sums, float *blocks)
{
    float *a = blocks, *b = blocks + DOT_TERMS * FA_PANEL;
    const float *from_a = p->a + column * p->a_step + start * p->a_col;
    const float *from_b = p->unpacked + column * p->b_col + start * p->ldb;
    for (int64_t j = 0; j < columns; j += FA_PANEL) {
        const int64_t lanes = min64(columns - j, FA_PANEL);
        vf sum[VECTORS] = {{0}};
        for (int64_t i = 0; i < k; i += DOT_TERMS) {
            const int64_t terms = min64(k - i, DOT_TERMS);
            read_panel(terms, lanes, from_a + j * p->a_step + i * p->a_col, p->a_col,
                       p->a_step, a);
            read_panel(terms, lanes, from_b + j * p->b_col + i * p->ldb, p->ldb, p->b_col,
                       b);
            for (int64_t at = 0; at < terms * FA_PANEL; at += FA_PANEL) {
                UNROLL
                for (int v = 0; v < VECTORS; v++) {
                    sum[v] =
                        vfma(vload(a + at + v * LANES), vload(b + at + v * LANES), sum[v]);
                }
            }
        }
        UNROLL
        for (int v = 0; v < VECTORS; v++) vstore(sums + j + v * LANES, sum[v]);
    }
}

static void stream_run(const fa_gemm_plan *p, int64_t task, float *sums)
{
    const int64_t column = task * columns_of_task(p), panel = p->m * FA_PANEL;
    const int64_t columns = min64(p->n - column, columns_of_task(p));
    const int64_t count = ceil_div(columns, FA_PANEL) * panel;
    float *chain = sums + count;
    int64_t start = 0;
    do { /* at least once: with k = 0 the sums are zero */
        const int64_t k = min64(p->k - start, KC);
        float *to = start ? chain : sums;
        if (p->a_step) dot_chain(p, column, columns, start, k, to, chain + count);
        else stream_chain(p, column, columns, start, k, to);
        for (int64_t i = 0; start && i < count; i += LANES) {
            vstore(sums + i, vload(sums + i) + vload(chain + i));
        }
        start += KC;
    } while (start < p->k);
    epilogue(p, sums, panel, 0, p->m, column, columns);
}

static int64_t product_tasks(const fa_gemm_plan *p)
{
    return is_streamed(p) ? ceil_div(p->n, columns_of_task(p)) : gemm_tasks(p);
}

static void product_run(const fa_gemm_plan *p, int64_t task, void *scratch)
{
    if (is_streamed(p)) stream_run(p, task, scratch);
    else gemm_run(p, task, scratch);
}

/* How many products a task has; else a product has several tasks. */
static int64_t matrices_of_task(const fa_matmul_plan *p)
{
    const int64_t work = p->first.m * p->first.n * (p->first.k + 1);
    return work < MATMUL_WORK ? MATMUL_WORK / (work + 1) : 1;
}

static int64_t matmul_tasks(const void *plan)
{
    const fa_matmul_plan *p = plan;
    const int64_t each = matrices_of_task(p);
    return each > 1 ? ceil_div(p->matrices, each) : p->matrices * product_tasks(&p->first);
}

static int64_t matmul_scratch(const void *plan)
{
    const fa_gemm_plan *p = &((const fa_matmul_plan *)plan)->first;
    if (!is_streamed(p)) return gemm_scratch(p);
    const int64_t sums = min64(ceil_div(p->n, FA_PANEL) * FA_PANEL, columns_of_task(p));
    const int64_t blocks = p->a_step ? 2 * DOT_TERMS * FA_PANEL : 0;
    return (int64_t)sizeof(float) * (2 * p->m * sums + blocks);
}

static fa_gemm_plan matrix_at(const fa_matmul_plan *p, int64_t index)
{
    fa_gemm_plan product = p->first;
    for (int i = p->dims - 1; i >= 0; i--) {
        const int64_t at = index % p->shape[i];
        index /= p->shape[i];
        product.a += at * p->a_steps[i];
        product.unpacked += at * p->b_steps[i];
        product.c += at * p->c_steps[i];
    }
    return product;
}

static void matmul_run(const void *plan, int64_t task, void *scratch)
{
    const fa_matmul_plan *p = plan;
    const int64_t each = matrices_of_task(p), tasks = product_tasks(&p->first);
    assert_task(task, matmul_tasks(p), scratch);
    if (each == 1) {
        const fa_gemm_plan product = matrix_at(p, task / tasks);
        product_run(&product, task % tasks, scratch);
        return;
    }
    const row_range range = rows_of_task(task, each, p->matrices);
    for (int64_t i = range.start; i < range.end; i++) {
        const fa_gemm_plan product = matrix_at(p, i);
        for (int64_t j = 0; j < tasks; j++) product_run(&product, j, scratch);
    }
}

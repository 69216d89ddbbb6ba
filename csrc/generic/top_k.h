/* SPDX-License-Identifier: BSD-3-Clause */
/* top_k.h: the rows of a corpus that are most like each query.
 *
 * A task is a stretch of the corpus with lists of its own, which top_k_merge joins. Rows
 * are read once, where they lie, or as float32 of unit length in scratch. For many queries
 * the rows are the left factor of a product and the queries its packed weights; its tiles
 * go into the lists while they are hot. Few queries would leave most lanes of a panel idle
 * while rows stream past: there the lanes are rows, turned on their way from memory. Every
 * score has the same terms in the same order either way, and so its bits.
 */

enum {
    /* Rows that are prepared, and multiplied, at a time: whole tiles. */
    TOP_K_ROWS = MC / MR * MR,
    /* How far ahead rows are asked for where they are turned: what two panels take to be
     * read from memory is longer than the latency of its first line. */
    ROWS_AHEAD = 2 * FA_PANEL,
};

static int64_t top_k_tasks(const void *plan)
{
    return ((const fa_top_k_plan *)plan)->tasks;
}

static int64_t top_k_scratch(const void *plan)
{
    const fa_top_k_plan *p = plan;
    /* Rounded up, so that what ends with it may start on a cache line. */
    const int64_t room = TOP_K_ROWS * ceil_div(p->dim, FA_PANEL) * FA_PANEL;
    return (int64_t)sizeof(float) * (MC * MAX_PANELS * FA_PANEL + room);
}

/* x = x / |x|; 0 stays 0. */
static void unit_row(int64_t n, float *x)
{
    /* Squares below this may have lost some that vanished. */
    const double least = FLT_MIN / FLT_EPSILON;
    double squares = row_sum(2, n, x, 0.0f);
    if (!(least <= squares && squares <= FLT_MAX)) {
        scale_row(n, x, 0.0f, scale_of_row(n, x), NULL, NULL, x);
        squares = row_sum(2, n, x, 0.0f);
    }
    if (squares != 0.0) scale_row(n, x, 0.0f, (float)(1.0 / sqrt(squares)), NULL, NULL, x);
}

/* Some rows as they are multiplied, and where they come from. */
typedef struct {
    int64_t rows;
    const float *x;
    int64_t ldx;
    const char *source;
    int64_t source_row, source_size; /* bytes of a row with its distance, of an element */
} corpus_rows;

/* Rows of a part in place, or made in scratch. */
static corpus_rows prepared_rows(const fa_top_k_plan *p, const fa_corpus_part *part,
                                 int64_t row, int64_t rows, float *scratch)
{
    const int64_t size = size_of((int)part->dtype);
    const char *source = (const char *)part->x + row * part->ldx * size;
    corpus_rows some = {rows,   (const float *)source, part->ldx,
                        source, part->ldx * size,      size};
    if (part->dtype == FA_FLOAT32 && !p->cosine) return some;
    some.x = scratch;
    some.ldx = p->dim;
    widen_rows(part->dtype, rows, p->dim, source, part->ldx, scratch, p->dim);
    for (int64_t i = 0; i < rows && p->cosine; i++) unit_row(p->dim, scratch + i * p->dim);
    return some;
}

static void multiply_rows(const fa_top_k_plan *p, const fa_best *best,
                          const corpus_rows *some, float *sums)
{
    const fa_gemm_plan product = {.m = some->rows,
                                  .n = p->num_queries,
                                  .k = p->dim,
                                  .a = some->x,
                                  .lda = some->ldx,
                                  .a_col = 1,
                                  .format = FA_FORMAT_FLOAT32,
                                  .b = p->panels,
                                  .best = best};
    const gemm_grid g = grid_of(&product);
    for (int64_t strip = 0; strip < g.strips; strip++) {
        gemm_strip(&product, &g, 0, g.row_tiles, strip, sums);
    }
}

/* sums += the terms from `start` on, LANES at most, of so many rows, a panel at most. */
INLINE void add_turned(const fa_top_k_plan *p, const corpus_rows *some, int64_t rows,
                       int64_t start, int64_t terms, vf (*sums)[VECTORS])
{
    UNROLL
    for (int v = 0; v < VECTORS; v++) {
        const char *ahead = some->source + start * some->source_size +
                            (v * LANES + ROWS_AHEAD) * some->source_row;
        vf square[LANES];
        UNROLL
        for (int i = 0; i < LANES; i++) {
            __builtin_prefetch(ahead + i * some->source_row, 0, 2);
        }
        load_transposed(square, some->x + v * LANES * some->ldx + start, some->ldx,
                        rows - v * LANES, terms);
        for (int64_t query = 0; query < p->num_queries; query++) {
            const float *q = p->queries + query * p->dim + start;
            vf sum = sums[query][v];
            UNROLL
            for (int i = 0; i < LANES; i++) {
                if (i < terms) sum = vfma(vsplat(q[i]), square[i], sum);
            }
            sums[query][v] = sum;
        }
    }
}

/* The scores of at most a panel of rows with few queries. */
static void turn_rows(const fa_top_k_plan *p, const corpus_rows *some,
                      vf (*scores)[VECTORS])
{
    memset(scores, 0, (size_t)p->num_queries * sizeof *scores);
    for (int64_t start = 0; start < p->dim; start += KC) {
        const int64_t end = min64(p->dim, start + KC);
        vf sums[FA_FEW_QUERIES][VECTORS] = {{{0}}};
        int64_t j = start;
        /* Whole squares, as almost all are, need not ask how long they are. */
        for (; some->rows == FA_PANEL && j + LANES <= end; j += LANES) {
            add_turned(p, some, FA_PANEL, j, LANES, sums);
        }
        for (; j < end; j += LANES) add_turned(p, some, some->rows, j, end - j, sums);
        for (int64_t i = 0; i < p->num_queries; i++) {
            UNROLL
            for (int v = 0; v < VECTORS; v++) {
                scores[i][v] = start ? scores[i][v] + sums[i][v] : sums[i][v];
            }
        }
    }
}

static void score_rows(const fa_top_k_plan *p, const fa_best *best, const corpus_rows *some)
{
    vf scores[FA_FEW_QUERIES][VECTORS];
    turn_rows(p, some, scores);
    for (int64_t query = 0; query < p->num_queries; query++) {
        float *kept = best->scores + query * best->k;
        int64_t *indices = best->indices + query * best->k;
        for (int64_t i = 0; i < some->rows; i++) {
            keep_score(best->k, kept, indices, scores[query][i / LANES][i % LANES],
                       best->first + i);
        }
    }
}

static void top_k_run(const void *plan, int64_t task, void *scratch)
{
    const fa_top_k_plan *p = plan;
    int64_t row = part_start(p->rows, p->tasks, task);
    const int64_t end = part_start(p->rows, p->tasks, task + 1);
    const int64_t size = p->num_queries * p->k, most = p->panels ? TOP_K_ROWS : FA_PANEL;
    float *sums = scratch, *room = sums + MC * MAX_PANELS * FA_PANEL;
    fa_best best = {p->k, 0, p->scores + task * size, p->indices + task * size};
    assert_task(task, p->tasks, scratch);
    clear_list(size, best.scores, best.indices);
    for (const fa_corpus_part *part = p->parts; row < end; part++) {
        const int64_t last = min64(end, part->first + part->rows);
        for (int64_t rows; row < last; row += rows) {
            rows = min64(last - row, most);
            const corpus_rows some = prepared_rows(p, part, row - part->first, rows, room);
            best.first = row;
            if (p->panels) multiply_rows(p, &best, &some, sums);
            else score_rows(p, &best, &some);
        }
    }
}

static int64_t top_k_merge_tasks(const void *plan)
{
    return ((const fa_top_k_plan *)plan)->num_queries;
}

/* Join the lists of a query into that of the first task, best first. */
static void top_k_merge_run(const void *plan, int64_t query, void *scratch)
{
    const fa_top_k_plan *p = plan;
    float *scores = p->scores + query * p->k;
    int64_t *indices = p->indices + query * p->k;
    assert_task(query, p->num_queries, scratch);
    for (int64_t task = 1; task < p->tasks; task++) {
        const int64_t from = task * p->num_queries * p->k;
        for (int64_t i = 0; i < p->k; i++) {
            keep_score(p->k, scores, indices, scores[from + i], indices[from + i]);
        }
    }
    sort_list(p->k, scores, indices);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* relative_scores.h: what a query and a key are to the distance between them (He et al.
 * 2021, "DeBERTa", equation 4), added to their product before anything becomes of it:
 *
 *      s[j, i] += q_i . keys[b] + k_j . queries[b]    b = bucket of position i - position j
 *
 * The distances in a block of scores are few and their buckets side by side. So the
 * micro-kernel multiplies the queries, and then the keys, by the vectors of all of these
 * buckets, and each score takes what is its own: nothing is ever stored for more than a
 * block.
 */

enum {
    /* A block of queries and keys has fewer than 128 distances; the first of as many
     * buckets may stand anywhere in its panel. Where positions have gaps there may be more:
     * these go in several turns. */
    BUCKET_PANELS = (FA_QUERY_BLOCK + KEY_BLOCK) / FA_PANEL + 1,
    BUCKETS = BUCKET_PANELS * FA_PANEL,
};

/* The floats of scratch that a task takes. */
INLINE int64_t relative_floats(const fa_attention_plan *p)
{
    _Static_assert(KEY_BLOCK == 64 && FA_QUERY_BLOCK == 64, "rows of both");
    return p->buckets ? KEY_BLOCK * BUCKETS : 0;
}

/* The bucket of a query of the task and a key of its sequence. */
INLINE int32_t bucket_of(const attention_task *t, int64_t query, int64_t key)
{
    const fa_sequence *r = t->sequence;
    int64_t behind = t->position + query - key;
    if (r->q_positions) {
        behind = (int64_t)(r->q_positions[t->first_query + query] - r->k_positions[key]);
    }
    assert(magnitude((float)behind) <= (float)t->plan->farthest);
    return t->plan->buckets[t->plan->farthest + behind];
}

/* products (rows, BUCKETS) = x table^T for some panels of a table, in sums as q k^T has. */
static void multiply_buckets(attention_task *t, int64_t rows, const float *x, int64_t x_row,
                             const float *table, int64_t panels)
{
    const int64_t dim = t->plan->head_dim, most = FA_QUERY_BLOCK / FA_PANEL;
    for (int64_t panel = 0; panel < panels; panel += most) { /* no more have ONES */
        int64_t i = 0;
        do {
            const rows_ahead none = {(const char *)x, 0, 0};
            multiply(rows, min64(panels - panel, most), 0,
                     (tile_plan){
                         .k = min64(dim - i, HEAD_BLOCK),
                         .a = x + i,
                         .lda = x_row,
                         .b = table + (panel * dim + i) * FA_PANEL,
                         .b_panel = dim * FA_PANEL,
                         .c = t->products + panel * FA_PANEL,
                         .ldc = BUCKETS,
                         .c_panel = FA_PANEL,
                         .beta = i ? ONES : 0,
                     },
                     none, none);
            i += HEAD_BLOCK;
        } while (i < dim);
    }
}

/* s += products for LANES queries and as many keys, whose buckets fall by one from key to
 * key. Queries have theirs in rows, which are turned. */
INLINE void add_square(attention_task *t, int64_t query, int64_t key, int64_t bucket,
                       const int by_query)
{
    vf square[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++) {
        const int64_t row = by_query ? query + i : key + LANES - 1 - i;
        square[i] = vload(t->products + row * BUCKETS + bucket + i);
    }
    if (by_query) transpose_square(square);
    UNROLL
    for (int i = 0; i < LANES; i++) {
        float *s = scores_at(t->s, key + LANES - 1 - i, query);
        vstore(s, vload(s) + square[i]);
    }
}

/* s += the product of each score's own bucket, if it is one of those from `first` on. */
INLINE void add_chosen(attention_task *t, int64_t first_key, int64_t first,
                       const int by_query)
{
    for (int64_t query = 0; query < t->queries; query += LANES) {
        const int64_t lanes = min64(t->queries - query, LANES), keys = keys_for(t, query);
        for (int64_t key = 0; key < keys; key += LANES) {
            const int64_t rows = min64(keys - key, LANES),
                          last = first_key + key + rows - 1;
            const int64_t low = bucket_of(t, query, last) - first;
            const int64_t high = bucket_of(t, query + lanes - 1, last - rows + 1) - first;
            const int each = high - low == 2 * (LANES - 1) && !t->sequence->q_positions;
            if (each && low >= 0 && high < BUCKETS) {
                add_square(t, query, key, low, by_query);
                continue;
            }
            for (int64_t j = key; j < key + rows; j++) {
                float *s = scores_at(t->s, j, query);
                for (int64_t i = 0; i < lanes; i++) {
                    const int64_t bucket = bucket_of(t, query + i, first_key + j) - first;
                    const int64_t row = by_query ? query + i : j;
                    if (bucket < 0 || bucket >= BUCKETS) continue;
                    s[i] += t->products[row * BUCKETS + bucket];
                }
            }
        }
    }
}

/* Add both terms to a block of q k^T. */
static void add_relative(attention_task *t, const float *k, int64_t k_row,
                         int64_t first_key)
{
    const fa_attention_plan *p = t->plan;
    const int64_t last = bucket_of(t, t->queries - 1, first_key) / FA_PANEL;
    int64_t panel = bucket_of(t, 0, first_key + t->keys[1] - 1) / FA_PANEL;
    for (; panel <= last; panel += BUCKET_PANELS) {
        const int64_t panels = min64(last - panel + 1, BUCKET_PANELS);
        const int64_t at = (t->head * p->bucket_panels + panel) * p->head_dim * FA_PANEL;
        if (p->bucket_keys) {
            multiply_buckets(t, t->queries, (const float *)t->from, p->q_row,
                             p->bucket_keys + at, panels);
            add_chosen(t, first_key, panel * FA_PANEL, 1);
        }
        if (p->bucket_queries) {
            multiply_buckets(t, t->keys[1], k, k_row, p->bucket_queries + at, panels);
            add_chosen(t, first_key, panel * FA_PANEL, 0);
        }
    }
}

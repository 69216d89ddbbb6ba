/* SPDX-License-Identifier: BSD-3-Clause */
/* attention.h: softmax(scores) v without the matrix of scores.
 *
 * A task is up to FA_QUERY_BLOCK queries of one head. They stand in the lanes of vectors,
 * 16 to a panel, and everything is computed transposed:
 *
 *      q^T (head_dim, queries)      packed once per task
 *      s   (keys, queries) = k q^T  a micro-kernel: rows are keys, read where they lie
 *                                   (attention_scores.h: biases and masks)
 *      p   = 2^(c (s - m))          c = unit log2 e; no sum crosses lanes
 *      o^T (value_dim, queries) += v^T p    a micro-kernel: rows are value dimensions
 *
 * so float32 k and v are never packed or copied and a result does not depend on the width
 * of a vector.
 *
 * The reduction tree is fixed. Keys go in blocks at 0, KEY_BLOCK, 2 KEY_BLOCK ... of their
 * sequence and blocks in chunks of FA_KEY_CHUNK; each chunk is reduced from zero by the
 * online softmax (Milakov & Gimelshein 2018; Dao et al. 2022) and chunks are merged in
 * order:
 *
 *      m' = max(m, max_j s_j)    alpha = 2^(c (m - m'))
 *      l' = l alpha + sum_j p_j  o' = o alpha + sum_j p_j v_j
 *
 * A key that a query may not see has the score -infinity and so the weight 0, exactly; a
 * block that none of the queries sees is skipped and would have changed nothing.
 */

static int64_t attention_tasks(const void *plan)
{
    const fa_attention_plan *p = plan;
    const int64_t blocks = p->first_block[p->num_sequences] * p->num_heads;
    return p->chunks ? blocks * p->chunks : blocks;
}

static int64_t attention_scratch(const void *plan)
{
    const fa_attention_plan *p = plan;
    const int64_t wide = p->dtype == FA_FLOAT32 ? 0 : p->head_dim + p->value_dim;
    return (int64_t)sizeof(float) *
           (FA_QUERY_BLOCK * p->head_dim + 2 * running_floats(p) +
            KEY_BLOCK * (2 * FA_QUERY_BLOCK + wide) + relative_floats(p));
}

/* q^T of the task, with zeros in the lanes that hold no query. */
static void pack_queries(attention_task *t)
{
    const fa_attention_plan *p = t->plan;
    const int64_t size = p->head_dim * FA_PANEL;
    for (int64_t panel = 0; panel < t->panels; panel++) {
        float *packed = t->q + panel * size;
        const int64_t first = panel * FA_PANEL;
        const int64_t rows = min64(t->queries - first, FA_PANEL);
        const void *from = t->from + first * p->q_row * size_of(p->dtype);
        const float *source = from;
        int64_t stride = p->q_row;
        if (p->dtype != FA_FLOAT32) { /* by way of the memory of the scores */
            widen_rows(p->dtype, rows, p->head_dim, from, stride, t->k_wide, p->head_dim);
            source = t->k_wide;
            stride = p->head_dim;
        }
        transpose(rows, p->head_dim, source, stride, FA_PANEL, packed, FA_PANEL);
    }
}

/* A block of rows of k or v as float32: where it lies, or widened to `wide`. */
INLINE const float *rows_as_float(const fa_attention_plan *p, const char *x, int64_t first,
                                  int64_t rows, int64_t dim, float *wide, int64_t *stride)
{
    const char *from = x + first * *stride * size_of(p->dtype);
    if (p->dtype == FA_FLOAT32) return (const float *)from;
    widen_rows(p->dtype, rows, dim, from, *stride, wide, dim);
    *stride = dim;
    return wide;
}

/* The panels of queries that go through the same keys of a block: all of them, or those of
 * one half. */
typedef struct {
    int64_t first, panels, keys;
} panel_group;

static int groups_of(const attention_task *t, panel_group *groups)
{
    const int64_t half = HALF / FA_PANEL;
    if (t->panels <= half || t->keys[0] == t->keys[1]) {
        groups[0] = (panel_group){0, t->panels, t->keys[0]};
        return 1;
    }
    groups[0] = (panel_group){0, half, t->keys[0]};
    groups[1] = (panel_group){half, t->panels - half, t->keys[1]};
    return 2;
}

/* s = k q^T, in sums of HEAD_BLOCK products; all 0 where there are no dimensions. */
static void multiply_scores(attention_task *t, const float *k, int64_t k_row)
{
    const int64_t dim = t->plan->head_dim;
    panel_group groups[2];
    const int count = groups_of(t, groups);
    for (int g = 0; g < count; g++) {
        const panel_group group = groups[g];
        int64_t i = 0;
        do {
            const int64_t done = i * size_of(t->plan->dtype);
            multiply(group.keys, group.panels, 0,
                     (tile_plan){
                         .k = min64(dim - i, HEAD_BLOCK),
                         .a = k + i,
                         .lda = k_row,
                         .b = t->q + (group.first * dim + i) * FA_PANEL,
                         .b_panel = dim * FA_PANEL,
                         .c = t->s + group.first * KEY_BLOCK * FA_PANEL,
                         .ldc = FA_PANEL,
                         .c_panel = KEY_BLOCK * FA_PANEL,
                         .beta = i ? ONES : 0,
                     },
                     columns_from(t->after_k[g], done), columns_from(t->after_k[1], done));
            i += HEAD_BLOCK;
        } while (i < dim);
    }
}

/* o = o alpha + v^T p */
static void add_values(attention_task *t, running *r, const float *v, int64_t v_row)
{
    const int64_t dim = t->plan->value_dim;
    panel_group groups[2];
    const int count = groups_of(t, groups);
    for (int g = 0; g < count; g++) {
        const panel_group group = groups[g];
        multiply(dim, group.panels, 1,
                 (tile_plan){
                     .k = group.keys,
                     .a = v,
                     .lda = v_row,
                     .b = t->s + group.first * KEY_BLOCK * FA_PANEL,
                     .b_panel = KEY_BLOCK * FA_PANEL,
                     .c = r->o + group.first * dim * FA_PANEL,
                     .ldc = FA_PANEL,
                     .c_panel = dim * FA_PANEL,
                     .beta = t->alpha + group.first * FA_PANEL,
                 },
                 t->after_v[g], t->after_v[1]);
    }
}

/* The scores of the keys first_key .. first_key + keys of one block, if any is seen. */
static visibility score_block(attention_task *t, int64_t first_key, int64_t keys)
{
    const fa_attention_plan *p = t->plan;
    visibility seen = SEEN_BY_ALL;
    if (p->mask_kind) seen = read_mask(t, first_key, keys);
    if (seen == SEEN_BY_NONE) return seen;
    t->masked = seen == SEEN_BY_SOME;
    t->windowed = !window_shows(t, first_key, first_key + keys - 1);
    if (t->windowed) seen = SEEN_BY_SOME;
    count_keys(t, first_key, keys);
    int64_t k_row = p->k_row;
    const float *k =
        rows_as_float(p, t->k, first_key, keys, p->head_dim, t->k_wide, &k_row);
    if (t->queries == 1) score_one_query(t, k, k_row, t->keys[0]);
    else multiply_scores(t, k, k_row);
    if (p->buckets) add_relative(t, k, k_row, first_key);
    finish_scores(t, first_key);
    return seen;
}

/* Take the keys first_key .. first_key + keys of one block into r. */
static void attend_block(attention_task *t, running *r, int64_t first_key, int64_t keys)
{
    const fa_attention_plan *p = t->plan;
    const visibility seen = score_block(t, first_key, keys);
    if (seen == SEEN_BY_NONE) return;
    online_softmax(t, r);
    int64_t v_row = p->v_row;
    const float *v =
        rows_as_float(p, t->v, first_key, keys, p->value_dim, t->v_wide, &v_row);
    if (seen == SEEN_BY_SOME && has_non_finite(v, v_row, p->value_dim, keys)) {
        add_visible_values(t, r, v, v_row, first_key, keys);
    } else if (t->queries == 1) {
        add_values_one_query(t, r, v, v_row, t->keys[0]);
    } else {
        add_values(t, r, v, v_row);
    }
}

/* `rows` queries, at most LANES, of up to LANES columns of x / l. */
INLINE void write_square(const fa_dtype dtype, int64_t rows, int64_t cols, const float *x,
                         const float *reciprocals, char *to, int64_t stride)
{
    vf square[LANES];
    load_transposed(square, x, FA_PANEL, cols, LANES);
    UNROLL
    for (int i = 0; i < LANES; i++, to += stride) {
        if (i < rows) narrow(dtype, to, square[i] * reciprocals[i] + 0.0f, cols);
    }
}

/* x / l, back in rows of `dim` numbers at `to`; 0 where no key was seen. x has `rows` of 16
 * in a panel. Adding 0 turns -0 into +0: which of the two a sum of zero weights has would
 * depend on skipped blocks. */
static void write_rows(const attention_task *t, const running *r, const float *x,
                       int64_t rows, int64_t dim, char *to)
{
    const fa_dtype dtype = t->plan->dtype;
    const int64_t size = size_of(dtype), stride = t->plan->o_row * size;
    for (int64_t query = 0; query < t->queries; query += LANES, to += LANES * stride) {
        const vf l = vload(r->l + query);
        float reciprocals[LANES];
        vstore(reciprocals, vselect(l == 0.0f, vsplat(0.0f), 1.0f / l));
        const float *o = x + query / FA_PANEL * rows * FA_PANEL + query % FA_PANEL;
        const int64_t queries = min64(t->queries - query, LANES);
        for (int64_t i = 0; i < dim; i += LANES) {
            const float *from = o + i * FA_PANEL;
            /* Whole squares of float32, as almost all are, need not ask what they are. */
            if (dtype == FA_FLOAT32 && queries == LANES && dim - i >= LANES) {
                write_square(FA_FLOAT32, LANES, LANES, from, reciprocals, to + i * size,
                             stride);
            } else {
                write_square(dtype, queries, dim - i, from, reciprocals, to + i * size,
                             stride);
            }
        }
    }
}

static void write_output(const attention_task *t, const running *r)
{
    write_rows(t, r, r->o, t->plan->value_dim, t->plan->value_dim, t->to);
}

/* lse = unit m + log l, as far as float32 goes, -infinity where no key was seen. */
static void write_lse(const attention_task *t, const running *r)
{
    const fa_attention_plan *p = t->plan;
    if (!t->sequence->lse) return;
    float *lse = t->sequence->lse + t->head * p->lse_head + t->first_query * p->lse_row;
    const vf unit = vsplat(t->unit);
    float lanes[FA_QUERY_BLOCK];
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        const vf l = vload(r->l + query);
        const vf value = vfma(vload(r->m + query), unit, vlog(l));
        vstore(lanes + query,
               vselect(l == 0.0f, vsplat(-INFINITY), vclip(value, vsplat(FLT_MAX))));
    }
    for (int64_t i = 0; i < t->queries; i++) lse[i * p->lse_row] = lanes[i];
}

/* Reduce one chunk of keys from zero. Blocks out of reach are left out; the others start
 * at multiples of KEY_BLOCK, and the last ends where the reach does. */
static void attend_chunk(attention_task *t, const attention_task *next, running *r,
                         int64_t chunk)
{
    const key_range reach = keys_in_reach(t);
    int64_t first = chunk * FA_KEY_CHUNK;
    const int64_t last = min64(first + FA_KEY_CHUNK, reach.last);
    if (first < reach.first) first = reach.first / KEY_BLOCK * KEY_BLOCK;
    clear(t, r);
    for (int64_t key = first; key < last; key += KEY_BLOCK) {
        look_ahead(t, next, key + KEY_BLOCK, reach.last);
        attend_block(t, r, key, min64(last - key, KEY_BLOCK));
    }
}

/* Where a task finds its working memory, in the scratch of attention. */
static running start_task(attention_task *t, running *chunk, float *scratch)
{
    const fa_attention_plan *p = t->plan;
    t->q = scratch;
    t->s = t->q + FA_QUERY_BLOCK * p->head_dim;
    t->bias = t->s + FA_QUERY_BLOCK * KEY_BLOCK;
    const running total = running_in(p, t->bias + FA_QUERY_BLOCK * KEY_BLOCK);
    *chunk = running_in(p, total.m + running_floats(p));
    t->products = chunk->m + running_floats(p);
    t->k_wide = t->products + relative_floats(p);
    t->v_wide = t->k_wide + KEY_BLOCK * p->head_dim;
    pack_queries(t);
    if (t->queries == 1) memset(t->s, 0, sizeof(float[KEY_BLOCK * FA_PANEL]));
    return total;
}

/* Reduce all keys, chunk by chunk, into r. */
static void attend_keys(attention_task *t, const attention_task *next, running *r,
                        running *chunk)
{
    const key_range keys = keys_in_reach(t);
    const int64_t first = keys.first / FA_KEY_CHUNK;
    attend_chunk(t, next, r, first);
    for (int64_t i = first + 1; i * FA_KEY_CHUNK < keys.last; i++) {
        attend_chunk(t, next, chunk, i);
        merge(t, r, chunk);
    }
}

/* A task, where chunks are no tasks of their own:
 *
 *     pack_queries           q^T
 *     attend_chunk           for each chunk of FA_KEY_CHUNK keys in reach:
 *       clear                    m = -infinity, l = 0, o = 0
 *       attend_block             for each block of KEY_BLOCK keys:
 *         read_mask                  the next block, if no query sees this one
 *         multiply_scores            s = k q^T
 *         add_relative               s = s + q . keys[b] + k . queries[b]
 *         finish_scores              s = softcap, biases and masks of s
 *         online_softmax             m, l, alpha and p = 2^(c (s - m))
 *         add_values                 o = o alpha + v^T p
 *       merge                    the chunk's m, l, o into those of the chunks before it
 *     write_output, write_lse  o / l, unit m + log l
 */
static void attention_run(const void *plan, int64_t task, void *scratch)
{
    const fa_attention_plan *p = plan;
    assert_task(task, attention_tasks(p), scratch);
    const int64_t block = p->chunks ? task / p->chunks : task;
    attention_task t, next;
    locate(&t, p, block);
    locate(&next, p, p->chunks || task + 1 == attention_tasks(p) ? block : block + 1);
    running chunk, total = start_task(&t, &chunk, scratch);
    if (p->chunks) {
        running part = running_in(p, p->partials + task * running_floats(p));
        attend_chunk(&t, &next, &part, task % p->chunks);
        return;
    }
    attend_keys(&t, &next, &total, &chunk);
    write_output(&t, &total);
    write_lse(&t, &total);
}

/* Where chunks were tasks: put the parts of a query block together, in their order. */
static int64_t attention_merge_tasks(const void *plan)
{
    const fa_attention_plan *p = plan;
    return p->first_block[p->num_sequences] * p->num_heads;
}

static void attention_merge_run(const void *plan, int64_t task, void *scratch)
{
    const fa_attention_plan *p = plan;
    attention_task t;
    locate(&t, p, task);
    assert_task(task, attention_merge_tasks(p), scratch);
    float *parts = p->partials + task * p->chunks * running_floats(p);
    running total = running_in(p, parts);
    for (int64_t i = 1; i < p->chunks; i++) {
        const running part = running_in(p, parts + i * running_floats(p));
        merge(&t, &total, &part);
    }
    write_output(&t, &total);
    write_lse(&t, &total);
}

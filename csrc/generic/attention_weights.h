/* SPDX-License-Identifier: BSD-3-Clause */
/* attention_weights.h: the weights themselves, for those who want to look at them.
 *
 * Attention without values leaves m and l of every query; then each block of keys is scored
 * once more, to the same bits, and 2^(c (s - m)) / l is written in rows of all keys. Where
 * chunks are tasks of attention, they have left m and l in `partials`, and they are tasks
 * here.
 */

/* s = 2^(c (s - m)), and 0 for those of `width` keys that a query does not go through. */
static void weigh(attention_task *t, const running *r, int64_t width)
{
    const vf c = weight_scale(t);
    const int64_t rows = ceil_div(width, EACH) * EACH;
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        const vf m = vload(r->m + query), shift = shift_of(m);
        float *s = scores_at(t->s, 0, query);
        if (at_the_end(t, m)) hold_scores(t, s, keys_for(t, query), m);
        for (int64_t key = keys_for(t, query); key < rows; key++) {
            vstore(s + key * FA_PANEL, vsplat(-INFINITY));
        }
        for (int64_t key = 0; key < rows; key += EACH) {
            float *from = s + key * FA_PANEL;
            vf p[EACH];
            UNROLL
            for (int i = 0; i < EACH; i++) p[i] = vload(from + i * FA_PANEL) - shift;
            vexp2_each(EACH, c, p);
            UNROLL
            for (int i = 0; i < EACH; i++) vstore(from + i * FA_PANEL, p[i]);
        }
    }
}

/* The weights of keys that no query goes through: 0, or NaN where a query's sum is. */
static void write_unseen(const attention_task *t, const running *r, int64_t first_key,
                         int64_t keys)
{
    const fa_attention_plan *p = t->plan;
    const int64_t size = size_of(p->dtype);
    for (int64_t query = 0; query < t->queries && keys > 0; query++) {
        char *to = t->to + (query * p->o_row + first_key) * size;
        const float weight = r->l[query] * 0.0f;
        if (weight == 0.0f) memset(to, 0, (size_t)(keys * size));
        else
            for (int64_t i = 0; i < keys; i += LANES) {
                narrow(p->dtype, to + i * size, vsplat(weight), keys - i);
            }
    }
}

/* The weights of `width` keys, the last of which may be out of reach, but not the first. */
static void write_weights(attention_task *t, const running *r, int64_t first_key,
                          int64_t width)
{
    const int64_t keys = min64(keys_in_reach(t).last - first_key, width);
    if (score_block(t, first_key, keys) == SEEN_BY_NONE) {
        write_unseen(t, r, first_key, width);
        return;
    }
    weigh(t, r, width);
    char *to = t->to + first_key * size_of(t->plan->dtype);
    write_rows(t, r, t->s, KEY_BLOCK, width, to);
}

static void attention_weights_run(const void *plan, int64_t task, void *scratch)
{
    const fa_attention_plan *p = plan;
    assert_task(task, attention_tasks(p), scratch);
    assert(p->value_dim == 0);
    const int64_t chunks = p->chunks ? p->chunks : 1, part = task % chunks;
    attention_task t;
    locate(&t, p, task / chunks);
    running chunk, total = start_task(&t, &chunk, scratch);
    if (p->chunks) total = running_in(p, p->partials + (task - part) * running_floats(p));
    else attend_keys(&t, &t, &total, &chunk);
    const int64_t first = part * FA_KEY_CHUNK;
    const int64_t last = part + 1 < chunks ? first + FA_KEY_CHUNK : p->columns;
    /* Blocks in reach, between long rows of keys that are not. */
    const key_range reach = keys_in_reach(&t);
    const int64_t end = min64(reach.last, last);
    int64_t key = min64(reach.first / KEY_BLOCK * KEY_BLOCK, last);
    if (key < first) key = first;
    write_unseen(&t, &total, first, key - first);
    for (; key < end; key += KEY_BLOCK) {
        look_ahead(&t, &t, key + KEY_BLOCK, min64(last, t.sequence->seqlen_k));
        write_weights(&t, &total, key, min64(last - key, KEY_BLOCK));
    }
    write_unseen(&t, &total, key, last - key);
}

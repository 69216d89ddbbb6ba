/* SPDX-License-Identifier: BSD-3-Clause */
/* attention_weights.h: the weights themselves, for those who want to look at them.
 *
 * A task is that of attention without values, which leaves m and l; then its blocks of keys
 * are scored again, to the same bits, and 2^(c (s - m)) / l is written where `o` points:
 * rows of o_row numbers, which are zeros before, since what no query sees is skipped.
 */

/* p = 2^(c (s - m)), and 0 for keys that only the other half of the queries goes through.
 */
static void weigh(attention_task *t, const running *r, int64_t keys)
{
    const vf c = weight_scale(t);
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        const vf m = vload(r->m + query), shift = shift_of(m);
        float *s = scores_at(t->s, 0, query);
        if (t->unit > 1.0f) hold_scores(t, s, keys_for(t, query), m);
        for (int64_t key = 0; key < keys; key++) {
            float *at = s + key * FA_PANEL;
            const int within = key < keys_for(t, query);
            vstore(at, within ? vexp2(c, vload(at) - shift) : vsplat(0.0f));
        }
    }
}

static void attention_weights_run(const void *plan, int64_t task, void *scratch)
{
    const fa_attention_plan *p = plan;
    assert_task(task, attention_tasks(p), scratch);
    assert(p->value_dim == 0 && p->chunks == 0);
    attention_task t;
    locate(&t, p, task);
    running chunk, total = start_task(&t, &chunk, scratch);
    attend_keys(&t, &t, &total, &chunk);
    const key_range reach = keys_in_reach(&t);
    for (int64_t key = reach.first / KEY_BLOCK * KEY_BLOCK; key < reach.last;
         key += KEY_BLOCK) {
        const int64_t keys = min64(reach.last - key, KEY_BLOCK);
        look_ahead(&t, &t, key + KEY_BLOCK, reach.last);
        if (score_block(&t, key, keys) == SEEN_BY_NONE) continue;
        weigh(&t, &total, keys);
        char *to = t.to + key * size_of(p->dtype);
        write_rows(&t, &total, t.s, KEY_BLOCK, keys, to);
    }
}

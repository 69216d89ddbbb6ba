/* SPDX-License-Identifier: BSD-3-Clause */
/* attention_task.h: where the queries, keys, values and results of a task are, and what its
 * products ask for early, so that memory is read while they multiply. */

/* Find the sequence, the head and the queries of a block, numbered by sequence, head and
 * place in the sequence. */
static void locate(attention_task *t, const fa_attention_plan *p, int64_t block)
{
    int64_t low = 0, high = p->num_sequences;
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (p->first_block[middle] * p->num_heads <= block) low = middle;
        else high = middle;
    }
    const int64_t blocks = p->first_block[low + 1] - p->first_block[low];
    const int64_t local = block - p->first_block[low] * p->num_heads;
    const int64_t size = size_of(p->dtype);
    t->plan = p;
    t->sequence = p->sequences + low;
    t->head = local / blocks;
    t->first_query = local % blocks * FA_QUERY_BLOCK;
    t->position = t->sequence->offset + t->first_query;
    /* The softmax takes no scale that is 0 or negative, nor one whose quotients could
     * overflow: the scores are multiplied by that. */
    t->scale = 0x1p-30f < p->scale && p->scale < 0x1p30f ? p->scale : 1.0f;
    t->queries = min64(t->sequence->seqlen_q - t->first_query, FA_QUERY_BLOCK);
    t->panels = ceil_div(t->queries, FA_PANEL);
    assert(0 < t->queries && lanes_of(t) <= p->lanes);
    const int64_t kv_head = t->head / p->group;
    t->k = (const char *)t->sequence->k + kv_head * p->k_head * size;
    t->v = (const char *)t->sequence->v + kv_head * p->v_head * size;
    t->from = (const char *)t->sequence->q +
              (t->head * p->q_head + t->first_query * p->q_row) * size;
    t->to =
        (char *)t->sequence->o + (t->head * p->o_head + t->first_query * p->o_row) * size;
}

/* The keys that the window lets some query of the task see. */
typedef struct {
    int64_t first, last;
} key_range;

static key_range keys_in_reach(const attention_task *t)
{
    const fa_attention_plan *p = t->plan;
    const int64_t first = t->position - p->left;
    const int64_t last = t->position + t->queries + p->right;
    return (key_range){first < 0 ? 0 : first, min64(last, t->sequence->seqlen_k)};
}

INLINE rows_ahead rows_of(const fa_attention_plan *p, const char *x, int64_t row,
                          int64_t stride, int64_t dim)
{
    const int64_t size = size_of(p->dtype);
    return (rows_ahead){x + row * stride * size, stride * size, dim * size};
}

/* Let the products of the block before `key` ask for that block of keys and of values. The
 * last block's ask for what comes then: the queries of the next task and the place of this
 * one's results, and the next task's keys and values, which may be of another head. */
static void look_ahead(attention_task *t, const attention_task *next, int64_t key,
                       int64_t last)
{
    const fa_attention_plan *p = t->plan;
    const int64_t row = key < last ? key : 0;
    if (key < last) next = t;
    t->after_k[1] = rows_of(p, next->k, row, p->k_row, p->head_dim);
    t->after_v[1] = rows_of(p, next->v, row, p->v_row, p->value_dim);
    t->after_k[0] = t->after_k[1], t->after_v[0] = t->after_v[1];
    if (key < last) return;
    t->after_k[0] = rows_of(p, next->from, 0, p->q_row, p->head_dim);
    t->after_v[0] = rows_of(p, t->to, 0, p->o_row, p->value_dim);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* attention_task.h: what a task of attention works on: where its queries, keys, values and
 * results are, and what its products ask for early, so that memory is read while they
 * multiply. */

enum {
    KEY_BLOCK = 64, /* with 64 queries a block of scores is 16 KB */
    /* Products of a score that are summed from zero before the sums are added. A score's
     * error is what attention's error is made of; one long sum would double that of a
     * library whose dot product has several partial sums. */
    HEAD_BLOCK = 64,
    /* Queries whose keys are counted together: on the diagonal of a causal mask the first
     * half of a task needs only half of the keys. */
    HALF = FA_QUERY_BLOCK / 2,
    SUM_UNIT = 4, /* what a sum of terms counts in: there are at most so many */
};

/* What a task works on. Blocks of scores are (panels, KEY_BLOCK, 16): a query is a lane,
 * and the 16 queries of a panel are adjacent. */
typedef struct {
    const fa_attention_plan *plan;
    const fa_sequence *sequence;
    int64_t head, first_query, queries, panels;
    int64_t position; /* of the first query */
    int sums;         /* whether scores are sums of terms */
    float unit;       /* what a score of 1 stands for, which the softmax applies */
    /* Whether the mask, and whether the window, has a say in the present block. */
    int masked, windowed;
    int64_t keys[2]; /* of the present block, for each half of the queries */
    const char *k, *v;
    const char *from; /* the first of its queries, and of its results */
    char *to;
    rows_ahead after_k[2], after_v[2]; /* what the products ask for while they run */
    float *q, *s, *bias;
    float *k_wide, *v_wide;
    float *products;          /* with the vectors of distances, for a block */
    uint64_t seen[KEY_BLOCK]; /* by a bool mask: bit i of word j is query i, key j */
    float alpha[FA_QUERY_BLOCK];
} attention_task;

INLINE float *scores_at(float *block, int64_t key, int64_t query)
{
    return block + (query / FA_PANEL * KEY_BLOCK + key) * FA_PANEL + query % FA_PANEL;
}

INLINE int64_t keys_for(const attention_task *t, int64_t query)
{
    return t->keys[query / HALF];
}

INLINE int64_t lanes_of(const attention_task *t) { return t->panels * FA_PANEL; }

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
    /* The softmax takes no scale that is 0 or negative, very large or very small. */
    t->sums = p->softcap != 0.0f || t->sequence->slopes || p->distance_bias ||
              p->mask_kind == FA_FLOAT_MASK || !(0x1p-30f < p->scale && p->scale < 0x1p30f);
    t->unit = t->sums ? SUM_UNIT : p->scale;
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

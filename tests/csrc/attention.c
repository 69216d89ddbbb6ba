/* SPDX-License-Identifier: BSD-3-Clause */
/* attention.c: attention and its weights at every residual size of blocks, panels and
 * vectors, with each kind of mask, in each dtype. */
#include "driver.h"

#include <math.h>

/* What a call asks for besides the product: nothing; keys hidden from all queries, one of
 * them with an infinite value; pairs of query and key hidden; vectors of distances;
 * everything else there is. */
enum { PLAIN, PADDED, MASKED, RELATIVE, ALL, VARIANTS };

typedef struct {
    int64_t queries, keys, head_dim, value_dim;
    int variant;
    fa_dtype dtype;
} shape;

enum { HEADS = 2 }; /* of queries, which share one head of keys */

static void *rows(int64_t count, int64_t dim, fa_dtype dtype)
{
    return dtype == FA_FLOAT32 ? (void *)numbers(count * dim, -1, 1) : halves(count * dim);
}

static void hide(fa_attention_plan *p, fa_sequence *s, const shape *x)
{
    if (x->variant == PADDED) {
        uint8_t *seen = flags(x->keys, 1);
        p->mask_kind = FA_BOOL_MASK;
        p->mask_col = 1;
        s->mask = seen;
        if (x->keys && x->value_dim) {
            seen[0] = 0;
            if (x->dtype == FA_FLOAT32) ((float *)s->v)[0] = INFINITY;
            if (x->dtype == FA_FLOAT16) ((uint16_t *)s->v)[0] = 0x7c00;
            if (x->dtype == FA_BFLOAT16) ((uint16_t *)s->v)[0] = 0x7f80;
        }
    } else if (x->variant == MASKED) {
        p->mask_kind = FA_BOOL_MASK;
        p->mask_col = 1;
        p->mask_row = x->keys;
        p->mask_head = x->queries * x->keys;
        s->mask = flags(HEADS * p->mask_head, 1);
    } else if (x->variant == ALL) {
        p->mask_kind = FA_FLOAT_MASK;
        p->mask_dtype = x->dtype;
        p->mask_col = x->dtype == FA_BFLOAT16 ? 1 : 2; /* or every other one of a row */
        p->mask_row = p->mask_col * x->keys;
        const int64_t size = x->queries * p->mask_row;
        s->mask = rows(size ? size - p->mask_col + 1 : 0, 1, x->dtype);
    }
}

static void ask_for_all(fa_attention_plan *p, fa_sequence *s, const shape *x)
{
    const int64_t distance = 9;
    s->offset = x->keys - x->queries;
    s->slopes = numbers(HEADS, 0, 1);
    if (x->queries % 2) {
        s->q_positions = numbers(x->queries, 0, 100);
        s->k_positions = numbers(x->keys, 0, 100);
    }
    s->lse = numbers(HEADS * x->queries, 0, 0);
    p->lse_row = HEADS;
    p->lse_head = 1;
    p->softcap = 5;
    p->left = 70;
    p->right = 3;
    p->distance = distance;
    p->distance_bias = numbers(HEADS * (2 * distance + 1), -1, 1);
}

/* Near distances have buckets of their own, three far ones have one. Where the number of
 * queries is odd positions have gaps, and blocks more distances than buckets at once. */
static void relate(fa_attention_plan *p, fa_sequence *s, const shape *x)
{
    const int64_t step = x->queries % 2 ? 5 : 1, near = 70;
    p->farthest = step * (x->queries > x->keys ? x->queries : x->keys);
    const int64_t count = 2 * p->farthest + 1;
    int32_t *buckets = memory(count * (int64_t)sizeof *buckets);
    buckets[0] = 0;
    for (int64_t i = 1; i < count; i++) {
        const int64_t distance = i < p->farthest ? p->farthest - i : i - p->farthest;
        buckets[i] = buckets[i - 1] + (distance < near || i % 3 == 0);
    }
    p->buckets = buckets;
    p->bucket_panels = buckets[count - 1] / FA_PANEL + 1;
    const int64_t size = HEADS * p->bucket_panels * x->head_dim * FA_PANEL;
    p->bucket_keys = numbers(size, -1, 1);
    p->bucket_queries = numbers(size, -1, 1);
    if (step == 1) return;
    float *of_queries = numbers(x->queries, 0, 0), *of_keys = numbers(x->keys, 0, 0);
    for (int64_t i = 0; i < x->queries; i++) of_queries[i] = (float)(step * i);
    for (int64_t i = 0; i < x->keys; i++) of_keys[i] = (float)(step * i);
    s->q_positions = of_queries;
    s->k_positions = of_keys;
}

/* The plan of a call with one sequence, whose results have `columns`. */
static fa_attention_plan plan_for(const shape *x, fa_sequence *s, int64_t columns,
                                  int split)
{
    const int64_t blocks = (x->queries + FA_QUERY_BLOCK - 1) / FA_QUERY_BLOCK;
    int64_t *first_block = memory(2 * (int64_t)sizeof *first_block);
    first_block[0] = 0;
    first_block[1] = blocks;
    *s = (fa_sequence){.seqlen_q = x->queries, .seqlen_k = x->keys};
    fa_attention_plan p = {.num_sequences = 1, .num_heads = HEADS, .group = HEADS};
    p.sequences = s;
    p.first_block = first_block;
    p.head_dim = p.q_head = p.k_row = x->head_dim;
    p.value_dim = p.v_row = x->value_dim;
    p.columns = p.o_head = columns;
    p.q_row = HEADS * x->head_dim;
    p.o_row = HEADS * columns;
    p.dtype = x->dtype;
    p.scale = 0.3f;
    p.left = p.right = FA_FAR;
    s->q = rows(x->queries * HEADS, x->head_dim, x->dtype);
    s->k = rows(x->keys, x->head_dim, x->dtype);
    s->v = rows(x->keys, x->value_dim, x->dtype);
    s->o = rows(x->queries * HEADS, columns, x->dtype);
    hide(&p, s, x);
    if (x->variant == ALL) ask_for_all(&p, s, x);
    if (x->variant == RELATIVE) relate(&p, s, x);
    const int64_t longest = x->queries < FA_QUERY_BLOCK ? x->queries : FA_QUERY_BLOCK;
    p.lanes = (longest + FA_PANEL - 1) / FA_PANEL * FA_PANEL;
    if (split) {
        p.chunks = (x->keys + FA_KEY_CHUNK - 1) / FA_KEY_CHUNK;
        p.partials =
            numbers(blocks * HEADS * p.chunks * p.lanes * (2 + x->value_dim), 0, 0);
    }
    return p;
}

static void finish_rows(const fa_attention_plan *p, const fa_sequence *s)
{
    const int64_t size = p->dtype == FA_FLOAT32 ? 4 : 2;
    finish("o", s->o, s->seqlen_q * HEADS * p->columns * size);
}

/* In chunks or not, a call has the same bits, and so both have the same name. */
static void attend(const fa_kernels *t, shape x, int split)
{
    if (!begin(t,
               "attention:queries=%d,keys=%d,head_dim=%d,value_dim=%d,variant=%d,dtype=%d",
               (int)x.queries, (int)x.keys, (int)x.head_dim, (int)x.value_dim, x.variant,
               x.dtype))
        return;
    fa_sequence *s = memory(sizeof *s);
    const fa_attention_plan p = plan_for(&x, s, x.value_dim, split);
    run(&t->attention, &p);
    if (split) run(&t->attention_merge, &p);
    finish_rows(&p, s);
    if (s->lse) finish("lse", s->lse, HEADS * x.queries * (int64_t)sizeof *s->lse);
}

/* The weights of all keys, and of some columns that only longer sequences have. */
static void weigh(const fa_kernels *t, shape x, int split)
{
    if (!begin(t, "attention_weights:queries=%d,keys=%d,head_dim=%d,variant=%d,dtype=%d",
               (int)x.queries, (int)x.keys, (int)x.head_dim, x.variant, x.dtype))
        return;
    x.value_dim = 0;
    fa_sequence *s = memory(sizeof *s);
    const fa_attention_plan p = plan_for(&x, s, x.keys + x.keys % 2 * 70, split);
    if (split) {
        run(&t->attention, &p);
        run(&t->attention_merge, &p);
    }
    run(&t->attention_weights, &p);
    finish_rows(&p, s);
}

/* One size after the other goes through its residuals. */
static void sizes(const fa_kernels *t, int variant, fa_dtype dtype)
{
    const int64_t chunks[] = {511, 512, 513, 1025, 1100};
    for (int64_t i = 0; i <= 66; i++) {
        attend(t, (shape){i, 40, 8, 8, variant, dtype}, 0);
        attend(t, (shape){3, i, 8, 8, variant, dtype}, 0);
        attend(t, (shape){3, 64 + i, 8, 8, variant, dtype}, 0);
        weigh(t, (shape){i, 40, 8, 0, variant, dtype}, 0);
        weigh(t, (shape){i % 2 ? 1 : 70, i, 8, 0, variant, dtype}, 0);
        for (int64_t queries = 1; queries <= 17; queries += 16) {
            attend(t, (shape){queries, 19, i, 8, variant, dtype}, 0);
            attend(t, (shape){queries, 19, 8, i, variant, dtype}, 0);
        }
    }
    attend(t, (shape){131, 129, 33, 31, variant, dtype}, 0);
    weigh(t, (shape){131, 129, 33, 0, variant, dtype}, 0);
    for (int i = 0; i < 5; i++) {
        for (int64_t queries = 1; queries <= 17; queries += 8) {
            for (int split = 0; split < 2; split++) {
                attend(t, (shape){queries, chunks[i], 5, 7, variant, dtype}, split);
                weigh(t, (shape){queries, chunks[i], 5, 0, variant, dtype}, split);
            }
        }
    }
}

void attention_cases(const fa_kernels *t)
{
    for (int variant = PLAIN; variant < VARIANTS; variant++) {
        const int dtypes = variant == RELATIVE ? 1 : FA_NUM_DTYPES; /* float32 alone */
        for (int i = 0; i < dtypes; i++) sizes(t, variant, (fa_dtype)i);
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* online_softmax.h: the state of an attention task and how blocks of keys enter it
 * (Milakov & Gimelshein 2018; Dao et al. 2022, algorithm 1). */

/* The online softmax of the queries of a task over the keys seen so far. */
typedef struct {
    float *m; /* (lanes,), maximum of the scores, in the task's unit */
    float *l; /* (lanes,), sum of 2^(c (s - m)) */
    float *o; /* (panels, value_dim, 16), not yet divided by l */
} running;

INLINE int64_t running_floats(const fa_attention_plan *p)
{
    return p->lanes * (2 + p->value_dim);
}

INLINE running running_in(const fa_attention_plan *p, float *memory)
{
    return (running){memory, memory + p->lanes, memory + 2 * p->lanes};
}

/* What is subtracted from scores: m, or any number where nothing is seen yet, since
 * -inf - -inf would be NaN. */
INLINE vf shift_of(vf m) { return vselect(m == -INFINITY, vsplat(0.0f), m); }

/* c, with which e^(unit (s - m)) is 2^(c (s - m)): no operation of its own scales. */
INLINE vf weight_scale(const attention_task *t) { return vsplat(t->unit * LOG2_E); }

/* Whether the largest score of a block is a number at the end of float32 or beyond. A unit
 * of at most 1 has none. */
INLINE int at_the_end(const attention_task *t, vf max)
{
    if (t->unit <= 1.0f) return 0;
    return any_lane((vabs(max) >= FLT_MAX / t->unit) & (vabs(max) != INFINITY));
}

/* Scores beyond float32 count as the largest float of their sign. Where the largest score
 * of a block is not at the end, one that is beyond it has the weight 0 all the same. */
static vf hold_scores(const attention_task *t, float *s, int64_t keys, vf max)
{
    const vf most = vsplat(FLT_MAX / t->unit);
    for (int64_t key = 0; key < keys; key++) {
        vstore(s + key * FA_PANEL, held(vload(s + key * FA_PANEL), most));
    }
    return held(max, most);
}

/* The maximum of the block joins m, the scores become weights, l and alpha follow. Four
 * partial sums by key modulo 4 hide the latency of the additions; keys past the last one
 * are rows of -infinity, which weigh 0 and leave the sums as they are. */
static void online_softmax(attention_task *t, running *r)
{
    _Static_assert(EACH % 4 == 0 && KEY_BLOCK % EACH == 0, "keys in groups of EACH");
    const vf c = weight_scale(t);
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        const int64_t keys = keys_for(t, query), rows = ceil_div(keys, EACH) * EACH;
        float *s = t->s + query / FA_PANEL * KEY_BLOCK * FA_PANEL + query % FA_PANEL;
        for (int64_t key = keys; key < rows; key++) {
            vstore(s + key * FA_PANEL, vsplat(-INFINITY));
        }
        vf max[4], sum[4];
        UNROLL
        for (int i = 0; i < 4; i++) {
            max[i] = vsplat(-INFINITY);
            sum[i] = vsplat(0.0f);
        }
        for (int64_t key = 0; key < rows; key += 4) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                max[i] = vmax(max[i], vload(s + (key + i) * FA_PANEL));
            }
        }
        const vf m_old = vload(r->m + query);
        vf block_max = vmax(vmax(max[0], max[1]), vmax(max[2], max[3]));
        if (at_the_end(t, block_max)) block_max = hold_scores(t, s, keys, block_max);
        const vf m = vmax(m_old, block_max), shift = shift_of(m);
        for (int64_t key = 0; key < rows; key += EACH) {
            float *from = s + key * FA_PANEL;
            vf p[EACH];
            UNROLL
            for (int i = 0; i < EACH; i++) p[i] = vload(from + i * FA_PANEL) - shift;
            vexp2_each(EACH, c, p);
            UNROLL
            for (int i = 0; i < EACH; i++) {
                sum[i % 4] += p[i];
                vstore(from + i * FA_PANEL, p[i]);
            }
        }
        const vf alpha = vexp2(c, m_old - shift);
        const vf l = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        vstore(t->alpha + query, alpha);
        vstore(r->l + query, vfma(vload(r->l + query), alpha, l));
        vstore(r->m + query, m);
    }
}

/* Whether any element of the block of values is infinite or NaN: x - x is then NaN. */
static int has_non_finite(const float *v, int64_t stride, int64_t dim, int64_t keys)
{
    vi bad = {0};
    for (int64_t key = 0; key < keys; key++) {
        for (int64_t i = 0; i < dim; i += LANES) {
            const vf x = vload_tail(v + key * stride + i, dim - i);
            bad |= (x - x) != 0;
        }
    }
    return any_lane(bad);
}

/* o = o alpha + v^T p with the hidden keys left out and not multiplied by 0, which would
 * make NaN of an infinity. The terms and their order are those of the micro-kernel. */
static void add_visible_values(attention_task *t, running *r, const float *v,
                               int64_t stride, int64_t first_key, int64_t keys)
{
    const fa_attention_plan *p = t->plan;
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        const int64_t panel = query / FA_PANEL, lane = query % FA_PANEL;
        const float *weights = t->s + panel * KEY_BLOCK * FA_PANEL + lane;
        const vf alpha = vload(t->alpha + query);
        for (int64_t i = 0; i < p->value_dim; i++) {
            vf sum = {0};
            for (int64_t key = 0; key < keys; key++) {
                const vf next =
                    vfma(vsplat(v[key * stride + i]), vload(weights + key * FA_PANEL), sum);
                sum = vselect(visible(t, first_key, key, query), next, sum);
            }
            float *o = r->o + (panel * p->value_dim + i) * FA_PANEL + lane;
            vstore(o, vfma(vload(o), alpha, sum));
        }
    }
}

static void clear(const attention_task *t, running *r)
{
    for (int64_t i = 0; i < lanes_of(t); i += LANES) {
        vstore(r->m + i, vsplat(-INFINITY));
        vstore(r->l + i, vsplat(0.0f));
    }
    memset(r->o, 0, (size_t)(t->panels * t->plan->value_dim * FA_PANEL) * sizeof(float));
}

/* r takes in a later chunk. Into an empty r the chunk goes unchanged, to the bit. */
static void merge(const attention_task *t, running *r, const running *chunk)
{
    const vf c = weight_scale(t);
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        const vf m_old = vload(r->m + query), m_chunk = vload(chunk->m + query);
        const vf m = vmax(m_old, m_chunk);
        const vf shift = shift_of(m);
        const vf alpha = vexp2(c, m_old - shift);
        const vf beta = vexp2(c, m_chunk - shift);
        vstore(r->m + query, m);
        vstore(r->l + query,
               vfma(vload(r->l + query), alpha, vload(chunk->l + query) * beta));
        const int64_t dim = t->plan->value_dim;
        const int64_t at = query / FA_PANEL * dim * FA_PANEL + query % FA_PANEL;
        for (int64_t i = 0; i < dim; i++) {
            float *o = r->o + at + i * FA_PANEL;
            vstore(o, vfma(vload(o), alpha, vload(chunk->o + at + i * FA_PANEL) * beta));
        }
    }
}

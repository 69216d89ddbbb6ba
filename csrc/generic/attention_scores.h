/* SPDX-License-Identifier: BSD-3-Clause */
/* attention_scores.h: what happens to a block of scores between q k^T and the softmax.
 *
 * The order is ONNX's: scale, softcap, biases, masks. A step that is not asked for costs
 * nothing. Where nothing is capped or added neither does the scale: scores stay as q k^T
 * made them, and the softmax applies it.
 *
 * Where something is, a score is a sum of up to four terms: the scaled product, ALiBi, a
 * bias by distance, a mask. It is taken in quarters, so that no sum of some terms overflows
 * on the way to a score that float32 holds. A term of finite numbers that is beyond float32
 * itself counts as the largest float of its sign. Each step multiplies what it finds by
 * `factor`, with which the first of them makes quarters of scores out of products.
 */

/* x, or the limit of its sign where it is beyond that and finite. */
INLINE vf held(vf x, vf limit) { return vselect(vabs(x) == INFINITY, x, vclip(x, limit)); }

INLINE float magnitude(float x) { return x < 0 ? -x : x; }

/* s = scale s for any scale. A quarter of a small scale may be rounded, one of a product
 * that matters then is exact. */
static void scale_scores(attention_task *t)
{
    const float scale = t->plan->scale;
    const int small = magnitude(scale) < 0x1p-100f;
    const vf before = vsplat(small ? 1.0f / SUM_UNIT : 1.0f);
    const vf factor = vsplat(small ? scale : scale / SUM_UNIT);
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        for (int64_t key = 0; key < keys_for(t, query); key++) {
            float *s = scores_at(t->s, key, query);
            const vf product = vload(s), score = product * before * factor;
            const vf cut = vclip(score, vsplat(FLT_MAX / SUM_UNIT));
            vstore(s, vselect(vabs(product) == INFINITY, score, cut));
        }
    }
}

/* s = c tanh(s / c), which is s where the quotient of a very large cap may be rounded. */
static void cap_scores(attention_task *t, vf factor)
{
    const float cap = t->plan->softcap, quarter = cap / SUM_UNIT;
    const int large = cap > 0x1p100f;
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        for (int64_t key = 0; key < keys_for(t, query); key++) {
            float *to = scores_at(t->s, key, query);
            const vf s = vload(to) * factor, quotient = s * (float)SUM_UNIT / vsplat(cap);
            vf score = vtanh(quotient) * quarter;
            if (large) score = vselect(vabs(quotient) < 0x1p-12f, s, score);
            vstore(to, score);
        }
    }
}

/* The largest distance whose product with a slope float32 holds. */
static float farthest(float slope)
{
    const float far = FLT_MAX / magnitude(slope);
    return (double)far * magnitude(slope) > FLT_MAX ? far * (1 - 0x1p-24f) : far;
}

/* s = s - slope |position - key| (Press, Smith & Lewis 2022). */
static void add_alibi(attention_task *t, int64_t first_key, vf factor)
{
    const fa_sequence *r = t->sequence;
    const float slope = r->slopes[t->head];
    const vf most = vsplat(farthest(slope)), quarter = vsplat(-slope / SUM_UNIT);
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        vf position = {0};
        if (r->q_positions) {
            const float *from = r->q_positions + t->first_query + query;
            position = vload_tail(from, t->queries - query);
        }
        for (int64_t key = 0; key < keys_for(t, query); key++) {
            float *s = scores_at(t->s, key, query);
            const vi ahead = distance_to(t, first_key + key, query);
            const vf far = r->q_positions
                               ? vabs(position - r->k_positions[first_key + key])
                               : vabs(__builtin_convertvector(ahead, vf)) + r->beyond;
            vstore(s, vfma(vmin(most, far), quarter, vload(s) * factor));
        }
    }
}

/* s = s + bias of the distance, the same beyond +-distance (Raffel et al. 2020). The
 * biases of a block are written out once, backwards, so that the queries of a vector find
 * theirs side by side. */
static void add_distance_bias(attention_task *t, int64_t first_key, vf factor)
{
    const int64_t m = t->plan->distance;
    const float *table = t->plan->distance_bias + t->head * (2 * m + 1) + m;
    float strip[KEY_BLOCK + FA_QUERY_BLOCK]; /* by query - key + KEY_BLOCK */
    for (int64_t i = 0; i < KEY_BLOCK + FA_QUERY_BLOCK; i++) {
        const int64_t ahead = first_key - t->position - (i - KEY_BLOCK);
        strip[i] = table[ahead < -m ? -m : ahead > m ? m : ahead] / SUM_UNIT;
    }
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        for (int64_t key = 0; key < keys_for(t, query); key++) {
            float *s = scores_at(t->s, key, query);
            vstore(s, vfma(vload(s), factor, vload(strip + KEY_BLOCK + query - key)));
        }
    }
}

/* s = s + mask, and -infinity where the mask is: a select, so that NaN in a hidden key
 * stays hidden. */
static void add_mask(attention_task *t, vf factor)
{
    const vf quarter = vsplat(1.0f / SUM_UNIT);
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        for (int64_t key = 0; key < keys_for(t, query); key++) {
            float *s = scores_at(t->s, key, query);
            const vf bias = bias_of(t, key, query);
            const vf score = vfma(vload(s), factor, bias * quarter);
            vstore(s, vselect(bias == -INFINITY, bias, score));
        }
    }
}

/* s = the sum of the terms that the plan asks for. */
static void sum_terms(attention_task *t, int64_t first_key)
{
    const float scale = t->plan->scale;
    const vf one = vsplat(1.0f);
    vf factor = vsplat(scale / SUM_UNIT);
    /* Products, or the quarter of the scale, could leave float32; or nothing is added. */
    if (!(0x1p-30f < scale && scale <= 1.0f)) {
        scale_scores(t);
        factor = one;
    }
    if (t->plan->softcap != 0.0f) {
        cap_scores(t, factor);
        factor = one;
    }
    if (t->sequence->slopes) {
        add_alibi(t, first_key, factor);
        factor = one;
    }
    if (t->plan->distance_bias) {
        add_distance_bias(t, first_key, factor);
        factor = one;
    }
    if (t->plan->mask_kind == FA_FLOAT_MASK) add_mask(t, factor);
}

/* Everything above that the plan asks for, in the order of ONNX. */
static void finish_scores(attention_task *t, int64_t first_key)
{
    if (t->sums) sum_terms(t, first_key);
    if (t->windowed || (t->masked && t->plan->mask_kind == FA_BOOL_MASK)) {
        hide_keys(t, first_key);
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* one_query.h: the two products of attention for a single query, as when decoding.
 *
 * Such a task reads every key and value once and does little with them, so it should run as
 * fast as memory can be read. A lane for each query would leave all lanes but one idle;
 * here the lanes are keys, turned on their way from memory, and then value dimensions.
 * Every sum has the terms and the order that it has in a micro-tile, and so its bits.
 */

/* Where the same place of the next block of keys or values is, on its way early. */
INLINE void prefetch_next_block(const float *x, int64_t stride)
{
    __builtin_prefetch(x + KEY_BLOCK * stride, 0, 2); /* to read, into the second level */
}

/* s = k q^T for the query in lane 0. */
static void score_one_query(attention_task *t, const float *k, int64_t k_row, int64_t keys)
{
    const int64_t dim = t->plan->head_dim;
    for (int64_t key = 0; key < keys; key += LANES) {
        vf score = {0};
        for (int64_t i = 0; i < dim; i += HEAD_BLOCK) {
            const int64_t end = min64(dim, i + HEAD_BLOCK);
            vf sum = {0};
            for (int64_t j = i; j < end; j += LANES) {
                const float *from = k + key * k_row + j;
                vf square[LANES];
                UNROLL
                for (int lane = 0; lane < LANES; lane++) {
                    prefetch_next_block(from + lane * k_row, k_row);
                }
                load_transposed(square, from, k_row, keys - key, end - j);
                UNROLL
                for (int lane = 0; lane < LANES; lane++) {
                    if (j + lane >= end) break;
                    sum = vfma(vsplat(t->q[(j + lane) * FA_PANEL]), square[lane], sum);
                }
            }
            score = i ? score + sum : sum;
        }
        for (int lane = 0; lane < LANES; lane++) {
            if (key + lane < keys) *scores_at(t->s, key + lane, 0) = score[lane];
        }
    }
}

/* o = o alpha + v^T p for the query in lane 0. */
static void add_values_one_query(attention_task *t, running *r, const float *v,
                                 int64_t v_row, int64_t keys)
{
    enum { WIDTH = 4 }; /* sums side by side hide the latency of vfma */
    const int64_t dim = t->plan->value_dim;
    for (int64_t first = 0; first < dim; first += WIDTH * LANES) {
        vf sum[WIDTH] = {{0}};
        for (int64_t key = 0; key < keys; key++) {
            const float *from = v + key * v_row + first;
            const vf weight = vsplat(*scores_at(t->s, key, 0));
            UNROLL
            for (int j = 0; j < WIDTH; j++) {
                const vf x = vload_tail(from + j * LANES, dim - first - j * LANES);
                prefetch_next_block(from + j * LANES, v_row);
                sum[j] = vfma(x, weight, sum[j]);
            }
        }
        UNROLL
        for (int j = 0; j < WIDTH; j++) {
            float *o = r->o + (first + j * LANES) * FA_PANEL;
            vf old = {0};
            for (int lane = 0; lane < LANES; lane++) {
                if (first + j * LANES + lane < dim) old[lane] = o[lane * FA_PANEL];
            }
            const vf now = vfma(old, vsplat(t->alpha[0]), sum[j]);
            for (int lane = 0; lane < LANES; lane++) {
                if (first + j * LANES + lane < dim) o[lane * FA_PANEL] = now[lane];
            }
        }
    }
}

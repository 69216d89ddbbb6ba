/* SPDX-License-Identifier: BSD-3-Clause */
/* attention_masks.h: which keys of a block the queries of a task see, by a mask and by the
 * window. A block that none of them sees is known before its scores are computed.
 */

/* How a block of keys is masked for the queries of a task. */
typedef enum { SEEN_BY_NONE, SEEN_BY_ALL, SEEN_BY_SOME } visibility;

/* Bit j of word i and bit i of word j change places (Warren, Hacker's Delight, 7-3). */
static void transpose_bits(uint64_t *words)
{
    uint64_t low = 0x00000000ffffffffu;
    for (int j = 32; j; j >>= 1, low ^= low << j) {
        for (int i = 0; i < 64; i = ((i | j) + 1) & ~j) {
            const uint64_t swapped = ((words[i] >> j) ^ words[i | j]) & low;
            words[i] ^= swapped << j;
            words[i | j] ^= swapped;
        }
    }
}

/* A row of a bool mask as a word. */
static uint64_t read_bools(const uint8_t *mask, int64_t col, int64_t keys)
{
    uint8_t seen[KEY_BLOCK] = {0};
    if (col == 1 && keys < KEY_BLOCK) memcpy(seen, mask, (size_t)keys);
    else if (col != 1)
        for (int64_t j = 0; j < keys; j++) seen[j] = mask[j * col];
    return bits_of_bools(col == 1 && keys == KEY_BLOCK ? mask : seen);
}

/* Read a bool mask for a block of keys into t->seen, a word per key: a block is 64 words of
 * 64 bits either way. */
static visibility read_bool_mask(attention_task *t, const uint8_t *mask, int64_t keys)
{
    _Static_assert(KEY_BLOCK == 64 && FA_QUERY_BLOCK == 64, "a block is 64 x 64");
    const fa_attention_plan *p = t->plan;
    const int64_t queries = p->mask_row ? t->queries : 1;
    uint64_t any = 0, all = ~(uint64_t)0;
    for (int64_t i = 0; i < queries; i++) {
        const uint64_t row = read_bools(mask + i * p->mask_row, p->mask_col, keys);
        any |= row;
        all &= row;
        t->seen[i] = row;
    }
    if (!any) return SEEN_BY_NONE;
    if (all == ~(uint64_t)0 >> (KEY_BLOCK - keys)) return SEEN_BY_ALL;
    for (int64_t i = queries; i < FA_QUERY_BLOCK; i++) {
        t->seen[i] = p->mask_row ? 0 : t->seen[0];
    }
    transpose_bits(t->seen);
    return SEEN_BY_SOME;
}

/* A row of a float mask as KEY_BLOCK biases; -infinity hides a key, and stands behind the
 * last: it is stored in whole vectors, before what is read. */
static void read_biases(const fa_attention_plan *p, const char *mask, int64_t keys,
                        float *bias)
{
    const int64_t col = p->mask_col;
    for (int64_t j = keys / LANES * LANES; j < KEY_BLOCK; j += LANES) {
        vstore(bias + j, vsplat(-INFINITY));
    }
    if (p->mask_dtype == FA_FLOAT32) {
        const float *from = (const float *)mask;
        if (col == 1) memcpy(bias, from, (size_t)keys * sizeof(float));
        else
            for (int64_t j = 0; j < keys; j++) bias[j] = from[j * col];
    } else if (col == 1) {
        widen_rows(p->mask_dtype, 1, keys, mask, 0, bias, 0);
    } else { /* as a column */
        widen_rows(p->mask_dtype, keys, 1, mask, col, bias, 1);
    }
}

/* Read a float mask for a block of keys into t->bias, a block like the scores, or
 * (KEY_BLOCK,) where the mask is the same for every query. */
static visibility read_float_mask(attention_task *t, const char *mask, int64_t keys)
{
    const fa_attention_plan *p = t->plan;
    const int64_t mask_row = p->mask_row * size_of(p->mask_dtype);
    const int64_t queries = p->mask_row ? t->queries : 1;
    float rows[FA_PANEL * KEY_BLOCK];
    vi any = {0};
    for (int64_t first = 0; first < queries; first += FA_PANEL) {
        const int64_t count = min64(queries - first, FA_PANEL);
        for (int64_t i = 0; i < count; i++) {
            float *row = p->mask_row ? rows + i * KEY_BLOCK : t->bias;
            read_biases(p, mask + (first + i) * mask_row, keys, row);
            for (int64_t j = 0; j < keys; j += LANES) any |= vload(row + j) != -INFINITY;
        }
        if (p->mask_row) {
            transpose(count, keys, rows, KEY_BLOCK, count, scores_at(t->bias, 0, first),
                      FA_PANEL);
        }
    }
    return any_lane(any) ? SEEN_BY_SOME : SEEN_BY_NONE;
}

static visibility read_mask(attention_task *t, int64_t first_key, int64_t keys)
{
    const fa_attention_plan *p = t->plan;
    const int64_t origin =
        t->head * p->mask_head + t->first_query * p->mask_row + first_key * p->mask_col;
    const char *mask = t->sequence->mask;
    if (p->mask_kind == FA_BOOL_MASK) {
        return read_bool_mask(t, (const uint8_t *)mask + origin, keys);
    }
    return read_float_mask(t, mask + origin * size_of(p->mask_dtype), keys);
}

/* How far each lane's query is behind a key: key - position. */
INLINE vi distance_to(const attention_task *t, int64_t key, int64_t query)
{
    vi lane;
    UNROLL
    for (int i = 0; i < LANES; i++) lane[i] = i;
    return (int32_t)(key - t->position - query) - lane;
}

/* The lanes whose bit is set in the word of a key. */
INLINE vi shown_by_bits(const attention_task *t, int64_t key, int64_t query)
{
    vi bit;
    UNROLL
    for (int i = 0; i < LANES; i++) bit[i] = 1 << i;
    const vi word = (int32_t)(t->seen[key] >> query & 0xffff) - (vi){0};
    return (word & bit) != 0;
}

INLINE vf bias_of(const attention_task *t, int64_t key, int64_t query)
{
    if (!t->plan->mask_row) return vsplat(t->bias[key]);
    return vload(scores_at(t->bias, key, query));
}

/* Which lanes see a key, given by its place in the block. */
INLINE vi visible(const attention_task *t, int64_t first_key, int64_t key, int64_t query)
{
    const fa_attention_plan *p = t->plan;
    vi seen = {0};
    seen = ~seen;
    if (t->windowed) {
        const vi ahead = distance_to(t, first_key + key, query);
        seen = (ahead <= (int32_t)p->right) & (ahead >= (int32_t)-p->left);
    }
    if (t->masked && p->mask_kind == FA_BOOL_MASK) seen &= shown_by_bits(t, key, query);
    if (t->masked && p->mask_kind == FA_FLOAT_MASK) {
        seen &= bias_of(t, key, query) != -INFINITY;
    }
    return seen;
}

/* Whether the window lets every query of the task see the keys first .. last. */
INLINE int window_shows(const attention_task *t, int64_t first, int64_t last)
{
    return last - t->position <= t->plan->right &&
           t->position + t->queries - 1 - first <= t->plan->left;
}

/* Count the keys of a block that each half of the queries goes through. The first half may
 * leave out what the window hides from all of it: that would have the weight 0. */
static void count_keys(attention_task *t, int64_t first_key, int64_t keys)
{
    const int64_t seen = t->position + HALF + t->plan->right - first_key;
    t->keys[0] = t->queries <= HALF || keys < seen ? keys : seen < 0 ? 0 : seen;
    t->keys[1] = keys;
}

/* s = -infinity where a key is not seen. */
static void hide_keys(attention_task *t, int64_t first_key)
{
    for (int64_t query = 0; query < lanes_of(t); query += LANES) {
        for (int64_t key = 0; key < keys_for(t, query); key++) {
            float *s = scores_at(t->s, key, query);
            vstore(s,
                   vselect(visible(t, first_key, key, query), vload(s), vsplat(-INFINITY)));
        }
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* best.h: the k best of many scores, a list for each query.
 *
 * A list is a heap with its worst score in front: what is not better than that is passed
 * over. Better is the higher score and, of equal ones, the lower index, so that a list does
 * not depend on the order in which scores come. NaN is never better; a place that is
 * free holds -infinity and the index -1, which as an unsigned number is the last. */

INLINE int is_better(float score, int64_t index, float other, int64_t other_index)
{
    return score > other || (score == other && (uint64_t)index < (uint64_t)other_index);
}

/* Put a score in the place of the worst of `count`, and the next worst in front. */
static void replace_worst(int64_t count, float *scores, int64_t *indices, float score,
                          int64_t index)
{
    int64_t place = 0;
    for (;;) {
        int64_t child = 2 * place + 1;
        if (child >= count) break;
        if (child + 1 < count && is_better(scores[child], indices[child], scores[child + 1],
                                           indices[child + 1])) {
            child++;
        }
        if (!is_better(score, index, scores[child], indices[child])) break;
        scores[place] = scores[child];
        indices[place] = indices[child];
        place = child;
    }
    scores[place] = score;
    indices[place] = index;
}

static void clear_list(int64_t k, float *scores, int64_t *indices)
{
    for (int64_t i = 0; i < k; i++) {
        scores[i] = -INFINITY;
        indices[i] = -1;
    }
}

INLINE void keep_score(int64_t k, float *scores, int64_t *indices, float score,
                       int64_t index)
{
    if (is_better(score, index, scores[0], indices[0])) {
        replace_worst(k, scores, indices, score, index);
    }
}

/* Best first. */
static void sort_list(int64_t k, float *scores, int64_t *indices)
{
    for (int64_t last = k - 1; last > 0; last--) {
        const float score = scores[last];
        const int64_t index = indices[last];
        scores[last] = scores[0];
        indices[last] = indices[0];
        replace_worst(last, scores, indices, score, index);
    }
}

/* Keep what is good enough of a tile whose columns are queries, `column` being the first,
 * and whose rows are those of the corpus from `row` on. */
static void keep_tile(const fa_best *best, const float *sums, int64_t c_panel, int64_t row,
                      int64_t rows, int64_t column, int64_t columns)
{
    for (int64_t j = 0; j < columns; j += LANES) {
        const float *from = sums + j / FA_PANEL * c_panel + j % FA_PANEL;
        const int64_t count = min64(columns - j, LANES);
        float *scores = best->scores + (column + j) * best->k;
        int64_t *indices = best->indices + (column + j) * best->k;
        vf worst = vsplat(INFINITY);
        for (int64_t lane = 0; lane < count; lane++) worst[lane] = scores[lane * best->k];
        vi good = {0};
        for (int64_t i = 0; i < rows; i++) good |= vload(from + i * FA_PANEL) >= worst;
        if (!any_lane(good)) continue;
        for (int64_t lane = 0; lane < count; lane++) {
            for (int64_t i = 0; i < rows && good[lane]; i++) {
                keep_score(best->k, scores + lane * best->k, indices + lane * best->k,
                           from[i * FA_PANEL + lane], best->first + row + i);
            }
        }
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* search.c: top_k and its merge, around the sizes of panels, blocks and sums. */
#include "driver.h"

#include <string.h>

static const float *packed_queries(const fa_kernels *t, int64_t queries, int64_t dim)
{
    const int64_t panels = (queries + FA_PANEL - 1) / FA_PANEL;
    const int64_t size = panels * FA_PANEL * dim * (int64_t)sizeof(float);
    fa_pack_plan plan = {.k = dim, .n = queries, .b = numbers(queries * dim, -1, 1)};
    plan.ldb = 1;
    plan.b_col = dim;
    plan.packed = memory(size);
    memset(plan.packed, 0, (size_t)size);
    run(&t->pack, &plan);
    return plan.packed;
}

/* A corpus in three parts, of which one is empty and the last of another dtype. */
static void searched(const fa_kernels *t, int64_t queries, int64_t rows, int64_t dim,
                     int64_t k)
{
    const int64_t mix = queries + rows + dim, first = rows / 3, rest = rows - first;
    if (!begin(t, "top_k:queries=%d,rows=%d,dim=%d,k=%d", (int)queries, (int)rows, (int)dim,
               (int)k))
        return;
    const fa_corpus_part parts[] = {
        {0, first, FA_FLOAT32, numbers(first * dim, -1, 1), dim},
        {first, 0, FA_FLOAT32, numbers(0, 0, 0), dim},
        {first, rest, mix % 2 ? FA_FLOAT16 : FA_FLOAT32,
         mix % 2 ? (void *)halves(rest * dim) : numbers(rest * dim, -1, 1), dim},
    };
    fa_top_k_plan plan = {.num_queries = queries,
                          .dim = dim,
                          .k = k,
                          .rows = rows,
                          .parts = parts,
                          .cosine = mix % 3 == 0,
                          .tasks = 1 + mix % 3};
    if (queries > FA_FEW_QUERIES) plan.panels = packed_queries(t, queries, dim);
    else plan.queries = numbers(queries * dim, -1, 1);
    plan.scores = numbers(plan.tasks * queries * k, 0, 0);
    plan.indices = memory(plan.tasks * queries * k * (int64_t)sizeof *plan.indices);
    run(&t->top_k, &plan);
    run(&t->top_k_merge, &plan);
    finish("scores", plan.scores, queries * k * (int64_t)sizeof *plan.scores);
    finish("indices", plan.indices, queries * k * (int64_t)sizeof *plan.indices);
}

void search_cases(const fa_kernels *t)
{
    const int64_t queries[] = {1, 2, 7, 8, 17, 33}, dims[] = {0, 1, 3, 8, 17, 385};
    for (int64_t rows = 1; rows <= 200; rows += 1 + rows / 3) {
        for (int i = 0; i < 6; i++) {
            for (int j = 0; j < 6; j++)
                searched(t, queries[i], rows, dims[j], 1 + rows % 5);
        }
    }
    searched(t, 3, 40, 8, 40);
    searched(t, 9, 40, 8, 40);
}

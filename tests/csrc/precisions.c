/* SPDX-License-Identifier: BSD-3-Clause */
/* precisions.c: products in int8, int16 and bfloat16. A case has the same name, and the
 * same bits, for every table and every engine of this machine. */
#include "driver.h"

#include <string.h>

/* Those of whole groups. */
static int64_t row_bytes(const fa_gemm_plan *p)
{
    return (p->k * FA_PRECISION_FACTS[p->precision].bytes + 3) / 4 * 4;
}

static int64_t num_blocks(const fa_gemm_plan *p)
{
    const int64_t block = FA_PRECISION_FACTS[p->precision].block;
    return p->k ? (p->k + block - 1) / block : 1;
}

/* Packed in two parts, so that the second starts inside of a panel. */
static void quantize_weight(const fa_kernels *t, fa_gemm_plan *p)
{
    const int64_t first = p->n / 3, columns = (p->n + FA_PANEL - 1) / FA_PANEL * FA_PANEL;
    const int64_t size = columns * row_bytes(p);
    fa_quantize_weight_plan plan = {.k = p->k,
                                    .n = first,
                                    .b = numbers(p->k * p->n, -1, 1),
                                    .ldb = 1,
                                    .b_col = p->k,
                                    .precision = p->precision};
    p->b = plan.packed = memory(size);
    memset(plan.packed, 0, (size_t)size);
    const int64_t beside = columns * num_blocks(p);
    p->scales = plan.scales = numbers(beside, 0, 0);
    p->sums = plan.sums = memory(beside * (int64_t)sizeof *plan.sums);
    memset(plan.sums, 0, (size_t)beside * sizeof *plan.sums);
    run(&t->quantize_weight, &plan);
    plan.n = p->n - first;
    plan.column = first;
    plan.b += first * plan.b_col;
    run(&t->quantize_weight, &plan);
}

static void quantize_rows(const fa_kernels *t, fa_gemm_plan *p)
{
    p->rows.ld = row_bytes(p);
    p->rows.groups = memory(p->m * p->rows.ld);
    p->rows.scales = memory(p->m * num_blocks(p) * (int64_t)sizeof(float));
    p->rows.zeros = memory(p->m * num_blocks(p) * (int64_t)sizeof(float));
    const fa_quantize_rows_plan plan = {.m = p->m,
                                        .k = p->k,
                                        .a = p->a,
                                        .lda = p->lda,
                                        .factors = p->m % 2 ? numbers(p->k, 1, 2) : 0,
                                        .precision = p->precision,
                                        .rows = p->rows};
    run(&t->quantize_rows, &plan);
}

static void product(const fa_kernels *t, const fa_engine *engine, fa_precision precision,
                    int64_t m, int64_t n, int64_t k)
{
    fa_gemm_plan p = {.m = m, .n = n, .k = k, .lda = k, .a_col = 1, .precision = precision};
    if (!begin(t, "gemm:m=%d,n=%d,k=%d,precision=%d", (int)m, (int)n, (int)k, precision)) {
        return;
    }
    p.multiplier = &engine->in[precision];
    quantize_weight(t, &p);
    p.a = numbers(m * k, -2, 3);
    quantize_rows(t, &p);
    p.bias = numbers(n, -1, 1);
    p.activation = FA_RELU;
    p.c = numbers(m * n, 0, 0);
    p.ldc = n;
    run(&t->gemm, &p);
    finish("c", p.c, m * n * (int64_t)sizeof *p.c);
}

void precision_cases(const fa_kernels *t)
{
    const int64_t depths[] = {1, 2, 3, 5, 191, 192, 193, 384, 385, 769};
    for (int i = 0; i < fa_num_engines(); i++) {
        const fa_engine *engine = fa_engine_at(i);
        if (!engine->supported()) continue;
        for (int precision = 0; precision < FA_NUM_PRECISIONS; precision++) {
            if (!engine->in[precision].rows) continue;
            for (int64_t m = 0; m <= 17; m++) {
                product(t, engine, (fa_precision)precision, m, m * 7 % 35, m % 7);
            }
            for (int j = 0; j < 10; j++) {
                product(t, engine, (fa_precision)precision, 7, 70 - 3 * j, depths[j]);
                product(t, engine, (fa_precision)precision, 57, 17, depths[j]);
            }
        }
    }
}

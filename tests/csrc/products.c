/* SPDX-License-Identifier: BSD-3-Clause */
/* products.c: pack, unpack, gemm and matmul at every residual size of tiles, panels and
 * sums. */
#include "driver.h"

#include <string.h>

/* The elements from the first of `count` things to the end of the last. */
static int64_t span(int64_t count, int64_t step, int64_t size)
{
    return count && size ? (count - 1) * step + size : 0;
}

/* Packed in two parts, so that the second starts inside of a panel. */
static void pack_weight(const fa_kernels *t, fa_gemm_plan *p, int transposed)
{
    const int64_t k = p->k, n = p->n, first = n / 3;
    const int64_t columns = (n + FA_PANEL - 1) / FA_PANEL * FA_PANEL;
    /* Panels start on a cache line, also where they end at a page without access. */
    const int64_t bytes = columns * k * FA_FORMAT_FACTS[p->format].bytes;
    const int64_t size = (bytes + FA_ALIGN - 1) / FA_ALIGN * FA_ALIGN;
    const float *b = numbers(k * n, -1, 1);
    fa_pack_plan plan = {.k = k, .n = first, .b = b, .format = p->format};
    p->b = plan.packed = memory(size);
    memset(plan.packed, 0, (size_t)size);
    if (p->format >= FA_NUM_DTYPES) p->scales = plan.scales = numbers(columns, 0, 0);
    plan.ldb = transposed ? 1 : n;
    plan.b_col = transposed ? k : 1;
    run(&t->pack, &plan);
    plan.n = n - first;
    plan.column = first;
    plan.b += first * plan.b_col;
    run(&t->pack, &plan);
}

static void unpack_weight(const fa_kernels *t, const fa_gemm_plan *p)
{
    const fa_unpack_plan plan = {.k = p->k,
                                 .n = p->n,
                                 .format = p->format,
                                 .packed = p->b,
                                 .scales = p->scales,
                                 .b = numbers(p->n * p->k, 0, 0)};
    run(&t->unpack, &plan);
    finish("b", plan.b, p->n * p->k * (int64_t)sizeof *plan.b);
}

/* The options go round with the sizes, so that each meets every residual. */
static void product(const fa_kernels *t, fa_format format, int64_t m, int64_t n, int64_t k)
{
    const int64_t mix = m + n + k;
    fa_gemm_plan p = {.m = m, .n = n, .k = k, .format = format};
    if (!begin(t, "gemm:m=%d,n=%d,k=%d,format=%d", (int)m, (int)n, (int)k, format)) return;
    pack_weight(t, &p, mix % 3 != 0);
    unpack_weight(t, &p);
    const int turned = format == FA_FORMAT_FLOAT32 && mix % 5 == 0;
    p.lda = turned ? 1 : k + m % 2;
    p.a_col = turned ? m + 1 : 1;
    p.a = numbers(span(m, p.lda, span(k, p.a_col, 1)), -2, 2);
    p.activation = (fa_activation)(mix % FA_NUM_ACTIVATIONS);
    p.bias = mix % 3 ? numbers(n, -1, 1) : 0;
    if (mix % 4 == 1) {
        p.ldf = n + 2;
        p.factor = numbers(m ? (m - 1) * p.ldf + n : 0, -1, 1);
    }
    if (mix % 3 == 1) {
        p.ldr = n + 1;
        p.residual = numbers(m ? (m - 1) * p.ldr + n : 0, -1, 1);
    }
    p.norm = mix % 7 < 2;
    p.norm_weight = mix % 2 ? numbers(n, -1, 1) : 0;
    p.norm_bias = mix % 3 ? 0 : numbers(n, -1, 1);
    p.norm_eps = 1e-5f;
    p.ldc = n + n % 2;
    const int64_t size = m ? (m - 1) * p.ldc + n : 0;
    p.c = numbers(size, 0, 0);
    run(&t->gemm, &p);
    finish("c", p.c, size * (int64_t)sizeof *p.c);
}

/* Rows of six sequences, of which some have none. */
static void folded(const fa_kernels *t, fa_format format, fa_fold fold, int64_t m,
                   int64_t n, int64_t k)
{
    enum { OWNERS = 6 };
    if (!begin(t, "fold:m=%d,n=%d,k=%d,format=%d,fold=%d", (int)m, (int)n, (int)k, format,
               fold))
        return;
    fa_gemm_plan p = {.m = m, .n = n, .k = k, .format = format, .fold = fold};
    int64_t *owners = memory(m * (int64_t)sizeof *owners);
    pack_weight(t, &p, 0);
    for (int64_t i = 0; i < m; i++) owners[i] = i * i * OWNERS / (m * m + 1);
    p.a = numbers(m * k, -2, 2);
    p.lda = k;
    p.a_col = 1;
    p.bias = n % 3 ? numbers(n, -1, 1) : 0;
    p.activation = (fa_activation)((m + n) % FA_NUM_ACTIVATIONS);
    p.owners = owners;
    p.num_owners = OWNERS;
    p.ldc = n + n % 2;
    const int64_t size = (OWNERS - 1) * p.ldc + n;
    p.c = numbers(size, 0, 0);
    run(&t->fold, &p);
    finish("c", p.c, size * (int64_t)sizeof *p.c);
}

static void fold_cases(const fa_kernels *t)
{
    for (int64_t m = 0; m <= 129; m += 1 + m / 4) {
        for (int64_t n = 0; n <= 130; n += 1 + n / 4) {
            folded(t, (fa_format)((m + n) % FA_NUM_FORMATS), FA_FOLD_MAX, m, n, 7);
            folded(t, FA_FORMAT_FLOAT32, FA_FOLD_SUM, m, n, m == 129 ? 385 : 2);
        }
    }
}

/* Matrices at 2 x `across` indices, of which the two have the same B: by rows, by columns,
 * or every other element of rows. */
static void products(const fa_kernels *t, int64_t across, int64_t m, int64_t n, int64_t k)
{
    const int64_t mix = m + n + k;
    fa_gemm_plan p = {.m = m, .n = n, .k = k};
    if (!begin(t, "matmul:across=%d,m=%d,n=%d,k=%d", (int)across, (int)m, (int)n, (int)k))
        return;
    p.lda = mix % 5 ? k + m % 2 : 1;
    p.a_col = mix % 5 ? 1 : m + 1;
    p.b_col = (m + k) % 3;
    p.ldb = p.b_col ? p.b_col * n : 1;
    if (!p.b_col) p.b_col = k + 1;
    p.ldc = n + n % 2;
    p.activation = (fa_activation)(mix % FA_NUM_ACTIVATIONS);
    p.bias = mix % 3 ? numbers(n, -1, 1) : 0;
    const int64_t a = span(m, p.lda, span(k, p.a_col, 1)), c = span(m, p.ldc, n);
    const int64_t b = span(k, p.ldb, span(n, p.b_col, 1));
    const int64_t shape[] = {2, across};
    const int64_t a_steps[] = {across * a, a}, b_steps[] = {0, b}, c_steps[] = {c, 2 * c};
    p.a = numbers(2 * across * a, -2, 2);
    p.unpacked = numbers(across * b, -1, 1);
    p.c = numbers(2 * across * c, 0, 0);
    const fa_matmul_plan plan = {.first = p,
                                 .matrices = 2 * across,
                                 .dims = 2,
                                 .shape = shape,
                                 .a_steps = a_steps,
                                 .b_steps = b_steps,
                                 .c_steps = c_steps};
    run(&t->matmul, &plan);
    finish("c", p.c, 2 * across * c * (int64_t)sizeof *p.c);
}

/* Dot products of pairs, of which A has every row twice. */
static void dots(const fa_kernels *t, int64_t pairs, int64_t k)
{
    if (!begin(t, "matmul:pairs=%d,k=%d", (int)pairs, (int)k)) return;
    const int64_t shape[] = {2}, a_steps[] = {0}, b_steps[] = {1}, c_steps[] = {pairs};
    const fa_matmul_plan plan = {
        .first = {.m = 1,
                  .n = pairs,
                  .k = k,
                  .a = numbers(span(pairs, k + 1, k), -2, 2),
                  .lda = k,
                  .a_col = 1,
                  .a_step = k + 1,
                  .unpacked = numbers(2 * span(pairs, k, k), -1, 1),
                  .ldb = 2,
                  .b_col = 2 * k,
                  .c = numbers(2 * pairs, 0, 0),
                  .ldc = pairs},
        .matrices = 2,
        .dims = 1,
        .shape = shape,
        .a_steps = a_steps,
        .b_steps = b_steps,
        .c_steps = c_steps,
    };
    run(&t->matmul, &plan);
    finish("c", plan.first.c, 2 * pairs * (int64_t)sizeof(float));
}

static void matmul_cases(const fa_kernels *t)
{
    const int64_t depths[] = {0, 1, 2, 3, 4, 7}, sums[] = {383, 384, 385, 769};
    const int64_t rows[] = {1, 2, 6, 8, 9, 15, 56};
    for (int64_t m = 0; m <= 15; m++) {
        for (int64_t n = 0; n <= 34; n++) products(t, 3, m, n, depths[(m + n) % 6]);
    }
    for (int64_t pairs = 0; pairs <= 130; pairs += 1 + pairs / 4) {
        for (int j = 0; j < 6; j++) dots(t, pairs, depths[j]);
        for (int j = 0; j < 4; j++) dots(t, pairs, sums[j]);
    }
    for (int i = 0; i < 7; i++) {
        for (int j = 0; j < 4; j++) {
            products(t, 1, rows[i], 1, sums[j]);
            products(t, 2, rows[i], 17, sums[j]);
            products(t, 1, rows[i], 48, sums[j]);
        }
        for (int64_t n = 511; n <= 513; n++) products(t, 1, rows[i], n, 5);
        products(t, 150, 4, rows[i], 4);
    }
}

void product_cases(const fa_kernels *t)
{
    const int64_t depths[] = {0, 1, 2, 7};
    const int64_t rows[] = {1, 2, 6, 15, 55, 56, 57, 113}, cols[] = {1, 17, 48, 80, 130};
    const int64_t sums[] = {383, 384, 385, 769};
    for (int i = 0; i < 4; i++) {
        for (int64_t m = 0; m <= 31; m++) {
            for (int64_t n = 0; n <= 34; n++)
                product(t, FA_FORMAT_FLOAT32, m, n, depths[i]);
            for (int64_t n = 47; n <= 81; n++)
                product(t, FA_FORMAT_FLOAT32, m, n, depths[i]);
            for (int format = FA_FORMAT_FLOAT32 + 1; format < FA_NUM_FORMATS; format++) {
                product(t, (fa_format)format, m, m * 5 % 83, depths[i]);
            }
        }
        for (int format = 0; format < FA_NUM_FORMATS; format++) {
            for (int j = 0; j < 8; j++) {
                for (int l = 0; l < 5; l++) {
                    product(t, (fa_format)format, rows[j], cols[l], sums[i]);
                }
            }
        }
    }
    fold_cases(t);
    matmul_cases(t);
}

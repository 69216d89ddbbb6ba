/* SPDX-License-Identifier: BSD-3-Clause */
/* checksums.c: run every operation of every table on made-up inputs and print one line
 * "table operation checksum" each. The tables with FMA must print the same checksums,
 * whatever the processor: the script beside this file compares x86-64 with aarch64. */
#include "../../csrc/fastattn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 18 };

static float *floats(uint32_t seed, float low, float high)
{
    float *x = aligned_alloc(FA_ALIGN, MOST * sizeof(float));
    for (int i = 0; i < MOST; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = low + (high - low) * (float)(seed >> 8) / (float)(1 << 24);
    }
    return x;
}

/* Bits that are finite as float16 and as bfloat16: one bit of the exponent is off. */
static void *halves(uint32_t seed)
{
    uint16_t *x = aligned_alloc(FA_ALIGN, MOST * sizeof(float));
    for (int i = 0; i < 2 * MOST; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (seed >> 16) & 0xbfff;
    }
    return x;
}

static void run(const char *table, const char *name, const fa_op *op, const void *plan,
                const float *result, int64_t size)
{
    void *scratch = aligned_alloc(FA_ALIGN, (size_t)(op->scratch(plan) + 2 * FA_ALIGN) /
                                                FA_ALIGN * FA_ALIGN);
    const int64_t tasks = op->tasks(plan);
    for (int64_t task = 0; task < tasks; task++) op->run(plan, task, scratch);
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    for (int64_t i = 0; i < size * 4; i++) {
        sum = (sum ^ ((const uint8_t *)result)[i]) * 1099511628211u;
    }
    printf("%s %s %016" PRIx64 "\n", table, name, sum);
    free(scratch);
}

static const fa_activation ACTIVATIONS[] = {FA_IDENTITY, FA_RELU, FA_GELU, FA_GELU_TANH,
                                            FA_SILU};

static void run_products(const fa_kernels *t, const float *a, const float *b,
                         const float *c, float *packed, float *y)
{
    const char *names[] = {"gemm", "gemm+relu", "gemm+gelu", "gemm+gelu_tanh+norm",
                           "gemm+silu+factor"};
    const int64_t m = 61, k = 415, n = 107;
    const fa_pack_plan pack = {
        .k = k, .n = n, .b = b, .ldb = 1, .b_col = k, .packed = packed};
    run(t->name, "pack", &t->pack, &pack, packed, k * 112);
    for (int i = 0; i < 5; i++) {
        fa_gemm_plan gemm = {.m = m, .n = n, .k = k, .a = a, .lda = k, .b = packed};
        gemm.bias = c;
        gemm.activation = ACTIVATIONS[i];
        gemm.residual = i ? c : 0;
        gemm.factor = i == 4 ? b : 0;
        gemm.ldr = gemm.ldf = gemm.ldc = n;
        gemm.norm = i == 3;
        gemm.norm_weight = a;
        gemm.norm_eps = 1e-5f;
        gemm.c = y;
        run(t->name, names[i], &t->gemm, &gemm, y, m * n);
    }
}

static void run_rows(const fa_kernels *t, const float *a, const float *b, const float *c,
                     float *y)
{
    const int64_t rows = 20, cols = 333, cu_seqlens[] = {0, 1, 40, 40, 77};
    const fa_softmax_plan softmax = {rows, cols, c, cols + 7, y, cols};
    run(t->name, "softmax", &t->softmax, &softmax, y, rows * cols);
    const fa_layer_norm_plan norm = {rows, cols, c, cols + 7, 0, a, b, 1e-5f, y, cols};
    run(t->name, "layer_norm", &t->layer_norm, &norm, y, rows * cols);
    for (int i = 1; i < 5; i++) {
        const char *names[] = {"", "relu", "gelu", "gelu_tanh", "silu"};
        const fa_activate_plan activate = {20001, c, ACTIVATIONS[i], y};
        run(t->name, names[i], &t->activate, &activate, y, 20001);
    }
    const fa_pool_plan pool = {4, cols, cu_seqlens, c, cols, FA_POOL_MEAN, 1, y, cols};
    run(t->name, "pool", &t->pool, &pool, y, 4 * cols);
    const fa_sinusoid_plan sinusoid = {3, 700, 129, 10000, y};
    run(t->name, "sinusoid", &t->sinusoid, &sinusoid, y, 700 * 129);
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        memcpy(y, c, rows * cols * sizeof(float));
        const int64_t positions[20] = {3, 1, 4, 1, 5};
        const fa_rotary_plan rotary = {20,        3,           35, a,    b,
                                       positions, interleaved, y,  cols, 111};
        run(t->name, interleaved ? "rotary+interleaved" : "rotary", &t->rotary, &rotary, y,
            rows * cols);
    }
}

/* Two sequences of 70 and 33 queries, plain or with everything that a plan can ask for. */
static void run_attention(const fa_kernels *t, int all, fa_dtype dtype, const void *q,
                          const void *k, const void *v, const float *other, float *y)
{
    fa_sequence sequences[] = {
        {70, 1100, 900, q, k, v, other, all ? other : 0, y, y + 103 * 48},
        {33, 20, -3, k, v, q, other, 0, y + 70 * 24, y + 103 * 50}};
    if (all) sequences[0].q_positions = sequences[0].k_positions = other;
    const int64_t first_block[] = {0, 2, 3};
    fa_attention_plan p = {.num_sequences = 2, .num_heads = 2, .group = 1, .head_dim = 40};
    p.value_dim = 24;
    p.dtype = dtype;
    p.sequences = sequences;
    p.first_block = first_block;
    p.q_row = p.k_row = 80, p.q_head = p.k_head = 40;
    p.v_row = p.o_row = 48, p.v_head = p.o_head = 24;
    p.lse_row = 2, p.lse_head = 1;
    p.mask_kind = all ? FA_FLOAT_MASK : FA_NO_MASK;
    p.mask_row = 1100, p.mask_col = 1;
    p.scale = 0.3f;
    p.softcap = all ? 5 : 0;
    p.left = all ? 700 : FA_FAR, p.right = all ? 0 : FA_FAR;
    p.distance_bias = all ? other : 0, p.distance = 30;
    p.lanes = FA_QUERY_BLOCK;
    char name[40];
    snprintf(name, sizeof name, "attention%s-%d", all ? "+all" : "", dtype);
    run(t->name, name, &t->attention, &p, y, 103 * 52);
}

static void run_table(const fa_kernels *t)
{
    float *a = floats(1, -2, 2), *b = floats(2, -1, 1), *c = floats(3, -9, 9);
    float *packed = floats(4, 0, 0), *y = floats(5, 0, 0);
    void *half_a = halves(6), *half_b = halves(7);
    run_products(t, a, b, c, packed, y);
    run_rows(t, a, b, c, y);
    for (int all = 0; all < 2; all++) {
        run_attention(t, all, FA_FLOAT32, a, b, c, b, y);
        run_attention(t, all, FA_FLOAT16, half_a, half_b, half_a, b, y);
        run_attention(t, all, FA_BFLOAT16, half_a, half_b, half_a, b, y);
    }
    free(half_a), free(half_b), free(a), free(b), free(c), free(packed), free(y);
}

int main(void)
{
    for (int i = 0; i < fa_num_kernels(); i++) {
        if (fa_kernels_supported(i)) run_table(fa_kernels_at(i));
    }
    return 0;
}

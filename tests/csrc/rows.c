/* SPDX-License-Identifier: BSD-3-Clause */
/* rows.c: the operations on rows, at every residual size of vectors and tasks. */
#include "driver.h"

enum { ROWS = 17 }; /* more than a task of normalisation or embedding has */

static void softmax(const fa_kernels *t, int64_t rows, int64_t cols)
{
    if (!begin(t, "softmax:rows=%d,cols=%d", (int)rows, (int)cols)) return;
    const int64_t ldx = cols + cols % 3, size = rows * cols;
    const float *x = numbers((rows - 1) * ldx + cols, -9, 9);
    const fa_softmax_plan p = {.rows = rows,
                               .cols = cols,
                               .x = x,
                               .ldx = ldx,
                               .y = numbers(size, 0, 0),
                               .ldy = cols};
    run(&t->softmax, &p);
    finish("y", p.y, size * (int64_t)sizeof *p.y);
}

static void layer_norm(const fa_kernels *t, int64_t cols, int rms, float low, float high)
{
    if (!begin(t, "layer_norm:cols=%d,rms=%d,low=%g", (int)cols, rms, low)) return;
    const int64_t ldy = cols + cols % 3, size = (ROWS - 1) * ldy + cols;
    fa_layer_norm_plan p = {.rows = ROWS, .cols = cols, .rms = rms};
    p.ldx = cols;
    p.x = numbers(ROWS * cols, low, high);
    /* One column alone is 0 / 0 without it, and the sign of that NaN the processor's. */
    p.eps = high > 1 || cols == 1 ? 1e-5f : 0;
    p.weight = cols % 4 ? numbers(cols, -1, 1) : 0;
    p.bias = cols % 5 ? numbers(cols, -1, 1) : 0;
    p.y = numbers(size, 0, 0);
    p.ldy = ldy;
    run(&t->layer_norm, &p);
    finish("y", p.y, size * (int64_t)sizeof *p.y);
}

/* Rows as they mostly are, far from zero, and with squares that overflow or vanish. */
static void layer_norms(const fa_kernels *t, int64_t cols)
{
    for (int rms = 0; rms < 2; rms++) {
        layer_norm(t, cols, rms, -2, 3);
        layer_norm(t, cols, rms, 100, 101);
        layer_norm(t, cols, rms, -2e30f, 3e30f);
        layer_norm(t, cols, rms, -2e-30f, 3e-30f);
    }
}

static void activate(const fa_kernels *t, int64_t n, fa_activation activation)
{
    if (!begin(t, "activate:n=%d,activation=%d", (int)n, activation)) return;
    const float *x = numbers(n, -9, 9);
    const fa_activate_plan p = {n, x, activation, numbers(n, 0, 0)};
    run(&t->activate, &p);
    finish("y", p.y, n * (int64_t)sizeof *p.y);
}

static void embed(const fa_kernels *t, int64_t dim)
{
    enum { WORDS = 5 };
    if (!begin(t, "embed:dim=%d", (int)dim)) return;
    fa_embed_plan p = {.tokens = ROWS, .dim = dim, .num_tables = 1 + (int)(dim % 3)};
    for (int i = 0; i < p.num_tables; i++) {
        int64_t *ids = memory(ROWS * (int64_t)sizeof *ids);
        for (int64_t j = 0; j < ROWS; j++) ids[j] = (j + i) % WORDS;
        p.ldt[i] = dim + i;
        p.table[i] = numbers((WORDS - 1) * p.ldt[i] + dim, -1, 1);
        p.ids[i] = ids;
    }
    p.scale = dim % 5 ? 1 : 7.5f;
    p.norm = dim % 2;
    p.norm_weight = numbers(dim, -1, 1);
    p.norm_bias = numbers(dim, -1, 1);
    p.norm_eps = 1e-12f;
    p.y = numbers(ROWS * dim, 0, 0);
    p.ldy = dim;
    run(&t->embed, &p);
    finish("y", p.y, ROWS * dim * (int64_t)sizeof *p.y);
}

static void pool(const fa_kernels *t, int64_t dim, fa_pooling pooling)
{
    if (!begin(t, "pool:dim=%d,pooling=%d", (int)dim, pooling)) return;
    int64_t *starts = memory(5 * (int64_t)sizeof *starts);
    for (int64_t i = 0; i < 5; i++) starts[i] = (int64_t[]){0, 1, 4, 4, ROWS}[i];
    fa_pool_plan p = {.num_sequences = 4, .dim = dim, .cu_seqlens = starts};
    p.x = numbers(ROWS * dim, -1, 1);
    p.ldx = dim;
    p.pooling = pooling;
    p.first = dim % 3 ? 0 : 2;
    p.normalize = dim % 2;
    p.y = numbers(4 * dim, 0, 0);
    p.ldy = dim;
    run(&t->pool, &p);
    finish("y", p.y, 4 * dim * (int64_t)sizeof *p.y);
}

static void sinusoid(const fa_kernels *t, int64_t first, int64_t length, int64_t dim)
{
    if (!begin(t, "sinusoid:first=%d,length=%d,dim=%d", (int)first, (int)length, (int)dim))
        return;
    fa_sinusoid_plan p = {.first = first, .length = length, .dim = dim, .base = 10000};
    p.y = numbers(length * dim, 0, 0);
    run(&t->sinusoid, &p);
    finish("y", p.y, length * dim * (int64_t)sizeof *p.y);
}

static void rotary(const fa_kernels *t, int64_t pairs, int interleaved)
{
    if (!begin(t, "rotary:pairs=%d,interleaved=%d", (int)pairs, interleaved)) return;
    enum { TURNED_HEADS = 2, ANGLES = 5 };
    int64_t *positions = memory(ROWS * (int64_t)sizeof *positions);
    for (int64_t i = 0; i < ROWS; i++) positions[i] = i * 3 % ANGLES;
    fa_rotary_plan p = {.rows = ROWS, .num_heads = TURNED_HEADS, .pairs = pairs};
    p.cos = numbers(ANGLES * pairs, -1, 1);
    p.sin = numbers(ANGLES * pairs, -1, 1);
    p.positions = positions;
    p.interleaved = interleaved;
    p.x_head = 2 * pairs + pairs % 3;
    p.x_row = (TURNED_HEADS - 1) * p.x_head + 2 * pairs;
    p.x = numbers(ROWS * p.x_row, -1, 1);
    run(&t->rotary, &p);
    finish("x", p.x, ROWS * p.x_row * (int64_t)sizeof *p.x);
}

static void split_heads(const fa_kernels *t, int64_t length, int64_t dim)
{
    if (!begin(t, "split_heads:length=%d,dim=%d", (int)length, (int)dim)) return;
    fa_split_heads_plan p = {
        .num_sequences = 2, .length = length, .num_heads = 3, .dim = dim};
    p.x_head = dim + 1;
    p.x_row = 2 * p.x_head + dim;
    p.x = numbers(2 * length * p.x_row, -1, 1);
    p.y_row = dim;
    p.y_head = length * p.y_row;
    p.y_sequence = 3 * p.y_head;
    p.y = numbers(2 * p.y_sequence, 0, 0);
    run(&t->split_heads, &p);
    finish("y", p.y, 2 * p.y_sequence * (int64_t)sizeof *p.y);
}

void row_cases(const fa_kernels *t)
{
    for (int64_t n = 0; n <= 67; n++) {
        softmax(t, ROWS, n);
        layer_norms(t, n);
        for (int i = 0; i < FA_NUM_ACTIVATIONS; i++) activate(t, n, (fa_activation)i);
        embed(t, n);
        for (int i = 0; i < FA_NUM_POOLINGS; i++) pool(t, n, (fa_pooling)i);
        for (int i = 0; i < 2; i++) rotary(t, n, i);
        if (n) sinusoid(t, 3, ROWS, n);
        split_heads(t, n % 4, n);
    }
    /* Beyond one block of columns. */
    for (int64_t n = 511; n <= 513; n++) layer_norms(t, n);
    /* Beyond one task. */
    for (int64_t n = 8191; n <= 8193; n++) softmax(t, 3, n);
    for (int i = 0; i < FA_NUM_ACTIVATIONS; i++) {
        activate(t, (1 << 14) + 1, (fa_activation)i);
    }
    for (int64_t n = 127; n <= 131; n++) sinusoid(t, 1 << 30, 2, n);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* sweep.c: the largest error of the elementary functions over all floats of a range, as
 * rows of the table in docs/accuracy.md. The C library's double functions are the right
 * answer: their error is a thousand millionth of a float's ulp. */
#include "driver.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 1 << 12 };

static double exact_gelu(double x) { return 0.5 * x * erfc(-x * M_SQRT1_2); }

static double exact_gelu_tanh(double x)
{
    return x / (1 + exp(-2 * 0.797884560802865355880 * (x + 0.044715 * x * x * x)));
}

static double exact_silu(double x) { return x / (1 + exp(-x)); }

static double exact_sigmoid(double x) { return 1 / (1 + exp(-x)); }

typedef struct {
    const char *name;
    int function;
    double (*exact)(double);
    float low, high; /* both belong to the range */
    int absolute;    /* or in ulp */
} row;

static const row ROWS[] = {
    {"exp2(x), -126 <= x <= 127", EXP2, exp2, -126, 127, 0},
    {"exp(x), -87.3 <= x <= 0", EXP, exp, -87.3f, 0, 0},
    {"exp(x), x <= -87.3", EXP, exp, -INFINITY, -87.3f, 1},
    {"tanh(x)", FA_TANH, tanh, -INFINITY, INFINITY, 0},
    {"log(x), 1/2 <= x <= 2", LOG, log, 0.5f, 2, 0},
    {"log(x), x >= 2", LOG, log, 2, 0x1.fffffep127f, 0},
    {"gelu(x), x >= 0", FA_GELU, exact_gelu, 0, INFINITY, 0},
    {"gelu(x), x <= 0", FA_GELU, exact_gelu, -0x1.fffffep127f, -0.0f, 1},
    {"gelu(x, approximate=\"tanh\"), x >= 0", FA_GELU_TANH, exact_gelu_tanh, 0, INFINITY,
     0},
    {"gelu(x, approximate=\"tanh\"), x <= 0", FA_GELU_TANH, exact_gelu_tanh,
     -0x1.fffffep127f, -0.0f, 1},
    {"silu(x), x >= 0", FA_SILU, exact_silu, 0, INFINITY, 0},
    {"silu(x), x <= 0", FA_SILU, exact_silu, -0x1.fffffep127f, -0.0f, 1},
    {"log1p(relu(x)), x >= 0", FA_LOG1P_RELU, log1p, 0, 0x1.fffffep127f, 0},
    {"sigmoid(x), x >= -87.3", FA_SIGMOID, exact_sigmoid, -87.3f, INFINITY, 0},
    {"sigmoid(x), x <= -87.3", FA_SIGMOID, exact_sigmoid, -INFINITY, -87.3f, 1},
};

/* The distance between floats around y. */
static double ulp(double y)
{
    int exponent;
    frexp(y, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

typedef struct {
    double error;
    float at;
} largest;

static void measure(const row *r, const float *x, const float *y, int64_t n, largest *worst)
{
    for (int64_t i = 0; i < n; i++) {
        const double exact = r->exact(x[i]);
        double error = y[i] == exact ? 0 : fabs(y[i] - exact);
        if (!r->absolute) error /= ulp(exact);
        if (!(error <= worst->error)) *worst = (largest){error, x[i]};
    }
}

/* Bit patterns in order: first the positive numbers, then the negative ones. */
static void sweep_row(const row *r, int64_t stride, largest worst[2])
{
    float x[BATCH], y[BATCH];
    int64_t bits = 0, n = 0;
    while (bits <= UINT32_MAX) {
        for (n = 0; n < BATCH && bits <= UINT32_MAX; bits += stride) {
            const uint32_t pattern = (uint32_t)bits;
            memcpy(x + n, &pattern, sizeof pattern);
            n += x[n] >= r->low && x[n] <= r->high;
        }
        elementary_fused(r->function, n, x, y);
        measure(r, x, y, n, &worst[0]);
        elementary_baseline(r->function, n, x, y);
        measure(r, x, y, n, &worst[1]);
    }
}

void sweep(int64_t stride)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        largest worst[2] = {{0, 0}, {0, 0}};
        const char *unit = ROWS[i].absolute ? "" : " ulp";
        sweep_row(&ROWS[i], stride, worst);
        printf("| %s | %.3g%s at %.9g | %.3g%s at %.9g |\n", ROWS[i].name, worst[0].error,
               unit, worst[0].at, worst[1].error, unit, worst[1].at);
        fflush(stdout);
    }
}

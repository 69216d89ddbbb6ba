/* SPDX-License-Identifier: BSD-3-Clause */
/* sinusoid.h: sinusoidal positions (Vaswani et al. 2017, section 3.5), in double and with
 * our own log, exp and sin, so that the table is the same wherever it is made. Scalar: a
 * table is made once. */

/* log(x) for x > 0: x = 2^e m with m in [1/sqrt(2), sqrt(2)), then 2 artanh of a small s.
 */
static double log_double(double x)
{
    int e = 0;
    while (x >= 1.4142135623730951) x *= 0.5, e++;
    while (x < 0.7071067811865476) x *= 2.0, e--;
    const double s = (x - 1.0) / (x + 1.0); /* at most 0.172, and 0.172^24 < 2^-60 */
    double sum = 0.0;
    for (int i = 23; i >= 1; i -= 2) sum = sum * s * s + 1.0 / i;
    return e * 0x1.62e42fefa39efp-1 + 2.0 * s * sum;
}

/* exp(x) for x <= 0: Taylor's series at x / 2^k, squared k times. */
static double exp_double(double x)
{
    int halvings = 0;
    while (x < -0.125) x *= 0.5, halvings++;
    double sum = 1.0;
    for (int i = 13; i >= 1; i--) sum = 1.0 + sum * x / i;
    while (halvings--) sum *= sum;
    return sum;
}

/* sin(x + quarter pi / 2) for 0 <= x < 2^31: x is brought to [-pi/4, pi/4] with pi / 2 in
 * three parts, so that the multiple of the first two is exact. */
static double sin_double(double x, int quarter)
{
    const int64_t n = (int64_t)(x * 0x1.45f306dc9c883p-1 + 0.5);
    const double k = (double)n;
    x = ((x - k * 0x1.921fb544p+0) - k * 0x1.0b4611a4p-34) - k * 0x1.8469898cc5170p-69;
    const int64_t turn = (n + quarter) & 3;
    double sum = 0.0;
    if (turn & 1) {
        for (int i = 18; i >= 0; i -= 2) sum = 1.0 - sum * x * x / ((i + 1) * (i + 2));
    } else {
        for (int i = 19; i >= 1; i -= 2) sum = 1.0 - sum * x * x / ((i + 1) * (i + 2));
        sum *= x;
    }
    return turn & 2 ? -sum : sum;
}

enum { SINUSOID_TASK = 64 }; /* columns are cheap, powers are not: a task is 64 pairs */

static int64_t sinusoid_tasks(const void *plan)
{
    const fa_sinusoid_plan *p = plan;
    return p->length ? ceil_div(ceil_div(p->dim, 2), SINUSOID_TASK) : 0;
}

static void sinusoid_run(const void *plan, int64_t task, void *scratch)
{
    const fa_sinusoid_plan *p = plan;
    assert_task(task, sinusoid_tasks(p), scratch);
    for (int64_t pair = task * SINUSOID_TASK;
         pair < (task + 1) * SINUSOID_TASK && 2 * pair < p->dim; pair++) {
        const double exponent = (double)(2 * pair) / (double)p->dim;
        const double frequency = p->frequencies
                                     ? p->frequencies[pair]
                                     : exp_double(-exponent * log_double(p->base));
        for (int64_t i = 0; i < p->length; i++) {
            const double angle = (double)(p->first + i) * frequency;
            float *y = p->y + i * p->dim + 2 * pair;
            y[0] = (float)sin_double(angle, 0);
            if (2 * pair + 1 < p->dim) y[1] = (float)sin_double(angle, 1);
        }
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* activation.h: ReLU, the two forms of GELU, SiLU, tanh, the logistic function and the
 * logarithm of sparse encoders, on vectors and as an operation.
 *
 * Each name of FA_ACTIVATIONS has its formula here, a function <name>_each that replaces n
 * vectors, at most EACH, by what they become. */

INLINE void identity_each(const int n, vf *x) { (void)n, (void)x; }

/* max(0, x); NaN stays NaN. */
INLINE vf relu(vf x) { return vmax(vsplat(0.0f), x); }

INLINE void relu_each(const int n, vf *x)
{
    UNROLL
    for (int i = 0; i < n; i++) x[i] = relu(x[i]);
}

/* The exact GELU, x Phi(x) (Hendrycks & Gimpel 2016), as relu(x) - |x| Phi(-|x|).
 *
 * Phi(-a) = 2^-Q(a): the tail is one polynomial in the exponent, so no 1 + erf cancels for
 * negative x. Q has degree 10 on [0, 6] and goes on as a straight line, which reaches an
 * exact 0 near 17; |x| stops growing at 64 so that infinity times that 0 is no NaN.
 * Error: 5.2e-8 absolute for negative x, 2.7 ulp for positive, 7e-6 relative down to -6.
 * All is written for -a and -Q, which spares changing signs. */
INLINE void gelu_each(const int n, vf *x)
{
    static const float terms[] = {-0x1.8aed7ap-26f,
                                  -0x1.7cbf04p-21f,
                                  -0x1.3a02fap-17f,
                                  -0x1.1907fcp-14f,
                                  -0x1.02951cp-12f,
                                  0x1.26ac0ap-14f,
                                  0x1.cd1936p-8f,
                                  0x1.ae1d8ap-5f,
                                  -0x1.d63834p-2f,
                                  0x1.26aef2p+0f,
                                  -1.0f};
    vf minus_a[EACH], r[EACH], q[EACH];
    UNROLL
    for (int i = 0; i < n; i++) {
        minus_a[i] = vmax(vsplat(-64.0f), (vf)((vi)x[i] | (int32_t)0x80000000));
        r[i] = vmax(vsplat(-6.0f), minus_a[i]);
    }
    polynomial_each(n, 10, terms, r, q);
    UNROLL
    for (int i = 0; i < n; i++) q[i] = vfma(minus_a[i] - r[i], vsplat(9.0f), q[i]);
    vexp2_each(n, vsplat(1.0f), q);
    UNROLL
    for (int i = 0; i < n; i++) x[i] = vfma(minus_a[i], q[i], relu(x[i]));
}

/* GELU's tanh form, 0.5 x (1 + tanh u) with u = sqrt(2 / pi) (x + 0.044715 x^3), written as
 * x / (1 + e^(-2u)). The exponent is cut where e^(-2u) would overflow: by then the
 * quotient is below every normal number. */
INLINE void gelu_tanh_each(const int n, vf *x)
{
    const float two_root_log2e = 0x1.26aec2p+1f; /* 2 sqrt(2 / pi) log2(e) */
    UNROLL
    for (int i = 0; i < n; i++) {
        const vf a = vmax(vsplat(-64.0f), x[i]);
        const vf cubic = vfma(a * a, a * vsplat(0.044715f), a);
        const vf t = -vmax(vsplat(-126.0f), cubic * two_root_log2e);
        x[i] = a / (1.0f + vexp2(vsplat(1.0f), t));
    }
}

/* SiLU, x / (1 + e^-x) (Elfwing, Uchibe & Doya 2018). x is cut where e^-x would overflow:
 * by then the quotient is above -6e-37. */
INLINE void silu_each(const int n, vf *x)
{
    UNROLL
    for (int i = 0; i < n; i++) {
        const vf a = vmax(vsplat(-88.0f), x[i]);
        x[i] = a / (1.0f + vexp2(vsplat(1.0f), a * vsplat(-LOG2_E)));
    }
}

INLINE void tanh_each(const int n, vf *x)
{
    UNROLL
    for (int i = 0; i < n; i++) x[i] = vtanh(x[i]);
}

/* The logistic function, 1 / (1 + e^-x), as e^x / (1 + e^x) for negative x, so that small
 * results keep their digits; 0 below -87.7. */
INLINE void sigmoid_each(const int n, vf *x)
{
    UNROLL
    for (int i = 0; i < n; i++) {
        const vf e = vexp_nonpositive(-vabs(x[i]));
        x[i] = vselect(x[i] < 0.0f, e, vsplat(1.0f)) / (1.0f + e);
    }
}

/* log(1 + relu(x)) (Formal, Piwowarski & Clinchant 2021, "SPLADE"). */
INLINE void log1p_relu_each(const int n, vf *x)
{
    UNROLL
    for (int i = 0; i < n; i++) x[i] = vlog1p(relu(x[i]));
}

INLINE void activate_each(const fa_activation activation, const int n, vf *x)
{
#define CASE(NAME, name)                                                                   \
    case FA_##NAME: name##_each(n, x); break;
    switch (activation) {
        FA_ACTIVATIONS(CASE)
    }
#undef CASE
}

enum { ACTIVATE_TASK = 1 << 14 }; /* elements: 64 KB in, 64 KB out, tens of microseconds */

static int64_t activate_tasks(const void *plan)
{
    return ceil_div(((const fa_activate_plan *)plan)->n, ACTIVATE_TASK);
}

/* y = activation(x) for `vectors` vectors, the last of which may have a tail. */
INLINE void activate_vectors(const fa_activation activation, const int vectors,
                             const float *x, float *y, int64_t n)
{
    vf v[EACH];
    UNROLL
    for (int i = 0; i < vectors; i++) v[i] = vload_tail(x + i * LANES, n - i * LANES);
    activate_each(activation, vectors, v);
    UNROLL
    for (int i = 0; i < vectors; i++) vstore_tail(y + i * LANES, v[i], n - i * LANES);
}

INLINE void activate_range(const fa_activation activation, const float *x, float *y,
                           int64_t n)
{
    int64_t i = 0;
    for (; n - i >= EACH * LANES; i += EACH * LANES) {
        activate_vectors(activation, EACH, x + i, y + i, EACH * LANES);
    }
    for (; i < n; i += LANES) activate_vectors(activation, 1, x + i, y + i, n - i);
}

static void activate_run(const void *plan, int64_t task, void *scratch)
{
    const fa_activate_plan *p = plan;
    const int64_t start = task * ACTIVATE_TASK;
    const int64_t n = min64(p->n - start, ACTIVATE_TASK);
    const float *x = p->x + start;
    float *y = p->y + start;
    assert_task(task, activate_tasks(p), scratch);
#define CASE(NAME, name)                                                                   \
    case FA_##NAME: activate_range(FA_##NAME, x, y, n); break;
    switch (p->activation) {
        FA_ACTIVATIONS(CASE)
    }
#undef CASE
}

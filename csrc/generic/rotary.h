/* SPDX-License-Identifier: BSD-3-Clause */
/* rotary.h: rotary positions (Su et al. 2021, section 3.2.2), heads turned in place.
 *
 * Every product and every sum is rounded by itself, so all tables have the same bits here,
 * those without FMA too.
 */

enum { ROTARY_TASK = 16 }; /* rows: a few microseconds at the widths of encoders */

static int64_t rotary_tasks(const void *plan)
{
    return ceil_div(((const fa_rotary_plan *)plan)->rows, ROTARY_TASK);
}

/* Turn the pairs (x[step j], x[step j + apart]). */
INLINE void turn_pairs(int64_t pairs, int64_t step, int64_t apart, const float *cosine,
                       const float *sine, float *x)
{
    for (int64_t j = 0; j < pairs; j++) {
        const float a = x[step * j], b = x[step * j + apart];
        x[step * j] = a * cosine[j] - b * sine[j];
        x[step * j + apart] = b * cosine[j] + a * sine[j];
    }
}

static void rotary_run(const void *plan, int64_t task, void *scratch)
{
    const fa_rotary_plan *p = plan;
    const int64_t start = task * ROTARY_TASK;
    const int64_t end = start + ROTARY_TASK < p->rows ? start + ROTARY_TASK : p->rows;
    assert_task(task, rotary_tasks(p), scratch);
    for (int64_t i = start; i < end; i++) {
        const float *cosine = p->cos + p->positions[i] * p->pairs;
        const float *sine = p->sin + p->positions[i] * p->pairs;
        for (int64_t h = 0; h < p->num_heads; h++) {
            float *x = p->x + i * p->x_row + h * p->x_head;
            if (p->interleaved) turn_pairs(p->pairs, 2, 1, cosine, sine, x);
            else turn_pairs(p->pairs, 1, p->pairs, cosine, sine, x);
        }
    }
}

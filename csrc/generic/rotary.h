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

/* Turn the pairs (x[j], x[j + pairs]). */
static void turn_halves(int64_t pairs, const float *cosine, const float *sine, float *x)
{
    for (int64_t j = 0; j < pairs; j += LANES) {
        const vf c = vload_tail(cosine + j, pairs - j), s = vload_tail(sine + j, pairs - j);
        const vf a = vload_tail(x + j, pairs - j);
        const vf b = vload_tail(x + pairs + j, pairs - j);
        vstore_tail(x + j, a * c - b * s, pairs - j);
        vstore_tail(x + pairs + j, b * c + a * s, pairs - j);
    }
}

/* Turn the pairs (x[2 j], x[2 j + 1]): c and s stand twice, and s once with a minus. */
INLINE void turn_neighbours(vf c, vf s, int64_t count, float *x)
{
    const vf ab = vload_tail(x, count);
    vstore_tail(x, ab * c + swap_neighbours(ab) * s, count);
}

static void turn_interleaved(int64_t pairs, const float *cosine, const float *sine,
                             float *x)
{
    for (int64_t j = 0; j < pairs; j += LANES) {
        const vf c = vload_tail(cosine + j, pairs - j), s = vload_tail(sine + j, pairs - j);
        const int64_t count = 2 * (pairs - j);
        turn_neighbours(interleave_low(c, c), interleave_low(-s, s), count, x + 2 * j);
        turn_neighbours(interleave_high(c, c), interleave_high(-s, s), count - LANES,
                        x + 2 * j + LANES);
    }
}

static void rotary_run(const void *plan, int64_t task, void *scratch)
{
    const fa_rotary_plan *p = plan;
    const row_range rows = rows_of_task(task, ROTARY_TASK, p->rows);
    assert_task(task, rotary_tasks(p), scratch);
    for (int64_t i = rows.start; i < rows.end; i++) {
        const float *cosine = p->cos + p->positions[i] * p->pairs;
        const float *sine = p->sin + p->positions[i] * p->pairs;
        for (int64_t h = 0; h < p->num_heads; h++) {
            float *x = p->x + i * p->x_row + h * p->x_head;
            if (p->interleaved) turn_interleaved(p->pairs, cosine, sine, x);
            else turn_halves(p->pairs, cosine, sine, x);
        }
    }
}

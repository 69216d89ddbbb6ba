/* SPDX-License-Identifier: BSD-3-Clause */
/* split_heads.h: packed rows with their heads side by side to one matrix for each head, as
 * a cache of keys and values has them.
 */

static int64_t split_heads_tasks(const void *plan)
{
    const fa_split_heads_plan *p = plan;
    return p->num_sequences * p->num_heads;
}

static void split_heads_run(const void *plan, int64_t task, void *scratch)
{
    const fa_split_heads_plan *p = plan;
    const int64_t sequence = task / p->num_heads, head = task % p->num_heads;
    const float *x = p->x + sequence * p->length * p->x_row + head * p->x_head;
    float *y = p->y + sequence * p->y_sequence + head * p->y_head;
    assert_task(task, split_heads_tasks(p), scratch);
    for (int64_t i = 0; i < p->length; i++) {
        memcpy(y + i * p->y_row, x + i * p->x_row, (size_t)p->dim * sizeof(float));
    }
}

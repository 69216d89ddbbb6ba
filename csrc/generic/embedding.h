/* SPDX-License-Identifier: BSD-3-Clause */
/* embedding.h: the rows of up to three tables added up, scaled and normalised (BERT's
 * word, position and token type embeddings), and the sinusoidal positions of the
 * Transformer. */

enum { EMBED_TASK = 16 }; /* tokens */

static int64_t embed_tasks(const void *plan)
{
    return ceil_div(((const fa_embed_plan *)plan)->tokens, EMBED_TASK);
}

/* The row of a table that belongs to a token. */
static const float *embedding(const fa_embed_plan *p, int table, int64_t token)
{
    return p->table[table] + p->ids[table][token] * p->ldt[table];
}

static void embed_run(const void *plan, int64_t task, void *scratch)
{
    const fa_embed_plan *p = plan;
    const row_range tokens = rows_of_task(task, EMBED_TASK, p->tokens);
    assert_task(task, embed_tasks(p), scratch);
    assert(1 <= p->num_tables && p->num_tables <= FA_EMBED_TABLES);
    for (int64_t token = tokens.start; token < tokens.end; token++) {
        float *y = p->y + token * p->ldy;
        for (int64_t i = 0; i < p->dim; i += LANES) {
            const int64_t count = p->dim - i;
            vf sum = vload_tail(embedding(p, 0, token) + i, count);
            for (int table = 1; table < p->num_tables; table++) {
                sum += vload_tail(embedding(p, table, token) + i, count);
            }
            vstore_tail(y + i, p->scale * sum, count);
        }
        if (p->norm) {
            norm_row(p->dim, y, 0, p->norm_weight, p->norm_bias, p->norm_eps, y);
        }
    }
}

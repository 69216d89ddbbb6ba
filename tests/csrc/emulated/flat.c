/* SPDX-License-Identifier: BSD-3-Clause */
/* flat.c: a program without an operating system: it multiplies one tile and halts. */
#include "../../../csrc/fastattn.h"

#include <stddef.h>

/* What the compiler may call; the barrier keeps it from finding these again in them. */
void *memcpy(void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ((char *)to)[i] = ((const char *)from)[i];
        __asm__ volatile("");
    }
    return to;
}

/* Laid out as emulate.py writes it. */
typedef struct {
    int64_t engine, precision;
    fa_group_tile tile;
    int64_t rows, panels; /* written: the largest tile of this engine */
    char name[32];        /* and how it is called */
} job;

__attribute__((section(".text.start"))) void start(job *j)
{
    const fa_engine *engine = fa_engine_at((int)j->engine);
    const fa_multiplier *in = &engine->in[j->precision];
    j->rows = in->rows;
    j->panels = in->panels;
    for (int i = 0; i < 31 && engine->name[i]; i++) j->name[i] = engine->name[i];
    if (j->tile.rows) in->multiply(&j->tile);
    __asm__ volatile("hlt");
}

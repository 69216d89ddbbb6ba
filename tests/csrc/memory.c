/* SPDX-License-Identifier: BSD-3-Clause */
/* memory.c: the arrays of a case, between pages that may not be touched or on the heap. */
#define _GNU_SOURCE
#include "driver.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_ARRAYS = 32, MOST_BYTES = 1 << 20 };

static placement where;
static int used;
static uint32_t seed;
static void *blocks[MOST_ARRAYS]; /* on the heap */
static char *rooms[MOST_ARRAYS];  /* MOST_BYTES each, a page without access on each side */

static char *new_room(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *whole =
        mmap(0, MOST_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (whole == MAP_FAILED || mprotect(whole + page, MOST_BYTES, PROT_READ | PROT_WRITE)) {
        abort();
    }
    return whole + page;
}

void place_memory(placement chosen) { where = chosen; }

void release_memory(void)
{
    for (int i = 0; i < used; i++) {
        free(blocks[i]);
        blocks[i] = 0;
    }
    used = 0;
    seed = 0;
}

void *memory(int64_t bytes)
{
    if (used == MOST_ARRAYS || bytes < 0 || bytes > MOST_BYTES) abort();
    const int i = used++;
    if (where == HEAP) {
        if (posix_memalign(&blocks[i], FA_ALIGN, (size_t)bytes)) abort();
        return blocks[i];
    }
    if (!rooms[i]) rooms[i] = new_room();
    return rooms[i] + (where == AFTER_GUARD ? 0 : MOST_BYTES - bytes);
}

static uint32_t next(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

float *numbers(int64_t count, float low, float high)
{
    float *x = memory(count * (int64_t)sizeof *x);
    for (int64_t i = 0; i < count; i++) {
        x[i] = low + (high - low) * (float)next() / (float)(1 << 24);
    }
    return x;
}

uint16_t *halves(int64_t count)
{
    uint16_t *x = memory(count * (int64_t)sizeof *x);
    for (int64_t i = 0; i < count; i++) x[i] = next() >> 8 & 0xbfff;
    return x;
}

uint8_t *flags(int64_t count, int hidden)
{
    uint8_t *x = memory(count);
    for (int64_t i = 0; i < count; i++) x[i] = (next() >> 16 & 3) >= (uint32_t)hidden;
    return x;
}

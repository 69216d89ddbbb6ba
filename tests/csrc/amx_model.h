/* SPDX-License-Identifier: BSD-3-Clause */
/* amx_model.h: the instructions of AMX for int8 in C, as Intel's manual defines them, for
 * machines without: `-include` it before csrc/engines/amx.c. It aborts where they fault. */
#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} model_shapes;
static _Thread_local model_shapes shapes_now;
static _Thread_local uint8_t registers[8][16][64];

static void model_check(int fine)
{
    if (!fine) abort();
}

static void model_shape(const void *from)
{
    memcpy(&shapes_now, from, sizeof shapes_now);
    memset(registers, 0, sizeof registers);
    model_check(shapes_now.palette == 1 && shapes_now.start_row == 0);
    for (int i = 0; i < 16; i++) {
        const int rows = shapes_now.rows[i], bytes = shapes_now.row_bytes[i];
        model_check(i < 8 ? rows <= 16 && bytes <= 64 && !rows == !bytes : !rows && !bytes);
    }
    for (int i = 0; i < 14; i++) model_check(!shapes_now.reserved[i]);
}

static void model_release(void) { memset(&shapes_now, 0, sizeof shapes_now); }

static void model_load(int tile, const void *from, int64_t stride)
{
    model_check(shapes_now.palette && shapes_now.rows[tile]);
    memset(registers[tile], 0, sizeof registers[tile]);
    for (int i = 0; i < shapes_now.rows[tile]; i++) {
        memcpy(registers[tile][i], (const char *)from + i * stride,
               shapes_now.row_bytes[tile]);
    }
}

static void model_store(int tile, void *to, int64_t stride)
{
    model_check(shapes_now.palette && shapes_now.rows[tile]);
    for (int i = 0; i < shapes_now.rows[tile]; i++) {
        memcpy((char *)to + i * stride, registers[tile][i], shapes_now.row_bytes[tile]);
    }
}

/* Unsigned bytes of a by signed ones of b. */
static void model_products(int c, int a, int b)
{
    const model_shapes *s = &shapes_now;
    const int groups = s->row_bytes[a] / 4;
    model_check(c != a && a != b && c != b);
    model_check(s->rows[c] == s->rows[a] && s->row_bytes[c] == s->row_bytes[b]);
    model_check(s->rows[b] == groups && s->row_bytes[a] % 4 == 0 &&
                s->row_bytes[b] % 4 == 0);
    for (int i = 0; i < s->rows[c]; i++) {
        for (int j = 0; j < s->row_bytes[c] / 4; j++) {
            int32_t sum;
            memcpy(&sum, registers[c][i] + 4 * j, 4);
            for (int k = 0; k < 4 * groups; k++) {
                const int8_t y = (int8_t)registers[b][k / 4][4 * j + k % 4];
                sum += registers[a][i][k] * y;
            }
            memcpy(registers[c][i] + 4 * j, &sum, 4);
        }
    }
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#define _tile_loadconfig(from) model_shape(from)
#define _tile_release() model_release()
#define _tile_loadd(tile, from, stride) model_load(tile, from, stride)
#define _tile_stored(tile, to, stride) model_store(tile, to, stride)
#define _tile_dpbusd(c, a, b) model_products(c, a, b)
/* Such a CPU, and a system that permits them. */
#undef __get_cpuid_count
#define __get_cpuid_count(leaf, sub, a, b, c, d) (*(d) = ~0u, 1)
#define syscall(...) 0L

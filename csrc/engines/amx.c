/* SPDX-License-Identifier: BSD-3-Clause */
/* AMX on Linux: 16 x 64 tiles in registers of 16 rows of 64 bytes. A register of B is 16
 * groups of a panel, which stand side by side in memory. */
#if defined(__x86_64__) && defined(__linux__)
#define _DEFAULT_SOURCE 1 /* for syscall */
#include "../fastattn.h"
#include "../target.h"
#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#define ROWS 16
#define PANELS 4

FA_TARGET_BEGIN("amx-tile,amx-int8")

enum { GROUPS = 16 }; /* of a register */

/* The shape of each register, as the instruction reads it. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

/* Registers 0 to 3 hold sums, 4 holds `groups` of A, 5 those of a panel. */
INLINE void shape_registers(int64_t rows, int64_t groups)
{
    tile_shapes shapes = {.palette = 1};
    for (int i = 0; i < PANELS + 2; i++) {
        shapes.row_bytes[i] = FA_ALIGN;
        shapes.rows[i] = (uint8_t)rows;
    }
    shapes.row_bytes[4] = (uint16_t)(groups * 4);
    shapes.rows[5] = (uint8_t)groups;
    /* gcc takes the instruction to read 8 bytes, and would leave the rest unwritten. */
    __asm__ volatile("" : : "r"(&shapes) : "memory");
    _tile_loadconfig(&shapes);
}

/* Add the products of groups `start` to `end`, `step` at a time, to the sums, or to zero.
 */
INLINE void add_products(const fa_group_tile *t, int64_t start, int64_t end, int64_t step)
{
    const char *a = t->a + start * 4, *b = t->b + start * FA_ALIGN;
    const int64_t panels = t->panels, apart = t->b_panel;
    int32_t *c[PANELS];
    for (int j = 0; j < PANELS; j++) c[j] = t->c + j * FA_TILE_ROWS * FA_PANEL;
    shape_registers(t->rows, step);
    if (start) {
        _tile_loadd(0, c[0], FA_ALIGN);
        if (panels > 1) _tile_loadd(1, c[1], FA_ALIGN);
        if (panels > 2) _tile_loadd(2, c[2], FA_ALIGN);
        if (panels > 3) _tile_loadd(3, c[3], FA_ALIGN);
    } /* else they are zero, as registers are that were given a shape */
    for (int64_t g = start; g < end; g += step, a += step * 4, b += step * FA_ALIGN) {
        _tile_loadd(4, a, t->lda);
        _tile_loadd(5, b, FA_ALIGN);
        _tile_dpbusd(0, 4, 5);
        if (panels > 1) {
            _tile_loadd(5, b + apart, FA_ALIGN);
            _tile_dpbusd(1, 4, 5);
        }
        if (panels > 2) {
            _tile_loadd(5, b + 2 * apart, FA_ALIGN);
            _tile_dpbusd(2, 4, 5);
        }
        if (panels > 3) {
            _tile_loadd(5, b + 3 * apart, FA_ALIGN);
            _tile_dpbusd(3, 4, 5);
        }
    }
    _tile_stored(0, c[0], FA_ALIGN);
    if (panels > 1) _tile_stored(1, c[1], FA_ALIGN);
    if (panels > 2) _tile_stored(2, c[2], FA_ALIGN);
    if (panels > 3) _tile_stored(3, c[3], FA_ALIGN);
    /* Other libraries may have shapes of their own, and what is saved at a switch of
     * threads is smaller without any. */
    _tile_release();
}

static void multiply_int8(const fa_group_tile *t)
{
    const int64_t whole = t->groups / GROUPS * GROUPS, rest = t->groups - whole;
    if (!t->groups) {
        memset(t->c, 0, sizeof(int32_t) * PANELS * FA_TILE_ROWS * FA_PANEL);
    }
    if (whole) add_products(t, 0, whole, GROUPS);
    if (rest) add_products(t, whole, t->groups, rest);
}

FA_TARGET_END

/* A process asks for the registers once, and its threads have them; no is an answer, too.
 */
static int supported(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 24 & 1 && d >> 25 & 1 &&
           syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

const fa_engine fa_engine_amx = {
    "amx",
    supported,
    {[FA_IN_INT8] = {ROWS, PANELS, multiply_int8}},
};
#endif

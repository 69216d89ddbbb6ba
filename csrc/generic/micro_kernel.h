/* SPDX-License-Identifier: BSD-3-Clause */
/* micro_kernel.h: the one loop nest that multiplies, for linear layers and attention.
 *
 * C[i, j] = C[i, j] * beta[j] + sum over p of A[i, p] B[p, j], or without the first term.
 *
 *            panel 0    panel 1            A is read where it lies, element by element;
 *            B[p, :16]  B[p, 16:32]        B is packed: the 16 columns of a panel are
 *           +---------+---------+          adjacent, then the next p. A micro-tile is
 *   A[i, p] | acc     | acc     |          MR rows by PANELS panels of accumulators,
 *           | MR rows |         |          all of them registers.
 *           +---------+---------+
 *
 * B of another format than float32 is widened as it is loaded, integers times their scales.
 * It is asked for PREFETCH_ROWS before it is needed: weights may come from memory, and a
 * tile of few rows has so little to do with each row of B that nothing else would hide the
 * way. All but the widest tile ask for what comes after them, too, a cache line at each p,
 * so that memory is read while the units multiply and not before.
 *
 * The sum of an element is one chain of vfma over p from zero, whatever the tile: its
 * bits depend neither on MR and PANELS nor on which rows and columns stand beside it.
 */

typedef struct {
    int64_t k;
    const float *a;
    int64_t lda;
    fa_format format; /* of b */
    const void *b;
    int64_t b_panel;     /* distance between panels */
    const float *scales; /* of integers, 16 per panel */
    float *c;
    int64_t ldc, c_panel;
    const float *beta; /* 16 per panel, or NULL */
    const char *next;  /* what is prefetched: a line at each step of p */
    int64_t next_step; /* bytes between those lines */
} tile_plan;

enum {
    /* Rows of B between the load and the prefetch: 2 KB of a panel of float32. From memory,
     * 24 and 48 are as good for most formats and shapes, 16 and 64 are worse. */
    PREFETCH_ROWS = 32,
};

/* The most rows of a tile of so many panels: beside the accumulators a row of B and an
 * element of A stand in registers. */
#define TALLEST(panels) ((REGISTERS - 1) / ((panels) * VECTORS) - 1)

/* The main tile, MR x PANELS, reads the fewest bytes of B per multiplication: its panels
 * come from the second-level cache. Fewer rows take as many panels as the registers hold:
 * the main tile would have too few accumulators to hide the latency of vfma, and load an
 * element of A for fewer multiplications. */
_Static_assert(MR <= TALLEST(PANELS) && TALLEST(MAX_PANELS) >= 1 && PANELS <= MAX_PANELS,
               "a micro-tile does not fit the registers");

/* The panels of a tile of so many rows. */
INLINE int64_t panels_for(int64_t rows)
{
    int panels = MAX_PANELS;
    while (panels > PANELS && rows > TALLEST(panels)) panels--;
    return panels;
}

/* C = C beta + acc, or acc alone. */
INLINE void store_tile(const int rows, const int panels, vf (*acc)[MAX_PANELS * VECTORS],
                       const tile_plan *t)
{
    UNROLL
    for (int j = 0; j < panels * VECTORS; j++) {
        float *c = t->c + j / VECTORS * t->c_panel + j % VECTORS * LANES;
        UNROLL
        for (int i = 0; i < rows; i++) {
            vf sum = acc[i][j];
            if (t->beta) {
                sum = vfma(vload(c + i * t->ldc), vload(t->beta + j * LANES), sum);
            }
            vstore(c + i * t->ldc, sum);
        }
    }
}

/* A[i, p] is a[i * lda + p], or a[p * lda + i] where A is given as its transpose.
 *
 * Rows are found from every fourth one, a distance of 0, lda, 2 lda or 3 lda away: so few
 * addresses fit the registers and each step of p moves them by itself. Left alone, the
 * compiler computes one offset per row and spills, and the reloads compete with the
 * multiplications for issue slots. */
INLINE void micro_tile(const int rows, const int panels, const int transposed,
                       const fa_format format, const tile_plan *t)
{
    vf acc[MR][MAX_PANELS * VECTORS] = {{{0}}};
    const int64_t lda = t->lda, b_panel = t->b_panel;
    const float *a[(MR + 3) / 4];
    UNROLL
    for (int i = 0; i < rows; i += 4) {
        a[i / 4] = t->a + i * (transposed ? 1 : lda);
        KEEP_APART(a[i / 4]);
    }
    const char *b = t->b, *end = b + t->k * FA_PANEL * size_of(format);
    const char *next = t->next;
    while (b != end) {
        if (panels == PANELS || panels < MAX_PANELS) {
            __builtin_prefetch(next, 0, 2); /* to read, into the second-level cache */
            next += t->next_step;
        }
        vf b_row[MAX_PANELS * VECTORS];
        UNROLL
        for (int j = 0; j < panels * VECTORS; j++) {
            const int64_t at = j / VECTORS * b_panel + j % VECTORS * LANES;
            if (j % VECTORS == 0) {
                const int64_t ahead = at + PREFETCH_ROWS * FA_PANEL;
                __builtin_prefetch(b + ahead * size_of(format));
            }
            b_row[j] = load_as(format, b + at * size_of(format));
            if (has_scales(format)) b_row[j] *= vload(t->scales + j * LANES);
        }
        UNROLL
        for (int i = 0; i < rows; i++) {
            const vf a_ip = vsplat(a[i / 4][i % 4 * (transposed ? 1 : lda)]);
            UNROLL
            for (int j = 0; j < panels * VECTORS; j++) {
                acc[i][j] = vfma(a_ip, b_row[j], acc[i][j]);
            }
        }
        UNROLL
        for (int i = 0; i < rows; i += 4) a[i / 4] += transposed ? lda : 1;
        b += FA_PANEL * size_of(format);
    }
    store_tile(rows, panels, acc, t);
}

/* An unrolled copy for each height; the dead branches are gone before inlining. */
INLINE void micro_tile_rows(int rows, const int panels, const int transposed,
                            const fa_format format, const tile_plan *t)
{
    const int most = panels <= PANELS ? MR : TALLEST(panels);
    assert(1 <= rows && rows <= most && panels <= MAX_PANELS);
    /* clang-format off */
    switch (rows) {
    case 14: if (most >= 14) micro_tile(14, panels, transposed, format, t); break;
    case 13: if (most >= 13) micro_tile(13, panels, transposed, format, t); break;
    case 12: if (most >= 12) micro_tile(12, panels, transposed, format, t); break;
    case 11: if (most >= 11) micro_tile(11, panels, transposed, format, t); break;
    case 10: if (most >= 10) micro_tile(10, panels, transposed, format, t); break;
    case 9: if (most >= 9) micro_tile(9, panels, transposed, format, t); break;
    case 8: if (most >= 8) micro_tile(8, panels, transposed, format, t); break;
    case 7: if (most >= 7) micro_tile(7, panels, transposed, format, t); break;
    case 6: if (most >= 6) micro_tile(6, panels, transposed, format, t); break;
    case 5: if (most >= 5) micro_tile(5, panels, transposed, format, t); break;
    case 4: if (most >= 4) micro_tile(4, panels, transposed, format, t); break;
    case 3: if (most >= 3) micro_tile(3, panels, transposed, format, t); break;
    case 2: if (most >= 2) micro_tile(2, panels, transposed, format, t); break;
    case 1: if (most >= 1) micro_tile(1, panels, transposed, format, t); break;
    }
    /* clang-format on */
}

INLINE void micro_tile_any(int rows, int panels, const int transposed,
                           const fa_format format, const tile_plan *t)
{
    switch (panels) {
    case 4:
        if (MAX_PANELS >= 4) micro_tile_rows(rows, 4, transposed, format, t);
        break;
    case 3:
        if (MAX_PANELS >= 3) micro_tile_rows(rows, 3, transposed, format, t);
        break;
    case 2:
        if (MAX_PANELS >= 2) micro_tile_rows(rows, 2, transposed, format, t);
        break;
    default: micro_tile_rows(rows, 1, transposed, format, t); break;
    }
}

/* These three are the only copies of the unrolled tiles in an instruction set. */
static __attribute__((noinline)) void multiply_tile(int rows, int panels,
                                                    const tile_plan *t)
{
    micro_tile_any(rows, panels, 0, FA_FORMAT_FLOAT32, t);
}

static __attribute__((noinline)) void multiply_tile_transposed(int rows, int panels,
                                                               const tile_plan *t)
{
    micro_tile_any(rows, panels, 1, FA_FORMAT_FLOAT32, t);
}

/* One copy for all narrow formats, chosen at each row of B: a copy for each took a fifth of
 * the compiler's time and was no faster. */
static __attribute__((noinline)) void multiply_tile_narrow(int rows, int panels,
                                                           const tile_plan *t)
{
    micro_tile_any(rows, panels, 0, t->format, t);
}

/* A tile of B in any format. */
INLINE void multiply_packed(int rows, int panels, const tile_plan *t)
{
    if (t->format == FA_FORMAT_FLOAT32) multiply_tile(rows, panels, t);
    else multiply_tile_narrow(rows, panels, t);
}

static const float ONES[FA_QUERY_BLOCK] = {[0 ... FA_QUERY_BLOCK - 1] = 1.0f};

/* Rows in memory, as many as a block of keys or queries has: FA_QUERY_BLOCK. */
typedef struct {
    const char *first;
    int64_t stride, width; /* bytes from one row to the next, and of each */
} rows_ahead;

INLINE rows_ahead columns_from(rows_ahead rows, int64_t bytes)
{
    return (rows_ahead){rows.first + bytes, rows.stride, rows.width - bytes};
}

/* Let a tile ask for a column of cache lines: in `steps` steps of p, the tiles before it
 * have asked for a line each. */
INLINE void prefetch_rows(const rows_ahead *rows, int64_t steps, tile_plan *t)
{
    const int64_t column = steps / FA_QUERY_BLOCK * FA_ALIGN;
    const int more = column < rows->width;
    t->next = rows->first;
    if (more) t->next += column + steps % FA_QUERY_BLOCK * rows->stride;
    t->next_step = more ? rows->stride : 0;
}

/* C (rows, panels) = A B (+ C beta) tile by tile, all float32; `tile` has the origin. The
 * first strip prefetches the rows of `ahead`, the others those of `later`. */
INLINE void multiply(int64_t rows, int64_t panels, const int transposed, tile_plan tile,
                     const rows_ahead ahead, const rows_ahead later)
{
    if (rows == 0) return;
    const int64_t row_tiles = ceil_div(rows, MR);
    const int64_t strips = ceil_div(panels, panels_for(ceil_div(rows, row_tiles)));
    for (int64_t j = 0; j < strips; j++) {
        const int64_t panel = part_start(panels, strips, j);
        const int width = (int)(part_start(panels, strips, j + 1) - panel);
        for (int64_t i = 0; i < row_tiles; i++) {
            const int64_t row = part_start(rows, row_tiles, i);
            const int height = (int)(part_start(rows, row_tiles, i + 1) - row);
            tile_plan t = tile;
            t.a += transposed ? row : row * t.lda;
            t.b = (const float *)t.b + panel * t.b_panel;
            t.c += row * t.ldc + panel * t.c_panel;
            if (t.beta) t.beta += panel * FA_PANEL;
            prefetch_rows(j ? &later : &ahead, i * t.k, &t);
            if (transposed) multiply_tile_transposed(height, width, &t);
            else multiply_tile(height, width, &t);
        }
    }
}

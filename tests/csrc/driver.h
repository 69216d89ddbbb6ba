/* SPDX-License-Identifier: BSD-3-Clause */
/* driver.h: what the parts of the driver share.
 *
 * A case is one call of an operation with inputs made by a formula, so that every machine
 * has the same ones. It asks memory.c for exactly the memory that its plan promises to the
 * kernel, and replay.c runs it and prints a checksum of what it wrote.
 */
#include "../../csrc/fastattn.h"

#include <stdint.h>

/* Where an array lies: alone in a block of the heap, for AddressSanitizer to watch both of
 * its ends, or with its first or its last byte at a page that may not be touched. */
typedef enum { HEAP, AFTER_GUARD, BEFORE_GUARD } placement;

void place_memory(placement where);
void release_memory(void);
void *memory(int64_t bytes);

/* Arrays of `count` made-up numbers: of [low, high), bits of float16 and bfloat16 below 2,
 * and bytes of which `hidden` of 4 are 0, the others 1. */
float *numbers(int64_t count, float low, float high);
uint16_t *halves(int64_t count);
uint8_t *flags(int64_t count, int hidden);

/* A case: name it (0: it is left out), run one or more operations, print the checksum of
 * each result. */
int begin(const fa_kernels *table, const char *format, ...);
void run(const fa_op *op, const void *plan);
void finish(const char *result, const void *bits, int64_t bytes);

/* All cases of a table. */
void product_cases(const fa_kernels *table);
void search_cases(const fa_kernels *table);
void precision_cases(const fa_kernels *table);
void row_cases(const fa_kernels *table);
void attention_cases(const fa_kernels *table);

/* Elementary functions on n floats, as the tables with and without FMA compute them. */
enum { EXP2 = FA_NUM_ACTIVATIONS, EXP, LOG }; /* or an activation */
void elementary_fused(int function, int64_t n, const float *x, float *y);
void elementary_baseline(int function, int64_t n, const float *x, float *y);
void sweep(int64_t stride);

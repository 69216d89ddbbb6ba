/* SPDX-License-Identifier: BSD-3-Clause */
/* fastattn.h: everything Cython sees of the kernels.
 *
 * A kernel is a pure function of (plan, task). The plan says what to compute, the task
 * which independent piece of it. Kernels allocate nothing, know no threads and cannot
 * fail: shapes, memory and errors are the business of the caller.
 *
 * Vocabulary: ld? is the distance between two rows in elements; the elements of a row
 * are adjacent unless a plan says otherwise.
 */
#ifndef FASTATTN_H
#define FASTATTN_H

#include "lists.h"

#include <stdint.h>

/* An operation: how many tasks, how many bytes of scratch per thread, run one task. */
typedef struct {
    int64_t (*tasks)(const void *plan);
    int64_t (*scratch)(const void *plan);
    void (*run)(const void *plan, int64_t task, void *scratch);
} fa_op;

enum {
    FA_PANEL = 16,       /* columns of a packed panel, the same on every machine */
    FA_ALIGN = 64,       /* bytes; packed weights and scratch start on a cache line */
    FA_QUERY_BLOCK = 64, /* queries of one attention task */
    FA_KEY_CHUNK = 512,  /* keys that attention reduces from zero before it merges */
    /* So many rows of A read panels so rarely that packing all of B first does not pay:
     * each task packs what it reads into scratch. They are one block of rows. */
    FA_UNPACKED_ROWS = 56,
    FA_FAR = 1 << 30, /* as far as two positions can be apart: half from each side */
};

/* An engine multiplies tiles of the groups of a precision: C[i, j] = the sum over the
 * groups of A[i, g] times those of B[g, j], from zero, as int32 or, of bfloat16, as
 * float32. Integers of 8 bits are unsigned in A and signed in B. It is chosen apart from
 * the table of operations. */
enum { FA_TILE_ROWS = 16, FA_TILE_PANELS = 4 }; /* the most of any engine */
typedef struct {
    int64_t rows, panels, groups;
    const char *a;
    int64_t lda; /* bytes */
    const char *b;
    int64_t b_panel; /* bytes; in a panel, the 16 columns of a group are adjacent */
    int32_t *c;      /* (panels, FA_TILE_ROWS, FA_PANEL) */
} fa_group_tile;
typedef struct {
    int64_t rows, panels; /* its largest tile, or 0: it does not multiply these */
    void (*multiply)(const fa_group_tile *tile);
    float offset; /* what it takes from the integers of A, of int8, before */
} fa_multiplier;
typedef struct {
    const char *name;
    int (*supported)(void); /* by this CPU and its operating system */
    fa_multiplier in[FA_NUM_PRECISIONS];
} fa_engine;

/* pack: copy B (k, n) into panels, columns [column, column + n) of a packed matrix.
 *
 *      B, 3 x 20                      panel 0           panel 1
 *      a0 a1 .. a15 a16 .. a19        a0 a1 .. a15      a16 .. a19 0 .. 0
 *      b0 b1 .. b15 b16 .. b19   ->   b0 b1 .. b15      b16 .. b19 0 .. 0
 *      c0 c1 .. c15 c16 .. c19        c0 c1 .. c15      c16 .. c19 0 .. 0
 *
 * B has any strides: a weight (out_features, in_features) is packed as its transpose
 * with ldb = 1. Columns past the last one are left as they are: the caller zeroes.
 *
 * float16 and bfloat16 are rounded to nearest even. int8 is round(B[p, j] / scales[j]),
 * with scales[j] = max over p of |B[p, j]| / 127 (formats/int8.h: how that is rounded). */
typedef struct {
    int64_t k, n;
    const float *b;
    int64_t ldb, b_col; /* B[p, j] = b[p * ldb + j * b_col] */
    fa_format format;
    void *packed;  /* (panels, k, FA_PANEL) in the format */
    float *scales; /* (panels, FA_PANEL) of integers, or NULL */
    int64_t column;
} fa_pack_plan;

/* unpack: the reverse, B (k, n) as float32. */
typedef struct {
    int64_t k, n;
    fa_format format;
    const void *packed;
    const float *scales;
    float *b; /* (n, k): B transposed, as a weight is */
} fa_unpack_plan;

/* quantize_weight: copy B (k, n) into panels of groups, columns [column, column + n) of a
 * packed matrix. A block of a column has a scale and, of int8, the sum of its integers. */
typedef struct {
    int64_t k, n;
    const float *b;
    int64_t ldb, b_col; /* B[p, j] = b[p * ldb + j * b_col] */
    fa_precision precision;
    void *packed;  /* (panels, groups, FA_PANEL) of 4 bytes */
    float *scales; /* (panels, blocks, FA_PANEL); blocks, at least one, of the precision */
    float *sums;   /* (panels, blocks, FA_PANEL) of integers of 8 bits */
    int64_t column;
} fa_quantize_weight_plan;

/* Rows of groups: what products of a precision read of A (m, k). */
typedef struct {
    void *groups;
    int64_t ld;    /* bytes between rows */
    float *scales; /* (m, blocks) of integers; NaN for a block that is not finite */
    float *zeros;  /* (m, blocks) of int8: the integer that stands for 0 */
} fa_quantized_rows;

/* quantize_rows: A (m, k), each column times its `factors`, into such rows. */
typedef struct {
    int64_t m, k;
    const float *a;
    int64_t lda;
    const float *factors; /* (k,) or NULL */
    fa_precision precision;
    fa_quantized_rows rows;
} fa_quantize_rows_plan;

/* The k best scores for each query so far, and the rows of a corpus that have them. */
typedef struct {
    int64_t k, first; /* `first`: the place in the corpus of a product's first row */
    float *scores;    /* (queries, k) */
    int64_t *indices;
} fa_best;

/* gemm: C = norm(activation(A B + bias) * factor + residual), each part optional.
 *
 * fold: C[i] = the max, or the sum, of 0 and of activation(A B + bias) over the rows that i
 * owns. */
typedef enum { FA_FOLD_MAX, FA_FOLD_SUM } fa_fold;
typedef struct {
    int64_t m, n, k;
    const float *a;
    int64_t lda, a_col; /* A[i, p] = a[i * lda + p * a_col], of which one is 1, or m is */
    fa_format format;
    const void *b;         /* packed panels, FA_ALIGN-aligned */
    const float *scales;   /* of the columns of integers, or NULL */
    const float *unpacked; /* or NULL; else float32 in place of panels: */
    int64_t ldb, b_col;    /* B[p, j] = unpacked[p * ldb + j * b_col] */
    /* Of matmul with m = 1: how far apart the rows of A are where each column of C has one
     * of its own, which makes a dot product of each; else 0. */
    int64_t a_step;
    const fa_multiplier *multiplier; /* or NULL; else A is `rows` and b panels of groups, */
    fa_precision precision;          /* with `scales` and `sums` as quantize_weight */
    fa_quantized_rows rows;          /* makes them */
    const float *sums;
    const float *bias; /* (n,) or NULL */
    fa_activation activation;
    const float *factor; /* (m, n) or NULL; may be C itself */
    int64_t ldf;
    const float *residual; /* (m, n) or NULL; may not overlap C */
    int64_t ldr;
    int norm; /* layer normalisation of each finished row */
    const float *norm_weight, *norm_bias;
    float norm_eps;
    float *c;
    int64_t ldc;
    fa_fold fold;          /* of `fold` alone, as what follows: */
    const int64_t *owners; /* (m,) the rows of C that own those of A, never decreasing */
    int64_t num_owners;    /* the rows of C */
    const fa_best *best;   /* of `top_k` alone, which stores no C; else NULL */
} fa_gemm_plan;

/* matmul: the product for every index of an array of matrices, with B unpacked. */
typedef struct {
    fa_gemm_plan first; /* at the index 0 */
    int64_t matrices;   /* product of the shape */
    int dims;
    const int64_t *shape, *a_steps, *b_steps, *c_steps; /* (dims,), steps in elements */
} fa_matmul_plan;

/* top_k: for each query the k rows of a corpus with the highest scores, score = query .
 * row, or query . row / |row|. The corpus is in parts, one after the other. Each task
 * leaves its lists, and top_k_merge joins them into the first one, best first. */
enum { FA_FEW_QUERIES = 7 }; /* up to so many are read as they lie */
typedef struct {
    int64_t first, rows; /* the place of its first row in the corpus, how many it has */
    fa_dtype dtype;
    const void *x;
    int64_t ldx;
} fa_corpus_part;
typedef struct {
    int64_t num_queries, dim, k; /* 1 <= k */
    int64_t rows;                /* of all parts */
    const fa_corpus_part *parts;
    const float *queries; /* (num_queries, dim) of at most FA_FEW_QUERIES, or */
    const void *panels;   /* packed, as the weight of a product */
    int cosine;           /* divide by the lengths of rows */
    int64_t tasks;
    float *scores; /* (tasks, num_queries, k) */
    int64_t *indices;
} fa_top_k_plan;

/* softmax: y[i, :] = exp(x[i, :] - max) / sum, max and sum over the row. */
typedef struct {
    int64_t rows, cols;
    const float *x;
    int64_t ldx;
    float *y;
    int64_t ldy;
} fa_softmax_plan;

/* layer_norm: y[i, :] = (x[i, :] - mean) / sqrt(var + eps) * weight + bias; with `rms`, 0
 * stands for the mean. */
typedef struct {
    int64_t rows, cols;
    const float *x;
    int64_t ldx;
    int rms;
    const float *weight, *bias; /* (cols,) or NULL */
    float eps;
    float *y;
    int64_t ldy;
} fa_layer_norm_plan;

/* activate: y[i] = activation(x[i]). */
typedef struct {
    int64_t n;
    const float *x;
    fa_activation activation;
    float *y;
} fa_activate_plan;

/* embed: y[t, :] = norm(scale * sum over tables of table[ids[t], :]); ids are in range. */
enum { FA_EMBED_TABLES = 3 };
typedef struct {
    int64_t tokens, dim;
    int num_tables;
    const float *table[FA_EMBED_TABLES];
    int64_t ldt[FA_EMBED_TABLES];
    const int64_t *ids[FA_EMBED_TABLES];
    float scale;
    int norm;
    const float *norm_weight, *norm_bias;
    float norm_eps;
    float *y;
    int64_t ldy;
} fa_embed_plan;

/* pool: one vector per packed sequence, made of its rows from `first` on as `pooling` says
 * and divided by its length (L2) where `normalize` says so. Where there is no such row it
 * is zeros. */
typedef struct {
    int64_t num_sequences, dim;
    const int64_t *cu_seqlens; /* (num_sequences + 1,) */
    int64_t first;
    const float *x;
    int64_t ldx;
    fa_pooling pooling;
    int normalize;
    float *y;
    int64_t ldy;
} fa_pool_plan;

/* attention: o = softmax(bias(softcap(scale q k^T))) v for every head of every sequence,
 * and lse = log sum exp of the same scores. A query at position `offset + i` sees the keys
 * from `left` before it to `right` after it that the mask lets through. */
typedef struct {
    int64_t seqlen_q, seqlen_k;
    int64_t offset; /* at most FA_FAR / 2 from 0, as are the lengths */
    float beyond;   /* how much farther from 0 it is where slopes count from it */
    const void *q, *k, *v;
    const void *mask;
    const float *slopes; /* (num_heads,) or NULL: adds -slope |position - key| */
    void *o;
    float *lse; /* or NULL */
    /* (seqlen_q,) and (seqlen_k,), ascending: the positions that slopes and buckets count
     * from where they are not adjacent; else both NULL. */
    const float *q_positions, *k_positions;
} fa_sequence;

typedef enum { FA_NO_MASK, FA_BOOL_MASK, FA_FLOAT_MASK } fa_mask_kind;

typedef struct {
    int64_t num_sequences, num_heads, group; /* group: query heads per key head */
    int64_t head_dim, value_dim;
    int64_t columns; /* of o: value_dim, or the keys of attention_weights */
    fa_dtype dtype;  /* of q, k, v and o */
    const fa_sequence *sequences;
    const int64_t *first_block; /* (num_sequences + 1,), running sum of query blocks */
    int64_t q_row, q_head;      /* strides in elements */
    int64_t k_row, k_head;
    int64_t v_row, v_head;
    int64_t o_row, o_head;
    int64_t lse_row, lse_head;
    fa_mask_kind mask_kind;
    fa_dtype mask_dtype; /* of a float mask */
    int64_t mask_head, mask_row, mask_col;
    float scale;
    float softcap;       /* c of c tanh(s / c), or 0 */
    int64_t left, right; /* FA_FAR where there is no bound */
    /* (num_heads, 2 distance + 1): adds entry clip(key - position, +-distance) + distance,
     * or NULL. */
    const float *distance_bias;
    int64_t distance;
    /* To q k^T come q . bucket_keys[b] and k . bucket_queries[b], float32 all of them,
     * where b = buckets[position - key + farthest] and no distance is farther; along
     * `buckets` b stays or grows by 1. Tables are packed (num_heads, bucket_panels,
     * head_dim, 16), one of them may be NULL; NULL buckets: neither is added. */
    const float *bucket_keys, *bucket_queries;
    const int32_t *buckets; /* (2 farthest + 1) */
    int64_t farthest, bucket_panels;
    /* With few queries and many keys the chunks of keys are tasks of their own, which
     * leave their part here for attention_merge; 0 chunks: a task goes through all. */
    int64_t chunks;
    int64_t lanes;   /* queries of the longest block, rounded up to a panel */
    float *partials; /* (query blocks, num_heads, chunks, lanes * (2 + value_dim)) */
} fa_attention_plan;

/* sinusoid: y[i, 2j] = sin(pos / base^(2j / dim)), y[i, 2j + 1] = cos(same), where
 * pos = first + i; with frequencies, sin(pos frequencies[j]) and cos(same). */
typedef struct {
    int64_t first, length, dim;
    double base;
    const double *frequencies; /* (dim / 2, rounded up), from 0 to 1, or NULL */
    float *y;                  /* (length, dim) */
} fa_sinusoid_plan;

/* rotary: in every head of x[i], turn each pair (a, b) of columns in place, to
 * (a cos - b sin, b cos + a sin) with the angles of row positions[i]. Pair j is the columns
 * j and j + pairs, or, interleaved, 2 j and 2 j + 1; columns from 2 * pairs on stay. */
typedef struct {
    int64_t rows, num_heads, pairs;
    const float *cos, *sin;   /* (any number, pairs) */
    const int64_t *positions; /* (rows,), rows of cos and sin */
    int interleaved;
    float *x;
    int64_t x_row, x_head;
} fa_rotary_plan;

/* split_heads: y[s, h, i, :] = x[s * length + i, h, :] for sequences of one length. */
typedef struct {
    int64_t num_sequences, length, num_heads, dim;
    const float *x; /* (num_sequences * length, num_heads, dim) */
    int64_t x_row, x_head;
    float *y;
    int64_t y_sequence, y_head, y_row;
} fa_split_heads_plan;

/* An instruction set is a table of operations. */
typedef struct {
    const char *name;
    fa_op pack, unpack, quantize_weight, quantize_rows, gemm, fold, matmul, top_k,
        top_k_merge, softmax, layer_norm, activate, embed, pool;
    fa_op attention, attention_weights, attention_merge, sinusoid, rotary, split_heads;
} fa_kernels;

/* The tables of this build, best first. */
int fa_num_kernels(void);
const fa_kernels *fa_kernels_at(int index);
int fa_kernels_supported(int index); /* by this CPU and its operating system */

/* Its engines, best first; the last one has every precision and runs everywhere. */
int fa_num_engines(void);
const fa_engine *fa_engine_at(int index);

#endif

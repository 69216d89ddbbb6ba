/* SPDX-License-Identifier: BSD-3-Clause */
/* lists.h: what there are several of: activations, poolings, formats, precisions.
 *
 * Each is named in one line X(NAME, name). The enum, the switches of the kernels, the names
 * that Python reads and the cases of the tests are made of these lines.
 */
#ifndef FASTATTN_LISTS_H
#define FASTATTN_LISTS_H

#include <stdint.h>

#define FA_NAME(NAME, name) #name,
#define FA_ONE(...) +1

/* activation.h has the formula of each, relu_each for example. */
#define FA_ACTIVATIONS(X)                                                                  \
    X(IDENTITY, identity)                                                                  \
    X(RELU, relu)                                                                          \
    X(GELU, gelu)                                                                          \
    X(GELU_TANH, gelu_tanh)                                                                \
    X(SILU, silu)                                                                          \
    X(TANH, tanh)                                                                          \
    X(SIGMOID, sigmoid)                                                                    \
    X(LOG1P_RELU, log1p_relu)
#define FA_ACTIVATION(NAME, name) FA_##NAME,
typedef enum { FA_ACTIVATIONS(FA_ACTIVATION) } fa_activation;
enum { FA_NUM_ACTIVATIONS = FA_ACTIVATIONS(FA_ONE) };
static const char *const FA_ACTIVATION_NAMES[] = {FA_ACTIVATIONS(FA_NAME)};

/* pooling.h has the loop of each, pool_mean for example. */
#define FA_POOLINGS(X)                                                                     \
    X(CLS, cls)                                                                            \
    X(MAX, max)                                                                            \
    X(MEAN, mean)                                                                          \
    X(MEAN_SQRT_LEN_TOKENS, mean_sqrt_len_tokens)                                          \
    X(WEIGHTEDMEAN, weightedmean)                                                          \
    X(LASTTOKEN, lasttoken)
#define FA_POOLING(NAME, name) FA_POOL_##NAME,
typedef enum { FA_POOLINGS(FA_POOLING) } fa_pooling;
enum { FA_NUM_POOLINGS = FA_POOLINGS(FA_ONE) };
static const char *const FA_POOLING_NAMES[] = {FA_POOLINGS(FA_NAME)};

/* How numbers are stored, X(NAME, name, bytes, largest): the bytes of an element, and the
 * largest magnitude that rounds to something finite in it, for certain. All are float32
 * where they are computed with. Weights have any of the formats, arrays are of a dtype, of
 * which the numbers stand for themselves; integers have a scale for each column. Each has a
 * header in generic/formats/. */
#define FA_HALVES(X)                                                                       \
    X(FLOAT16, float16, 2, 65504.0)                                                        \
    X(BFLOAT16, bfloat16, 2, 0x1p127)
#define FA_INTEGERS(X) X(INT8, int8, 1, 0x1p127)
#define FA_DTYPES(X) X(FLOAT32, float32, 4, 0x1.fffffep127) FA_HALVES(X)
#define FA_FORMATS(X) FA_DTYPES(X) FA_INTEGERS(X)
#define FA_DTYPE(NAME, ...) FA_##NAME,
typedef enum { FA_DTYPES(FA_DTYPE) } fa_dtype;
#define FA_FORMAT(NAME, ...) FA_FORMAT_##NAME,
typedef enum { FA_FORMATS(FA_FORMAT) } fa_format; /* a dtype has its number here, too */
enum { FA_NUM_DTYPES = FA_DTYPES(FA_ONE), FA_NUM_FORMATS = FA_FORMATS(FA_ONE) };
#define FA_FACTS(NAME, name, bytes, largest) {#name, bytes, largest},
typedef struct {
    const char *name;
    int64_t bytes;
    double largest;
} fa_format_facts;
static const fa_format_facts FA_FORMAT_FACTS[] = {FA_FORMATS(FA_FACTS)};

/* In what the products of a dense layer are taken, where it is not float32, X(NAME, name,
 * bytes, block, largest): the bytes of a term, of which 4 side by side are a group; the
 * terms that are added up before they count in float32, and that share a scale where they
 * are integers; and the largest magnitude of a weight. What they compute, to the bit, is
 * linear_in in reference.py. */
#define FA_PRECISIONS(X)                                                                   \
    X(INT8, int8, 1, 192, 0x1p126)                                                         \
    X(INT16, int16, 2, 384, 0x1p127)                                                       \
    X(BFLOAT16, bfloat16, 2, 384, 0x1p127)
#define FA_PRECISION(NAME, ...) FA_IN_##NAME,
typedef enum { FA_PRECISIONS(FA_PRECISION) FA_NUM_PRECISIONS } fa_precision;
#define FA_PRECISION_FACT(NAME, name, bytes, block, largest) {#name, bytes, block, largest},
typedef struct {
    const char *name;
    int64_t bytes, block;
    double largest;
} fa_precision_facts;
static const fa_precision_facts FA_PRECISION_FACTS[] = {FA_PRECISIONS(FA_PRECISION_FACT)};

#endif

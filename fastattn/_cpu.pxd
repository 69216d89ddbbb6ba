# What the other extension modules share: the kernels' header, and who runs a step.
from libc.stdint cimport int32_t, int64_t


cdef extern from "fastattn.h":
    enum:
        FA_PANEL
        FA_ALIGN
        FA_QUERY_BLOCK
        FA_KEY_CHUNK
        FA_UNPACKED_ROWS
        FA_FAR
        FA_EMBED_TABLES
        FA_FEW_QUERIES

    ctypedef struct fa_op:
        int64_t (*tasks)(const void *plan) noexcept nogil
        int64_t (*scratch)(const void *plan) noexcept nogil
        void (*run)(const void *plan, int64_t task, void *scratch) noexcept nogil

    # Lists of which only the names are read here: a number is a place among them.
    ctypedef enum fa_activation:
        FA_IDENTITY
    ctypedef enum fa_pooling:
        pass
    ctypedef enum fa_dtype:
        pass
    ctypedef enum fa_format:
        FA_FORMAT_FLOAT32
    ctypedef enum fa_precision:
        pass
    enum:
        FA_NUM_ACTIVATIONS
        FA_NUM_POOLINGS
        FA_NUM_DTYPES
        FA_NUM_FORMATS
        FA_NUM_PRECISIONS
    const char *const *FA_ACTIVATION_NAMES
    const char *const *FA_POOLING_NAMES

    ctypedef struct fa_format_facts:
        const char *name
        int64_t bytes
        double largest
    const fa_format_facts *FA_FORMAT_FACTS

    ctypedef struct fa_precision_facts:
        const char *name
        int64_t bytes, block
        double largest
    const fa_precision_facts *FA_PRECISION_FACTS

    ctypedef struct fa_multiplier:
        int64_t rows, panels

    ctypedef struct fa_engine:
        const char *name
        int (*supported)() noexcept nogil
        const fa_multiplier *in_ "in"

    ctypedef enum fa_mask_kind:
        FA_NO_MASK, FA_BOOL_MASK, FA_FLOAT_MASK

    ctypedef struct fa_pack_plan:
        int64_t k, n
        const float *b
        int64_t ldb, b_col
        fa_format format
        void *packed
        float *scales
        int64_t column

    ctypedef struct fa_unpack_plan:
        int64_t k, n
        fa_format format
        const void *packed
        const float *scales
        float *b

    ctypedef struct fa_quantize_weight_plan:
        int64_t k, n
        const float *b
        int64_t ldb, b_col
        fa_precision precision
        void *packed
        float *scales
        float *sums
        int64_t column

    ctypedef struct fa_quantized_rows:
        void *groups
        int64_t ld
        float *scales
        float *zeros

    ctypedef struct fa_quantize_rows_plan:
        int64_t m, k
        const float *a
        int64_t lda
        const float *factors
        fa_precision precision
        fa_quantized_rows rows

    ctypedef enum fa_fold:
        FA_FOLD_MAX, FA_FOLD_SUM

    ctypedef struct fa_best:
        int64_t k, first
        float *scores
        int64_t *indices

    ctypedef struct fa_gemm_plan:
        int64_t m, n, k
        const float *a
        int64_t lda, a_col
        fa_format format
        const void *b
        const float *scales
        const float *unpacked
        int64_t ldb, b_col
        int64_t a_step
        const fa_multiplier *multiplier
        fa_precision precision
        fa_quantized_rows rows
        const float *sums
        const float *bias
        fa_activation activation
        const float *factor
        int64_t ldf
        const float *residual
        int64_t ldr
        int norm
        const float *norm_weight
        const float *norm_bias
        float norm_eps
        float *c
        int64_t ldc
        fa_fold fold
        const int64_t *owners
        int64_t num_owners
        const fa_best *best

    ctypedef struct fa_matmul_plan:
        fa_gemm_plan first
        int64_t matrices
        int dims
        const int64_t *shape
        const int64_t *a_steps
        const int64_t *b_steps
        const int64_t *c_steps

    ctypedef struct fa_corpus_part:
        int64_t first, rows
        fa_dtype dtype
        const void *x
        int64_t ldx

    ctypedef struct fa_top_k_plan:
        int64_t num_queries, dim, k, rows
        const fa_corpus_part *parts
        const float *queries
        const void *panels
        int cosine
        int64_t tasks
        float *scores
        int64_t *indices

    ctypedef struct fa_softmax_plan:
        int64_t rows, cols
        const float *x
        int64_t ldx
        float *y
        int64_t ldy

    ctypedef struct fa_layer_norm_plan:
        int64_t rows, cols
        const float *x
        int64_t ldx
        int rms
        const float *weight
        const float *bias
        float eps
        float *y
        int64_t ldy

    ctypedef struct fa_activate_plan:
        int64_t n
        const float *x
        fa_activation activation
        float *y

    ctypedef struct fa_embed_plan:
        int64_t tokens, dim
        int num_tables
        const float *table[3]
        int64_t ldt[3]
        const int64_t *ids[3]
        float scale
        int norm
        const float *norm_weight
        const float *norm_bias
        float norm_eps
        float *y
        int64_t ldy

    ctypedef struct fa_pool_plan:
        int64_t num_sequences, dim
        const int64_t *cu_seqlens
        int64_t first
        const float *x
        int64_t ldx
        fa_pooling pooling
        int normalize
        float *y
        int64_t ldy

    ctypedef struct fa_sequence:
        int64_t seqlen_q, seqlen_k
        int64_t offset
        float beyond
        const void *q
        const void *k
        const void *v
        const void *mask
        const float *slopes
        void *o
        float *lse
        const float *q_positions
        const float *k_positions

    ctypedef struct fa_attention_plan:
        int64_t num_sequences, num_heads, group
        int64_t head_dim, value_dim, columns
        fa_dtype dtype
        const fa_sequence *sequences
        const int64_t *first_block
        int64_t q_row, q_head, k_row, k_head, v_row, v_head, o_row, o_head
        int64_t lse_row, lse_head
        fa_mask_kind mask_kind
        fa_dtype mask_dtype
        int64_t mask_head, mask_row, mask_col
        float scale, softcap
        int64_t left, right
        const float *distance_bias
        int64_t distance
        const float *bucket_keys
        const float *bucket_queries
        const int32_t *buckets
        int64_t farthest, bucket_panels
        int64_t chunks, lanes
        float *partials

    ctypedef struct fa_sinusoid_plan:
        int64_t first, length, dim
        double base
        const double *frequencies
        float *y

    ctypedef struct fa_rotary_plan:
        int64_t rows, num_heads, pairs
        const float *cos
        const float *sin
        const int64_t *positions
        int interleaved
        float *x
        int64_t x_row, x_head

    ctypedef struct fa_split_heads_plan:
        int64_t num_sequences, length, num_heads, dim
        const float *x
        int64_t x_row, x_head
        float *y
        int64_t y_sequence, y_head, y_row

    ctypedef struct fa_kernels:
        const char *name
        fa_op pack, unpack, quantize_weight, quantize_rows
        fa_op gemm, fold, matmul, top_k, top_k_merge
        fa_op softmax, layer_norm, activate, embed, pool
        fa_op attention, attention_weights, attention_merge, sinusoid, rotary, split_heads

    int fa_num_kernels() noexcept nogil
    const fa_kernels *fa_kernels_at(int index) noexcept nogil
    int fa_kernels_supported(int index) noexcept nogil
    int fa_num_engines() noexcept nogil
    const fa_engine *fa_engine_at(int index) noexcept nogil


cdef struct Step:
    const fa_op *op
    const void *plan
    int64_t tasks


cdef const fa_kernels *kernels() noexcept
cdef const fa_multiplier *multiplier_of(int precision) noexcept
cdef int run_steps(
    Step *steps, Py_ssize_t num_steps, double total_work, object num_threads
) except -1

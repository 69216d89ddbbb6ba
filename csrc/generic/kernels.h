/* SPDX-License-Identifier: BSD-3-Clause */
/* kernels.h: every kernel, once, for the instruction set that is open, and its table. An
 * isa/ stub defines ISA, LANES, REGISTERS, MR, PANELS and MAX_PANELS. */
#include "../simd.h"

#include "../narrow.h"

static int64_t no_scratch(const void *plan)
{
    (void)plan;
    return 0;
}

/* The order matters: each uses some that stand before it, csrc/README.md says which, and
 * none includes another. clang-format would sort them. */
/* clang-format off */
#include "formats.h"
#include "transpose.h"
#include "vmath.h"
#include "micro_kernel.h"
#include "packing.h"
#include "activation.h"
#include "layer_norm.h"
#include "quantize.h"
#include "group_tile.h"
#include "best.h"
#include "gemm.h"
#include "fold.h"
#include "matmul.h"
#include "top_k.h"
#include "softmax.h"
#include "attention_task.h"
#include "attention_masks.h"
#include "attention_scores.h"
#include "relative_scores.h"
#include "online_softmax.h"
#include "one_query.h"
#include "attention.h"
#include "attention_weights.h"
#include "embedding.h"
#include "pooling.h"
#include "rotary.h"
#include "sinusoid.h"
#include "split_heads.h"
/* clang-format on */

#define FA_PASTE_(a, b) a##b
#define FA_PASTE(a, b) FA_PASTE_(a, b)
#define FA_QUOTE_(text) #text
#define FA_QUOTE(text) FA_QUOTE_(text)

const fa_kernels FA_PASTE(fa_kernels_, ISA) = {
    .name = FA_QUOTE(ISA),
    .pack = {pack_tasks, pack_scratch, pack_run},
    .unpack = {unpack_tasks, unpack_scratch, unpack_run},
    .quantize_weight = {quantize_weight_tasks, quantize_weight_scratch,
                        quantize_weight_run},
    .quantize_rows = {quantize_rows_tasks, no_scratch, quantize_rows_run},
    .gemm = {gemm_tasks, gemm_scratch, gemm_run},
    .fold = {fold_tasks, gemm_scratch, fold_run},
    .matmul = {matmul_tasks, matmul_scratch, matmul_run},
    .top_k = {top_k_tasks, top_k_scratch, top_k_run},
    .top_k_merge = {top_k_merge_tasks, no_scratch, top_k_merge_run},
    .softmax = {softmax_tasks, no_scratch, softmax_run},
    .layer_norm = {layer_norm_tasks, no_scratch, layer_norm_run},
    .activate = {activate_tasks, no_scratch, activate_run},
    .embed = {embed_tasks, no_scratch, embed_run},
    .pool = {pool_tasks, no_scratch, pool_run},
    .attention = {attention_tasks, attention_scratch, attention_run},
    .attention_weights = {attention_tasks, attention_scratch, attention_weights_run},
    .attention_merge = {attention_merge_tasks, no_scratch, attention_merge_run},
    .sinusoid = {sinusoid_tasks, no_scratch, sinusoid_run},
    .rotary = {rotary_tasks, no_scratch, rotary_run},
    .split_heads = {split_heads_tasks, no_scratch, split_heads_run},
};

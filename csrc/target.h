/* SPDX-License-Identifier: BSD-3-Clause */
/* target.h: open and close an instruction set inside a file, so that every file is
 * compiled with the same flags. The intrinsics' headers must be read before a region
 * opens: inside one, gcc would bind them to its instruction set. */
#ifndef FASTATTN_TARGET_H
#define FASTATTN_TARGET_H

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define FA_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define FA_TARGET_BEGIN(isa)                                                               \
    FA_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define FA_TARGET_END FA_PRAGMA(clang attribute pop)
#else
#define FA_TARGET_BEGIN(isa) FA_PRAGMA(GCC push_options) FA_PRAGMA(GCC target(isa))
#define FA_TARGET_END FA_PRAGMA(GCC pop_options)
#endif

/* Before a loop of constant length; gcc leaves a register tile in memory without it. */
#ifndef UNROLL
#if defined(__clang__)
#define UNROLL FA_PRAGMA(clang loop unroll(full))
#else
#define UNROLL FA_PRAGMA(GCC unroll 16)
#endif
#endif

/* Keep a pointer in a register of its own: the compiler no longer knows what it was made
 * of, so it cannot compute it anew at each use. */
#define KEEP_APART(pointer) __asm__("" : "+r"(pointer))

#define INLINE static inline __attribute__((always_inline))

#endif

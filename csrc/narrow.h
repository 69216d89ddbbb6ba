/* SPDX-License-Identifier: BSD-3-Clause */
/* narrow.h: vectors of LANES numbers of 8 and 16 bits: widened where they are loaded,
 * narrowed where they are stored. */

typedef uint32_t vu __attribute__((vector_size(LANES * 4)));
typedef uint16_t vu16 __attribute__((vector_size(LANES * 2)));
typedef int8_t vi8 __attribute__((vector_size(LANES)));

INLINE vu uselect(vu mask, vu a, vu b) { return (mask & a) | (~mask & b); }

/* Store the lower 16 bits of the first `count` (at most LANES) elements. */
INLINE void vstore_low_halves(void *p, vu x, int64_t count)
{
#if defined(FA_AVX2)
    /* Those of each half of x go to its first eight bytes. */
    const __m256i first = _mm256_set1_epi64x(0x0d0c090805040100);
    const __m256i low = _mm256_shuffle_epi8((__m256i)x, first);
    const vu16 halves = (vu16)_mm_unpacklo_epi64(_mm256_castsi256_si128(low),
                                                 _mm256_extracti128_si256(low, 1));
#else
    const vu16 halves = __builtin_convertvector(x, vu16);
#endif
    if (count >= LANES) memcpy(p, &halves, sizeof halves);
    else if (count > 0) memcpy(p, &halves, (size_t)count * 2);
}

/* Store the lowest byte of the first `count` (at most LANES) elements. */
INLINE void vstore_low_bytes(void *p, vi x, int64_t count)
{
#if defined(FA_AVX512)
    const vi8 bytes = (vi8)_mm512_cvtepi32_epi8((__m512i)x);
#elif defined(FA_AVX2)
    /* Those of each half go to its first four bytes. */
    const __m256i first = _mm256_set1_epi32(0x0c080400);
    const __m256i halves = _mm256_shuffle_epi8((__m256i)x, first);
    const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(halves),
                                            _mm256_extracti128_si256(halves, 1));
    vi8 bytes;
    memcpy(&bytes, &both, sizeof bytes);
#else
    const vi8 bytes = __builtin_convertvector(x, vi8);
#endif
    if (count >= LANES) memcpy(p, &bytes, sizeof bytes);
    else if (count > 0) memcpy(p, &bytes, (size_t)count);
}

/* LANES adjacent float16, widened. Where there is no instruction: the exponent and mantissa
 * of a float16 stand 13 bits lower than those of a float32 and its exponent's bias is 112
 * less, so shift, then multiply by 2^112, which also normalises subnormals. Infinity and
 * NaN get the largest exponent afterwards. */
INLINE vf vload_float16(const void *p)
{
#if defined(FA_AVX512)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256(p));
#elif defined(FA_AVX2)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128(p));
#elif defined(FA_NEON)
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
    vu16 bits;
    memcpy(&bits, p, sizeof bits);
    const vu half = __builtin_convertvector(bits, vu);
    const vu magnitude = (half & 0x7fff) << 13;
    const vu finite = (vu)((vf)magnitude * 0x1p112f);
    const vu special = magnitude | 0x7f800000;
    const vu is_special = (vu)(magnitude >= 0x0f800000u);
    return (vf)((is_special & special) | (~is_special & finite) | (half & 0x8000) << 16);
#endif
}

/* LANES adjacent bfloat16, widened: they are the upper halves of float32. */
INLINE vf vload_bfloat16(const void *p)
{
#if defined(FA_AVX512)
    const vu bits = (vu)_mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
#elif defined(FA_AVX2)
    const vu bits = (vu)_mm256_cvtepu16_epi32(_mm_loadu_si128(p));
#else
    vu16 narrow;
    memcpy(&narrow, p, sizeof narrow);
    const vu bits = __builtin_convertvector(narrow, vu);
#endif
    return (vf)(bits << 16);
}

/* LANES adjacent int8, converted. */
INLINE vf vload_int8(const void *p)
{
#if defined(FA_AVX512)
    const vi x = (vi)_mm512_cvtepi8_epi32(_mm_loadu_si128(p));
#elif defined(FA_AVX2)
    const vi x = (vi)_mm256_cvtepi8_epi32(_mm_loadl_epi64(p));
#elif defined(FA_NEON)
    int32_t bits;
    memcpy(&bits, p, sizeof bits);
    const int16x8_t wide = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(bits)));
    const vi x = (vi)vmovl_s16(vget_low_s16(wide));
#else
    vi8 narrow;
    memcpy(&narrow, p, sizeof narrow);
    const vi x = __builtin_convertvector(narrow, vi);
#endif
    return __builtin_convertvector(x, vf);
}

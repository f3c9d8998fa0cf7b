/* The dot product of kernels/cpu/unpacked.h on x86: 16 or 32 products an instruction pair. */
#ifndef RAD_X86_UNPACKED_DOT_H
#define RAD_X86_UNPACKED_DOT_H

#include <stdint.h>

#if defined(__AVX2__) /* other machines share the templates and keep the plain C */
#define UNPACKED_DOT

static inline int32_t unpacked_add_lanes(__m256i a)
{
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    return _mm_cvtsi128_si32(sum);
}

static inline __m256i unpacked_products(const int16_t *w, const int8_t *x)
{
    return _mm256_madd_epi16(_mm256_loadu_si256((const void *)w),
                             _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)x)));
}

/* n is a multiple of 64: it is 256, which is all that these tables take apart block by block. Four
 * sums, so that additions do not wait for each other. */
static inline int32_t unpacked_dot(const int16_t *w, const int8_t *x, uint32_t n)
{
    __m256i sums[4];
    for (int k = 0; k < 4; k++)
        sums[k] = unpacked_products(w + 16 * k, x + 16 * k);
    for (uint32_t i = 64; i < n; i += 64)
        for (int k = 0; k < 4; k++)
            sums[k] = _mm256_add_epi32(sums[k], unpacked_products(w + i + 16 * k, x + i + 16 * k));
    return unpacked_add_lanes(
        _mm256_add_epi32(_mm256_add_epi32(sums[0], sums[1]), _mm256_add_epi32(sums[2], sums[3])));
}

#endif /* __AVX2__ */

#endif

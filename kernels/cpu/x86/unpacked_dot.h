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

/* n is a multiple of 16. */
static inline int32_t unpacked_dot(const int16_t *w, const int8_t *x, uint32_t n)
{
    __m256i sum = unpacked_products(w, x);
    uint32_t i = 16;
    if (n >= 64) { /* four sums, so that additions do not wait for each other */
        __m256i a = unpacked_products(w + 16, x + 16), b = unpacked_products(w + 32, x + 32),
                c = unpacked_products(w + 48, x + 48);
        for (i = 64; i + 64 <= n; i += 64) {
            sum = _mm256_add_epi32(sum, unpacked_products(w + i, x + i));
            a = _mm256_add_epi32(a, unpacked_products(w + i + 16, x + i + 16));
            b = _mm256_add_epi32(b, unpacked_products(w + i + 32, x + i + 32));
            c = _mm256_add_epi32(c, unpacked_products(w + i + 48, x + i + 48));
        }
        sum = _mm256_add_epi32(_mm256_add_epi32(sum, a), _mm256_add_epi32(b, c));
    }
    for (; i < n; i += 16)
        sum = _mm256_add_epi32(sum, unpacked_products(w + i, x + i));
    return unpacked_add_lanes(sum);
}

#endif /* __AVX2__ */

#endif

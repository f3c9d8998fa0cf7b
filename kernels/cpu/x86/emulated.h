/* The AVX-512 operations that SIMDe 0.7.4 lacks, made of AVX2 ones; for tests only. */
#ifndef RAD_X86_EMULATED_H
#define RAD_X86_EMULATED_H

static inline __m512 emulated_join(__m256 low, __m256 high)
{
    float values[16];
    _mm256_storeu_ps(values, low);
    _mm256_storeu_ps(values + 8, high);
    return _mm512_loadu_ps(values);
}

static inline __m512 emulated_cvtph_ps(__m256i halves)
{
    return emulated_join(_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                         _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)));
}

static inline __m512i emulated_cvtepu16_epi32(__m256i words)
{
    __m256i low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(words));
    __m256i high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(words, 1));
    return _mm512_castps_si512(emulated_join(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)));
}

static inline __m512 emulated_cvtepi32_ps(__m512i a)
{
    return emulated_join(_mm256_cvtepi32_ps(_mm512_castsi512_si256(a)),
                         _mm256_cvtepi32_ps(_mm512_extracti64x4_epi64(a, 1)));
}

static inline __m512i emulated_cvtps_epi32(__m512 a)
{
    __m512d bits = _mm512_castps_pd(a);
    __m256i low = _mm256_cvtps_epi32(_mm512_castps512_ps256(a));
    __m256i high = _mm256_cvtps_epi32(_mm256_castpd_ps(_mm512_extractf64x4_pd(bits, 1)));
    return _mm512_castps_si512(emulated_join(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)));
}

static inline __m256i emulated_cvtepi32_epi16(__m512i a)
{
    int32_t from[16];
    int16_t to[16];
    _mm512_storeu_si512(from, a);
    for (int i = 0; i < 16; i++)
        to[i] = (int16_t)from[i];
    return _mm256_loadu_si256((const void *)to);
}

#define _mm512_cvtph_ps(a)       emulated_cvtph_ps(a)
#define _mm512_cvtepu16_epi32(a) emulated_cvtepu16_epi32(a)
#define _mm512_cvtps_epi32(a)    emulated_cvtps_epi32(a)
#define _mm512_cvtepi32_ps(a)    emulated_cvtepi32_ps(a)
#define _mm512_cvtepi32_epi16(a) emulated_cvtepi32_epi16(a)

#endif

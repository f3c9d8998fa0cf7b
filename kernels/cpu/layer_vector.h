/* The few vector operations that the layer kernels name themselves, for each instruction set; every
 * lane is one IEEE operation, so the bits do not depend on the width. Included by
 * layer_template.c alone. */
#ifndef RAD_LAYER_VECTOR_H
#define RAD_LAYER_VECTOR_H

#include <math.h>
#include <stdint.h>

#include "base/numeric_f32.h"

#if defined(RAD_LAYER_AVX512)
#define VECTOR_WIDTH 16
#if defined(RAD_LAYER_EMULATED) /* tests on machines without AVX-512 */
#include <immintrin.h>
#include <simde/x86/avx512.h>
typedef simde__m512 vector;
#define VECTOR_INTEGERS          simde__m512i
#define VECTOR_INSTRUCTION(name) simde_mm512_##name
#else
#include <immintrin.h>
typedef __m512 vector;
#define VECTOR_INTEGERS          __m512i
#define VECTOR_INSTRUCTION(name) _mm512_##name
#define vector_load_half(p)      _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#endif
#define vector_load(p)        VECTOR_INSTRUCTION(loadu_ps)(p)
#define vector_store(p, v)    VECTOR_INSTRUCTION(storeu_ps)(p, v)
#define vector_set(x)         VECTOR_INSTRUCTION(set1_ps)(x)
#define vector_multiply(a, b) VECTOR_INSTRUCTION(mul_ps)(a, b)
#define vector_fma(a, b, c)   VECTOR_INSTRUCTION(fmadd_ps)(a, b, c)
#define vector_fms(a, b, c)   VECTOR_INSTRUCTION(fmsub_ps)(a, b, c)

#elif defined(RAD_LAYER_AVX2)
#include <immintrin.h>
#define VECTOR_WIDTH          8
typedef __m256 vector;
#define vector_load(p)        _mm256_loadu_ps(p)
#define vector_store(p, v)    _mm256_storeu_ps(p, v)
#define vector_set(x)         _mm256_set1_ps(x)
#define vector_multiply(a, b) _mm256_mul_ps(a, b)
#define vector_fma(a, b, c)   _mm256_fmadd_ps(a, b, c)
#define vector_fms(a, b, c)   _mm256_fmsub_ps(a, b, c)
#define vector_load_half(p)   _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))

#elif defined(RAD_LAYER_NEON)
#include <arm_neon.h>
#define VECTOR_WIDTH          4
typedef float32x4_t vector;
#define vector_load(p)        vld1q_f32(p)
#define vector_store(p, v)    vst1q_f32(p, v)
#define vector_set(x)         vdupq_n_f32(x)
#define vector_multiply(a, b) vmulq_f32(a, b)
#define vector_fma(a, b, c)   vfmaq_f32(c, a, b)
#define vector_fms(a, b, c)   vfmaq_f32(vnegq_f32(c), a, b)
#define vector_load_half(p)   vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))

#else
#define VECTOR_WIDTH          1
typedef float vector;
#define vector_load(p)        (*(p))
#define vector_store(p, v)    (*(p) = (v))
#define vector_set(x)         (x)
#define vector_multiply(a, b) ((a) * (b))
#define vector_fma(a, b, c)   fmaf(a, b, c)
#define vector_fms(a, b, c)   fmaf(a, b, -(c))
#define vector_load_half(p)   rad_float_of_half(*(p))
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#if defined(RAD_LAYER_EMULATED)
ALWAYS_INLINE vector vector_load_half(const uint16_t *halves)
{
    float values[VECTOR_WIDTH];
    for (int i = 0; i < VECTOR_WIDTH; i++)
        values[i] = rad_float_of_half(halves[i]);
    return vector_load(values);
}
#endif

/* 2 * VECTOR_WIDTH numbers that are pairs: their first ones and their second ones, and back. */
ALWAYS_INLINE void vector_load_pairs(const float *p, vector *first, vector *second)
{
    vector low = vector_load(p), high = vector_load(p + VECTOR_WIDTH);
#if defined(RAD_LAYER_AVX512)
    const VECTOR_INTEGERS even =
        VECTOR_INSTRUCTION(set_epi32)(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const VECTOR_INTEGERS odd =
        VECTOR_INSTRUCTION(set_epi32)(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    *first = VECTOR_INSTRUCTION(permutex2var_ps)(low, even, high);
    *second = VECTOR_INSTRUCTION(permutex2var_ps)(low, odd, high);
#elif defined(RAD_LAYER_AVX2)
    vector front = _mm256_permute2f128_ps(low, high, 0x20);
    vector back = _mm256_permute2f128_ps(low, high, 0x31);
    *first = _mm256_shuffle_ps(front, back, 0x88);
    *second = _mm256_shuffle_ps(front, back, 0xdd);
#elif defined(RAD_LAYER_NEON)
    *first = vuzp1q_f32(low, high);
    *second = vuzp2q_f32(low, high);
#else
    *first = low;
    *second = high;
#endif
}

ALWAYS_INLINE void vector_store_pairs(float *p, vector first, vector second)
{
#if defined(RAD_LAYER_AVX512)
    const VECTOR_INTEGERS front =
        VECTOR_INSTRUCTION(set_epi32)(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const VECTOR_INTEGERS back =
        VECTOR_INSTRUCTION(set_epi32)(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    vector low = VECTOR_INSTRUCTION(permutex2var_ps)(first, front, second);
    vector high = VECTOR_INSTRUCTION(permutex2var_ps)(first, back, second);
#elif defined(RAD_LAYER_AVX2)
    vector front = _mm256_unpacklo_ps(first, second), back = _mm256_unpackhi_ps(first, second);
    vector low = _mm256_permute2f128_ps(front, back, 0x20);
    vector high = _mm256_permute2f128_ps(front, back, 0x31);
#elif defined(RAD_LAYER_NEON)
    vector low = vzip1q_f32(first, second), high = vzip2q_f32(first, second);
#else
    vector low = first, high = second;
#endif
    vector_store(p, low);
    vector_store(p + VECTOR_WIDTH, high);
}

/* NARROWED floats as rad_half_saturated() makes them: the conversion itself makes infinities of
 * great numbers and keeps the bits of NaN. */
#if defined(RAD_LAYER_AVX512) || defined(RAD_LAYER_AVX2)
#define NARROWED 8
ALWAYS_INLINE void store_halves(const float *x, uint16_t *halves)
{
    const __m256 sign = _mm256_set1_ps(-0.0f), greatest = _mm256_set1_ps(65504.0f);
    __m256 v = _mm256_loadu_ps(x), magnitude = _mm256_andnot_ps(sign, v);
    __m256 held = _mm256_or_ps(_mm256_min_ps(magnitude, greatest), _mm256_and_ps(sign, v));
    __m256 infinite = _mm256_cmp_ps(magnitude, _mm256_set1_ps(INFINITY), _CMP_EQ_OQ);
    held = _mm256_blendv_ps(held, v, infinite);
    held = _mm256_blendv_ps(held, _mm256_set1_ps(NAN), _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    _mm_storeu_si128((__m128i *)(void *)halves, _mm256_cvtps_ph(held, _MM_FROUND_TO_NEAREST_INT));
}
#elif defined(RAD_LAYER_NEON)
#define NARROWED 4
ALWAYS_INLINE void store_halves(const float *x, uint16_t *halves)
{
    const float32x4_t greatest = vdupq_n_f32(65504.0f);
    float32x4_t v = vld1q_f32(x), held = vmaxq_f32(vminq_f32(v, greatest), vnegq_f32(greatest));
    held = vbslq_f32(vceqq_f32(vabsq_f32(v), vdupq_n_f32(INFINITY)), v, held);
    held = vbslq_f32(vceqq_f32(v, v), held, vdupq_n_f32(NAN));
    vst1_u16(halves, vreinterpret_u16_f16(vcvt_f16_f32(held)));
}
#else
#define NARROWED 1
ALWAYS_INLINE void store_halves(const float *x, uint16_t *halves)
{
    *halves = rad_half_saturated(*x);
}
#endif

/* Unrolls a loop of a constant, small length, so that its arrays of vectors live in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
/* Arrays that may be the same are read and written at the same index only. */
#define SAME_INDEX_ONLY _Pragma("clang loop vectorize(assume_safety)")
#else
#define UNROLL          _Pragma("GCC unroll 16")
#define SAME_INDEX_ONLY _Pragma("GCC ivdep")
#endif

#include "kernels/cpu/layer_reduce.h"

#endif

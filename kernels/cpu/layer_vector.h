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
#define VECTOR_INSTRUCTION(name) simde_mm512_##name
#else
#include <immintrin.h>
typedef __m512 vector;
#define VECTOR_INSTRUCTION(name) _mm512_##name
#define vector_load_half(p)      _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#endif
#define vector_load(p)        VECTOR_INSTRUCTION(loadu_ps)(p)
#define vector_store(p, v)    VECTOR_INSTRUCTION(storeu_ps)(p, v)
#define vector_set(x)         VECTOR_INSTRUCTION(set1_ps)(x)
#define vector_multiply(a, b) VECTOR_INSTRUCTION(mul_ps)(a, b)
#define vector_fma(a, b, c)   VECTOR_INSTRUCTION(fmadd_ps)(a, b, c)

#elif defined(RAD_LAYER_AVX2)
#include <immintrin.h>
#define VECTOR_WIDTH          8
typedef __m256 vector;
#define vector_load(p)        _mm256_loadu_ps(p)
#define vector_store(p, v)    _mm256_storeu_ps(p, v)
#define vector_set(x)         _mm256_set1_ps(x)
#define vector_multiply(a, b) _mm256_mul_ps(a, b)
#define vector_fma(a, b, c)   _mm256_fmadd_ps(a, b, c)
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
#define vector_load_half(p)   vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))

#else
#define VECTOR_WIDTH          1
typedef float vector;
#define vector_load(p)        (*(p))
#define vector_store(p, v)    (*(p) = (v))
#define vector_set(x)         (x)
#define vector_multiply(a, b) ((a) * (b))
#define vector_fma(a, b, c)   fmaf(a, b, c)
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

/* The widths of vectors that lanes.h is compiled for. */
#include "quant/lanes.h"

/* ---- one lane at a time, on any machine --------------------------------------------------------
 */

static inline float least(float a, float b)
{
    return a < b ? a : b;
}

static inline float greatest(float a, float b)
{
    return a > b ? a : b;
}

#define NAME(function) plain_##function
#define TARGET
#define VECTOR           float
#define WIDTH            1
#define SET(value)       (value)
#define LOAD(from)       (*(from))
#define STORE(to, value) (*(to) = (value))
#define ADD(a, b)        ((a) + (b))
#define SUB(a, b)        ((a) - (b))
#define MUL(a, b)        ((a) * (b))
#define MIN(a, b)        least((a), (b))
#define MAX(a, b)        greatest((a), (b))
#define ADD_WHERE_ABOVE(sum, v, threshold, difference)                                             \
    ((sum) + ((v) > (threshold) ? (difference) : 0.0f))
#include "quant/lanes_template.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define NAME(function) sse_##function
#define TARGET
#define VECTOR           __m128
#define WIDTH            4
#define SET(value)       _mm_set1_ps(value)
#define LOAD(from)       _mm_loadu_ps(from)
#define STORE(to, value) _mm_storeu_ps(to, value)
#define ADD(a, b)        _mm_add_ps(a, b)
#define SUB(a, b)        _mm_sub_ps(a, b)
#define MUL(a, b)        _mm_mul_ps(a, b)
#define MIN(a, b)        _mm_min_ps(a, b)
#define MAX(a, b)        _mm_max_ps(a, b)
#define ADD_WHERE_ABOVE(sum, v, threshold, difference)                                             \
    _mm_add_ps(sum, _mm_and_ps(_mm_cmpgt_ps(v, threshold), difference))
#include "quant/lanes_template.h"

#define NAME(function)   avx2_##function
#define TARGET           __attribute__((target("avx2")))
#define VECTOR           __m256
#define WIDTH            8
#define SET(value)       _mm256_set1_ps(value)
#define LOAD(from)       _mm256_loadu_ps(from)
#define STORE(to, value) _mm256_storeu_ps(to, value)
#define ADD(a, b)        _mm256_add_ps(a, b)
#define SUB(a, b)        _mm256_sub_ps(a, b)
#define MUL(a, b)        _mm256_mul_ps(a, b)
#define MIN(a, b)        _mm256_min_ps(a, b)
#define MAX(a, b)        _mm256_max_ps(a, b)
#define ADD_WHERE_ABOVE(sum, v, threshold, difference)                                             \
    _mm256_add_ps(sum, _mm256_and_ps(_mm256_cmp_ps(v, threshold, _CMP_GT_OQ), difference))
#include "quant/lanes_template.h"

#define NAME(function)   avx512_##function
#define TARGET           __attribute__((target("avx512f")))
#define VECTOR           __m512
#define WIDTH            16
#define SET(value)       _mm512_set1_ps(value)
#define LOAD(from)       _mm512_loadu_ps(from)
#define STORE(to, value) _mm512_storeu_ps(to, value)
#define ADD(a, b)        _mm512_add_ps(a, b)
#define SUB(a, b)        _mm512_sub_ps(a, b)
#define MUL(a, b)        _mm512_mul_ps(a, b)
#define MIN(a, b)        _mm512_min_ps(a, b)
#define MAX(a, b)        _mm512_max_ps(a, b)
#define ADD_WHERE_ABOVE(sum, v, threshold, difference)                                             \
    _mm512_mask_add_ps(sum, _mm512_cmp_ps_mask(v, threshold, _CMP_GT_OQ), sum, difference)
#include "quant/lanes_template.h"

const rad_lanes *rad_lanes_find(int level)
{
    return level >= 2   ? &avx512_table
           : level == 1 ? &avx2_table
           : level == 0 ? &sse_table
                        : &plain_table;
}

#elif defined(__aarch64__)

#include <arm_neon.h>

#define NAME(function) neon_##function
#define TARGET
#define VECTOR           float32x4_t
#define WIDTH            4
#define SET(value)       vdupq_n_f32(value)
#define LOAD(from)       vld1q_f32(from)
#define STORE(to, value) vst1q_f32(to, value)
#define ADD(a, b)        vaddq_f32(a, b)
#define SUB(a, b)        vsubq_f32(a, b)
#define MUL(a, b)        vmulq_f32(a, b)
#define MIN(a, b)        vminq_f32(a, b)
#define MAX(a, b)        vmaxq_f32(a, b)
#define ADD_WHERE_ABOVE(sum, v, threshold, difference)                                             \
    vaddq_f32(sum, vreinterpretq_f32_u32(                                                          \
                       vandq_u32(vcgtq_f32(v, threshold), vreinterpretq_u32_f32(difference))))
#include "quant/lanes_template.h"

const rad_lanes *rad_lanes_find(int level)
{
    return level >= 0 ? &neon_table : &plain_table;
}

#else

const rad_lanes *rad_lanes_find(int level)
{
    (void)level;
    return &plain_table;
}

#endif

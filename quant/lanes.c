/* The widths of vectors that lanes.h is compiled for. */
#include "quant/lanes.h"

#include "quant/lanes_plain.h"

#if defined(__x86_64__)

#include <immintrin.h>

/* For machines without AVX2, which are old: few bytes count for more than speed. */
#if defined(__clang__)
#define SMALL __attribute__((minsize))
#else
#define SMALL __attribute__((optimize("Os")))
#endif

static inline float sum_4(__m128 v) /* (0 + 2) + (1 + 3) */
{
    __m128 pairs = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps(pairs, pairs, 1)));
}

static inline float greatest_4(__m128 v)
{
    __m128 pairs = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(pairs, _mm_shuffle_ps(pairs, pairs, 1)));
}

static inline void sse_store_bytes(int8_t *to, __m128 v)
{
    __m128i pairs = _mm_packs_epi32(_mm_cvtps_epi32(v), _mm_setzero_si128());
    int32_t bytes = _mm_cvtsi128_si32(_mm_packs_epi16(pairs, pairs));
    memcpy(to, &bytes, sizeof bytes);
}

__attribute__((target("avx2"))) static inline void avx2_store_bytes(int8_t *to, __m256 v)
{
    __m256i integers = _mm256_cvtps_epi32(v);
    __m128i pairs =
        _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packs_epi16(pairs, pairs));
}

__attribute__((target("avx512f"))) static inline float sum_16(__m512 v)
{
    __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), upper);
    return sum_4(_mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

/* The instructions round to nearest even, make NaN quiet and know subnormal numbers whatever the
 * floating-point environment, as half.c does. */
__attribute__((target("avx2,f16c"))) static void f16c_from_f16(const uint8_t *halves, float *values,
                                                               size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(values + i,
                         _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(halves + 2 * i))));
    plain_from_f16(halves + 2 * i, values + i, n - i);
}

__attribute__((target("avx2,f16c"))) static void f16c_to_f16(const float *values, uint8_t *halves,
                                                             size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(halves + 2 * i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(values + i), _MM_FROUND_TO_NEAREST_INT));
    plain_to_f16(values + i, halves + 2 * i, n - i);
}

#define NAME(function)   sse_##function
#define TARGET           SMALL
#define VECTOR           __m128
#define WIDTH            4
#define SET(value)       _mm_set1_ps(value)
#define LOAD(from)       _mm_loadu_ps(from)
#define STORE(to, value) _mm_storeu_ps(to, value)
#define ADD(a, b)        _mm_add_ps(a, b)
#define SUB(a, b)        _mm_sub_ps(a, b)
#define MUL(a, b)        _mm_mul_ps(a, b)
#define DIV(a, b)        _mm_div_ps(a, b)
#define MIN(a, b)        _mm_min_ps(a, b)
#define MAX(a, b)        _mm_max_ps(a, b)
#define ADD_WHERE_ABOVE(sum, v, threshold, difference)                                             \
    _mm_add_ps(sum, _mm_and_ps(_mm_cmpgt_ps(v, threshold), difference))
#define ROUND(v) _mm_sub_ps(_mm_add_ps(v, _mm_set1_ps(0x1.8p23f)), _mm_set1_ps(0x1.8p23f))
#define SELECT_ABOVE(a, b, yes, no)                                                                \
    _mm_or_ps(_mm_and_ps(_mm_cmpgt_ps(a, b), yes), _mm_andnot_ps(_mm_cmpgt_ps(a, b), no))
#define SUM(v)             sum_4(v)
#define GREATEST(v)        greatest_4(v)
#define EQUAL(a, b)        _mm_movemask_ps(_mm_cmpeq_ps(a, b))
#define ABS(v)             _mm_andnot_ps(_mm_set1_ps(-0.0f), v)
#define STORE_BYTES(to, v) sse_store_bytes(to, v)
#define FROM_F16           plain_from_f16
#define TO_F16             plain_to_f16
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
#define DIV(a, b)        _mm256_div_ps(a, b)
#define MIN(a, b)        _mm256_min_ps(a, b)
#define MAX(a, b)        _mm256_max_ps(a, b)
#define ADD_WHERE_ABOVE(sum, v, threshold, difference)                                             \
    _mm256_add_ps(sum, _mm256_and_ps(_mm256_cmp_ps(v, threshold, _CMP_GT_OQ), difference))
#define ROUND(v)                    _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define SELECT_ABOVE(a, b, yes, no) _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_GT_OQ))
#define SUM(v)                      sum_4(_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)))
#define GREATEST(v)                 greatest_4(_mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)))
#define EQUAL(a, b)                 _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ))
#define ABS(v)                      _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v)
#define STORE_BYTES(to, v)          avx2_store_bytes(to, v)
#define FROM_F16                    f16c_from_f16
#define TO_F16                      f16c_to_f16
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
#define DIV(a, b)        _mm512_div_ps(a, b)
#define MIN(a, b)        _mm512_min_ps(a, b)
#define MAX(a, b)        _mm512_max_ps(a, b)
#define ADD_WHERE_ABOVE(sum, v, threshold, difference)                                             \
    _mm512_mask_add_ps(sum, _mm512_cmp_ps_mask(v, threshold, _CMP_GT_OQ), sum, difference)
#define ROUND(v) _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define SELECT_ABOVE(a, b, yes, no)                                                                \
    _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), no, yes)
#define SUM(v)      sum_16(v)
#define GREATEST(v) _mm512_reduce_max_ps(v)
#define EQUAL(a, b) _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ)
#define ABS(v)      _mm512_abs_ps(v)
#define STORE_BYTES(to, v)                                                                         \
    _mm_storeu_si128((__m128i *)(to), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)))
#define FROM_F16 f16c_from_f16
#define TO_F16   f16c_to_f16
#include "quant/lanes_template.h"

const rad_lanes *rad_lanes_find(int level)
{
    return level >= 2 ? &avx512_table : level == 1 ? &avx2_table : &sse_table;
}

#elif defined(__aarch64__)

#include <arm_neon.h>

static inline float sum_4(float32x4_t v) /* (0 + 2) + (1 + 3) */
{
    float32x2_t pairs = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(pairs, 0) + vget_lane_f32(pairs, 1);
}

static inline void neon_store_bytes(int8_t *to, float32x4_t v)
{
    int16x4_t pairs = vmovn_s32(vcvtq_s32_f32(v));
    vst1_lane_s32((int32_t *)(void *)to, vreinterpret_s32_s8(vmovn_s16(vcombine_s16(pairs, pairs))),
                  0);
}

static inline uint32_t equal_4(float32x4_t a, float32x4_t b)
{
    static const uint32_t bits[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vceqq_f32(a, b), vld1q_u32(bits)));
}

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
#define DIV(a, b)        vdivq_f32(a, b)
#define MIN(a, b)        vminq_f32(a, b)
#define MAX(a, b)        vmaxq_f32(a, b)
#define ADD_WHERE_ABOVE(sum, v, threshold, difference)                                             \
    vaddq_f32(sum, vreinterpretq_f32_u32(                                                          \
                       vandq_u32(vcgtq_f32(v, threshold), vreinterpretq_u32_f32(difference))))
#define ROUND(v)                    vrndnq_f32(v)
#define SELECT_ABOVE(a, b, yes, no) vbslq_f32(vcgtq_f32(a, b), yes, no)
#define SUM(v)                      sum_4(v)
#define GREATEST(v)                 vmaxvq_f32(v)
#define EQUAL(a, b)                 equal_4(a, b)
#define ABS(v)                      vabsq_f32(v)
#define STORE_BYTES(to, v)          neon_store_bytes(to, v)
#define FROM_F16                    plain_from_f16
#define TO_F16                      plain_to_f16
#include "quant/lanes_template.h"

const rad_lanes *rad_lanes_find(int level)
{
    (void)level;
    return &neon_table;
}

#else

const rad_lanes *rad_lanes_find(int level)
{
    (void)level;
    return &plain_table;
}

#endif

/* Vectors of 16 lanes on Armv8 NEON: four registers. The same operations as x86/vector_avx2.h,
 * whose comments hold here. WIDE_DOT chooses the dot products: 0 none (Armv8.0), 1 with SDOT or,
 * where UNSIGNED_DOT is 1, with USDOT (i8mm). */
#ifndef RAD_VECTOR_NEON_H
#define RAD_VECTOR_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/x86/inline.h"

#ifndef WIDE_DOT
#define WIDE_DOT 0
#endif
#ifndef UNSIGNED_DOT
#define UNSIGNED_DOT 0
#endif
#define SIGNED_BYTES (!UNSIGNED_DOT)
/* Four registers for each 16 sums, of 32 in all. */
#define DIRECT_TOKENS    4
#define PANEL_GROUPS     1
#define PANEL_TOKENS     4
#define PANEL_TOKENS_TWO 2
/* Integer sums alone take sixteen registers: float sums stay in memory. */
#define SUMS_IN_REGISTERS 0
#define FETCH_FROM        2

typedef struct vi {
    int32x4_t h[4];
} vi;

typedef struct vf {
    float32x4_t h[4];
} vf;

#define S8(a)  vreinterpretq_s8_s32(a)
#define S16(a) vreinterpretq_s16_s32(a)
#define U8(a)  vreinterpretq_u8_s32(a)
#define U32(a) vreinterpretq_u32_s32(a)

/* One expression in i for each of the four registers. */
#define ALL_FOUR(type, expression)                                                                 \
    type r;                                                                                        \
    UNROLL for (int i = 0; i < 4; i++) r.h[i] = expression;                                        \
    return r

INLINE vi vi_zero(void)
{
    ALL_FOUR(vi, vdupq_n_s32(0));
}
INLINE vi vi_load(const void *p)
{
    const int8_t *bytes = p;
    ALL_FOUR(vi, vreinterpretq_s32_s8(vld1q_s8(bytes + 16 * i)));
}
INLINE vi vi_load_bytes(const uint8_t *p)
{
    const uint8x16_t bytes = vld1q_u8(p);
    const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));
    return (vi){{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
                 vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))),
                 vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
                 vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high)))}};
}
INLINE vi vi_load_words(const uint8_t *p)
{
    ALL_FOUR(vi, vreinterpretq_s32_u32(vmovl_u16(vreinterpret_u16_u8(vld1_u8(p + 8 * i)))));
}
INLINE void vi_store(void *p, vi a)
{
    int8_t *bytes = p;
    UNROLL for (int i = 0; i < 4; i++) vst1q_s8(bytes + 16 * i, S8(a.h[i]));
}
INLINE vi vi_set8(int value)
{
    ALL_FOUR(vi, vreinterpretq_s32_s8(vdupq_n_s8((int8_t)value)));
}
INLINE vi vi_set32(int value)
{
    ALL_FOUR(vi, vdupq_n_s32(value));
}
INLINE vi vi_set16(int value)
{
    ALL_FOUR(vi, vreinterpretq_s32_s16(vdupq_n_s16((int16_t)value)));
}
INLINE vi vi_broadcast32(const void *p)
{
    int32_t value;
    memcpy(&value, p, sizeof(value));
    ALL_FOUR(vi, vdupq_n_s32(value));
}
INLINE vi vi_and(vi a, vi b)
{
    ALL_FOUR(vi, vandq_s32(a.h[i], b.h[i]));
}
INLINE vi vi_or(vi a, vi b)
{
    ALL_FOUR(vi, vorrq_s32(a.h[i], b.h[i]));
}
INLINE vi vi_xor(vi a, vi b)
{
    ALL_FOUR(vi, veorq_s32(a.h[i], b.h[i]));
}
INLINE vi vi_lookup16(const int8_t *table, vi index)
{
    const int8x16_t entries = vld1q_s8(table);
    ALL_FOUR(vi, vreinterpretq_s32_s8(vqtbl1q_s8(entries, U8(index.h[i]))));
}
INLINE vi vi_add8(vi a, vi b)
{
    ALL_FOUR(vi, vreinterpretq_s32_s8(vaddq_s8(S8(a.h[i]), S8(b.h[i]))));
}
INLINE vi vi_add_where(vi a, vi quants, int bit, vi more)
{
    const uint8x16_t bits = vdupq_n_u8((uint8_t)bit);
    ALL_FOUR(vi, vreinterpretq_s32_u8(vqaddq_u8(
                     U8(a.h[i]), vandq_u8(vtstq_u8(U8(quants.h[i]), bits), U8(more.h[i])))));
}
INLINE vi vi_multiply32(vi a, vi b)
{
    ALL_FOUR(vi, vmulq_s32(a.h[i], b.h[i]));
}
INLINE vi vi_add16(vi a, vi b)
{
    ALL_FOUR(vi, vreinterpretq_s32_s16(vaddq_s16(S16(a.h[i]), S16(b.h[i]))));
}
INLINE vi vi_add32(vi a, vi b)
{
    ALL_FOUR(vi, vaddq_s32(a.h[i], b.h[i]));
}
INLINE vi vi_sub32(vi a, vi b)
{
    ALL_FOUR(vi, vsubq_s32(a.h[i], b.h[i]));
}
INLINE vi vi_shift_right(vi a, int count)
{
    const int32x4_t n = vdupq_n_s32(-count);
    ALL_FOUR(vi, vreinterpretq_s32_u32(vshlq_u32(U32(a.h[i]), n)));
}
INLINE vi vi_shift_left(vi a, int count)
{
    const int32x4_t n = vdupq_n_s32(count);
    ALL_FOUR(vi, vshlq_s32(a.h[i], n));
}
INLINE vi vi_shift_right_4(vi a)
{
    ALL_FOUR(vi, vreinterpretq_s32_u32(vshrq_n_u32(U32(a.h[i]), 4)));
}
INLINE vi vi_upper_byte(vi a)
{
    ALL_FOUR(vi, vreinterpretq_s32_s16(vshrq_n_s16(S16(a.h[i]), 8)));
}
/* An index of 16 or more, as 0x80 makes it, gives zero. */
INLINE vi vi_shuffle(vi a, uint32_t pattern)
{
    static const uint32_t lanes[4] = {0, 0x04040404, 0x08080808, 0x0c0c0c0c};
    const uint8x16_t control =
        vreinterpretq_u8_u32(vorrq_u32(vld1q_u32(lanes), vdupq_n_u32(pattern)));
    ALL_FOUR(vi, vreinterpretq_s32_u8(vqtbl1q_u8(U8(a.h[i]), control)));
}

INLINE int32x4_t madd16(int32x4_t a, int32x4_t b)
{
    int32x4_t low = vmull_s16(vget_low_s16(S16(a)), vget_low_s16(S16(b)));
    int32x4_t high = vmull_s16(vget_high_s16(S16(a)), vget_high_s16(S16(b)));
    return vpaddq_s32(low, high);
}
INLINE vi vi_madd16(vi a, vi b)
{
    ALL_FOUR(vi, madd16(a.h[i], b.h[i]));
}
INLINE vi vi_multiply16(vi a, vi b)
{
    ALL_FOUR(vi, vreinterpretq_s32_s16(vmulq_s16(S16(a.h[i]), S16(b.h[i]))));
}
INLINE vi vi_first_of_pair(vi a)
{
    ALL_FOUR(vi, vshrq_n_s32(vshlq_n_s32(a.h[i], 16), 16));
}
INLINE void vi_pair_sums(const int16_t *sums, int16_t *pairs)
{
    vst1q_s16(pairs, vpaddq_s16(vld1q_s16(sums), vld1q_s16(sums + 8)));
}

/* ---- sums of products of bytes --------------------------------------------------------------- */

/* Products of bytes, added in pairs: int16, as x86 has them in one instruction. Quants of formats
 * of up to 7 bits are below 128 and so the same as signed numbers. */
INLINE int32x4_t pair_products(int32x4_t weights, int32x4_t x)
{
    int16x8_t low = vmull_s8(vget_low_s8(S8(weights)), vget_low_s8(S8(x)));
    int16x8_t high = vmull_s8(vget_high_s8(S8(weights)), vget_high_s8(S8(x)));
    return vreinterpretq_s32_s16(vpaddq_s16(low, high));
}

#if WIDE_DOT
#if UNSIGNED_DOT
#define DOT_BYTES(sum, weights, x) vusdotq_s32(sum, U8(weights), S8(x))
#else
#define DOT_BYTES(sum, weights, x) vdotq_s32(sum, S8(weights), S8(x))
#endif
INLINE vi vi_dot(vi partial, vi weights, vi x)
{
    ALL_FOUR(vi, DOT_BYTES(partial.h[i], weights.h[i], x.h[i]));
}
INLINE vi vi_dot_first(vi weights, vi x)
{
    return vi_dot(vi_zero(), weights, x);
}
INLINE vi vi_widen(vi partial)
{
    return partial;
}
INLINE vi vi_scaled(vi partial, vi scale)
{
    ALL_FOUR(vi, vmulq_s32(partial.h[i], scale.h[i]));
}
#else
INLINE vi vi_dot(vi partial, vi weights, vi x)
{
    ALL_FOUR(vi, vreinterpretq_s32_s16(
                     vaddq_s16(S16(partial.h[i]), S16(pair_products(weights.h[i], x.h[i])))));
}
INLINE vi vi_dot_first(vi weights, vi x)
{
    ALL_FOUR(vi, pair_products(weights.h[i], x.h[i]));
}
INLINE vi vi_widen(vi partial)
{
    ALL_FOUR(vi, vpaddlq_s16(S16(partial.h[i])));
}
INLINE vi vi_scaled(vi partial, vi scale_pair)
{
    return vi_madd16(partial, scale_pair);
}
#endif
INLINE vi vi_dot16(vi sum, vi a, vi b)
{
    return vi_add32(sum, vi_madd16(a, b));
}
INLINE vi vi_keep(vi sum)
{
    return sum;
}
INLINE vi vi_accumulate(vi sum, vi more)
{
    return vi_add32(sum, more);
}
/* There are products of signed bytes: no sign has to move from weights to activations. */
INLINE vi vi_magnitude(vi weights)
{
    return weights;
}
INLINE vi vi_with_sign(vi x, vi weights)
{
    (void)weights;
    return x;
}
INLINE vi vi_sign_mask(vi weights)
{
    (void)weights;
    return vi_zero();
}

/* ---- floats ---------------------------------------------------------------------------------- */

INLINE vf vf_load(const void *p)
{
    const uint8_t *bytes = p;
    ALL_FOUR(vf, vreinterpretq_f32_u8(vld1q_u8(bytes + 16 * i)));
}
INLINE void vf_store(float *p, vf a)
{
    UNROLL for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, a.h[i]);
}
INLINE vf vf_zero(void)
{
    ALL_FOUR(vf, vdupq_n_f32(0.0f));
}
INLINE vf vf_set(float value)
{
    ALL_FOUR(vf, vdupq_n_f32(value));
}
INLINE vf vf_broadcast(const void *p)
{
    float value;
    memcpy(&value, p, sizeof(value));
    return vf_set(value);
}
INLINE float32x4_t four_halves(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}
INLINE vf vf_load_f16(const void *p)
{
    const uint8_t *bytes = p;
    ALL_FOUR(vf, four_halves(bytes + 8 * i));
}
INLINE vf vf_negate(vf a)
{
    ALL_FOUR(vf, vnegq_f32(a.h[i]));
}
INLINE vf vf_multiply(vf a, vf b)
{
    ALL_FOUR(vf, vmulq_f32(a.h[i], b.h[i]));
}
INLINE vf vf_fma(vf a, vf b, vf c)
{
    ALL_FOUR(vf, vfmaq_f32(c.h[i], a.h[i], b.h[i]));
}
INLINE vf vf_from_int(vi a)
{
    ALL_FOUR(vf, vcvtq_f32_s32(a.h[i]));
}
#define VF_PARTS      4
#define VF_PART_LANES 4
typedef float32x4_t vf_part;
INLINE vf_part vf_part_load(const void *p)
{
    return vreinterpretq_f32_u8(vld1q_u8(p));
}
INLINE void vf_part_store(float *p, vf_part a)
{
    vst1q_f32(p, a);
}
INLINE vf_part vf_part_load_f16(const void *p)
{
    return four_halves(p);
}
INLINE vf_part vf_part_load_bf16(const void *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}
INLINE void vf_e4m3_widen(const uint8_t *numbers, float scale, vf_part *out)
{
    UNROLL for (int i = 0; i < 16; i += 2)
    {
        int16x8_t bits = vreinterpretq_s16_u16(vshll_n_u8(vld1_u8(numbers + i * 4), 8));
        bits = vandq_s16(vshrq_n_s16(bits, 1), vdupq_n_s16((int16_t)0xbfff));
        float16x8_t halves = vreinterpretq_f16_s16(bits);
        out[i] = vmulq_n_f32(vcvt_f32_f16(vget_low_f16(halves)), scale);
        out[i + 1] = vmulq_n_f32(vcvt_f32_f16(vget_high_f16(halves)), scale);
    }
}
typedef vf vf_levels;
INLINE vf_levels vf_levels_load(const float *levels)
{
    return vf_load(levels);
}
/* Bytes 4c .. 4c + 3 of the levels, times the scale, for each code c. */
INLINE void vf_levels_widen(const vf_levels *levels, const uint8_t *codes, float scale,
                            vf_part *out)
{
    vf scaled = vf_multiply(*levels, vf_set(scale));
    uint8x16x4_t bytes;
    UNROLL for (int i = 0; i < 4; i++) bytes.val[i] = vreinterpretq_u8_f32(scaled.h[i]);
    UNROLL for (int i = 0; i < 16; i++)
    {
        uint32x4_t words = vreinterpretq_u32_u8(vld1q_u8(codes + i % 2 * 16));
        words = vandq_u32(vshlq_u32(words, vdupq_n_s32(-(i / 2 * 4))), vdupq_n_u32(15));
        words = vmlaq_n_u32(vdupq_n_u32(0x03020100), words, 0x04040404);
        out[i] = vreinterpretq_f32_u8(vqtbl4q_u8(bytes, vreinterpretq_u8_u32(words)));
    }
}
INLINE vf_part vf_part_zero(void)
{
    return vdupq_n_f32(0.0f);
}
INLINE void vf_part_multiply_add(vf_part *sum, vf_part a, vf_part b)
{
    *sum = vfmaq_f32(*sum, a, b);
}
INLINE float vf_sum(vf a)
{
    float32x4_t low = vaddq_f32(a.h[0], a.h[2]), high = vaddq_f32(a.h[1], a.h[3]);
    float32x4_t four = vaddq_f32(low, high);
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

INLINE vf vf_sum_16(const float *sums)
{
    float totals[16];
    for (int i = 0; i < 16; i++)
        totals[i] = vf_sum(vf_load(sums + i * 16));
    return vf_load(totals);
}

/* ---- quantizing activations ------------------------------------------------------------------ */

INLINE vi vi_load_magnitude_bits(const float *p)
{
    const int32x4_t mask = vdupq_n_s32(0x7fffffff);
    vi a = vi_load(p);
    ALL_FOUR(vi, vandq_s32(a.h[i], mask));
}
INLINE vi vi_max_unsigned(vi a, vi b)
{
    ALL_FOUR(vi, vreinterpretq_s32_u32(vmaxq_u32(U32(a.h[i]), U32(b.h[i]))));
}
INLINE uint32_t vi_largest(vi a)
{
    uint32x4_t low = vmaxq_u32(U32(a.h[0]), U32(a.h[1]));
    uint32x4_t high = vmaxq_u32(U32(a.h[2]), U32(a.h[3]));
    return vmaxvq_u32(vmaxq_u32(low, high));
}
INLINE int16x8_t eight_rounded(float32x4_t low, float32x4_t high)
{
    return vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(low)), vqmovn_s32(vcvtnq_s32_f32(high)));
}
INLINE int16_t vf_store_rounded(int8_t *p, vf a)
{
    int16x8_t low = eight_rounded(a.h[0], a.h[1]), high = eight_rounded(a.h[2], a.h[3]);
    vst1q_s8(p, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
    return (int16_t)vaddvq_s16(vaddq_s16(low, high));
}

/* ---- packing file rows into lanes ------------------------------------------------------------ */

INLINE void vi_transpose_words(const uint8_t *rows, size_t row_stride, uint8_t *out)
{
    UNROLL for (size_t quarter = 0; quarter < 4; quarter++)
    {
        const uint8_t *from = rows + quarter * 4 * row_stride;
        uint32x4_t row[4];
        UNROLL for (size_t i = 0; i < 4; i++) row[i] =
            vreinterpretq_u32_u8(vld1q_u8(from + i * row_stride));
        uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(row[0], row[1]));
        uint64x2_t b = vreinterpretq_u64_u32(vtrn2q_u32(row[0], row[1]));
        uint64x2_t c = vreinterpretq_u64_u32(vtrn1q_u32(row[2], row[3]));
        uint64x2_t d = vreinterpretq_u64_u32(vtrn2q_u32(row[2], row[3]));
        uint8_t *to = out + quarter * 16;
        vst1q_u8(to, vreinterpretq_u8_u64(vtrn1q_u64(a, c)));
        vst1q_u8(to + 64, vreinterpretq_u8_u64(vtrn1q_u64(b, d)));
        vst1q_u8(to + 128, vreinterpretq_u8_u64(vtrn2q_u64(a, c)));
        vst1q_u8(to + 192, vreinterpretq_u8_u64(vtrn2q_u64(b, d)));
    }
}

#endif

/* Vectors of 32-bit integers for attention to keys and values in Q8_0 and Q4_0, for each
 * instruction set. All sums are exact, so the bits do not depend on the set. Included by
 * attend_integers.h alone.
 *
 * A lane of `key_bytes` is four dimensions of one key, a lane of `query_bytes` the same of the
 * query; a lane of key pairs is two keys' values in one dimension, as 16-bit integers.
 *
 * KEY_OFFSET: what integer_dot() takes bytes of Q8_0 to be above their value: VNNI multiplies
 * unsigned by signed bytes, others take the 128 off when they load. */
#ifndef RAD_LAYER_INTEGERS_H
#define RAD_LAYER_INTEGERS_H

#include "kernels/cpu/layer_vector.h"

#if defined(RAD_LAYER_AVX512) && !defined(RAD_LAYER_EMULATED)

#define INTEGER_WIDTH 16
typedef __m512i integers;
#define INTEGER(name)      _mm512_##name
#define integers_load(p)   _mm512_loadu_si512(p)
#define integers_and(a, b) _mm512_and_si512(a, b)
#define integers_xor(a, b) _mm512_xor_si512(a, b)
#define integers_zero()    _mm512_setzero_si512()
#define load_pair_bytes(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#if defined(RAD_LAYER_VNNI)
#define dot_bytes(sum, a, b) _mm512_dpbusd_epi32(sum, a, b)
#define dot_words(sum, a, b) _mm512_dpwssd_epi32(sum, a, b)
#endif

#elif defined(RAD_LAYER_AVX2)

#define INTEGER_WIDTH      8
typedef __m256i integers;
#define INTEGER(name)      _mm256_##name
#define integers_load(p)   _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define integers_and(a, b) _mm256_and_si256(a, b)
#define integers_xor(a, b) _mm256_xor_si256(a, b)
#define integers_zero()    _mm256_setzero_si256()
#define load_pair_bytes(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#if defined(RAD_LAYER_VNNI)
#define dot_bytes(sum, a, b) _mm256_dpbusd_avx_epi32(sum, a, b)
#define dot_words(sum, a, b) _mm256_dpwssd_avx_epi32(sum, a, b)
#elif defined(RAD_LAYER_EVEX_VNNI)
#define dot_bytes(sum, a, b) _mm256_dpbusd_epi32(sum, a, b)
#define dot_words(sum, a, b) _mm256_dpwssd_epi32(sum, a, b)
#endif

#endif

#if defined(INTEGER_WIDTH) /* of x86 */

/* gcc keeps a sum that a loop carries in two registers and copies it around, until it has too few.
 * An empty statement that claims to change the sum holds it in one. */
#if defined(__clang__)
#define KEEP_IN_PLACE(vector)
#else
#define KEEP_IN_PLACE(vector) __asm__("" : "+v"(vector))
#endif

#define integers_to_floats(a) INTEGER(cvtepi32_ps)(a)
#define integers_set(x)       INTEGER(set1_epi32)(x)

ALWAYS_INLINE integers integers_broadcast(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return integers_set(word);
}

#if defined(dot_bytes)
#define KEY_OFFSET 128
typedef integers key_bytes;
typedef integers query_bytes;
#define load_keys(p)      integers_load(p)
#define split_keys(bytes) (bytes)
#define load_query(p)     integers_broadcast(p)

ALWAYS_INLINE integers integer_dot(integers sum, key_bytes keys, query_bytes query)
{
    sum = dot_bytes(sum, keys, query);
    KEEP_IN_PLACE(sum);
    return sum;
}
#else
/* Bytes as words, the even ones and the odd ones: no sum of two products needs more than the 32
 * bits that the multiplication gives. */
#define KEY_OFFSET 0
typedef struct byte_halves {
    integers even, odd;
} byte_halves;
typedef byte_halves key_bytes;
typedef byte_halves query_bytes;

ALWAYS_INLINE byte_halves split_keys(integers bytes)
{
    return (byte_halves){INTEGER(srai_epi16)(INTEGER(slli_epi16)(bytes, 8), 8),
                         INTEGER(srai_epi16)(bytes, 8)};
}

ALWAYS_INLINE key_bytes load_keys(const void *p)
{
    return split_keys(integers_xor(integers_load(p), INTEGER(set1_epi8)(-128)));
}

#define load_query(p) split_keys(integers_broadcast(p))

ALWAYS_INLINE integers integer_dot(integers sum, key_bytes keys, query_bytes query)
{
    integers even = INTEGER(madd_epi16)(keys.even, query.even);
    integers odd = INTEGER(madd_epi16)(keys.odd, query.odd);
    return INTEGER(add_epi32)(sum, INTEGER(add_epi32)(even, odd));
}

#define dot_words(sum, a, b) INTEGER(add_epi32)(sum, INTEGER(madd_epi16)(a, b))
#endif

/* The low or high halves of bytes, 0 to 15. */
ALWAYS_INLINE key_bytes load_nibble_keys(const void *p, bool high)
{
    integers raw = integers_load(p);
    raw = high ? INTEGER(srli_epi16)(raw, 4) : raw;
    return split_keys(integers_and(raw, INTEGER(set1_epi8)(15)));
}

ALWAYS_INLINE integers load_pairs(const uint8_t *p)
{
    return INTEGER(cvtepi8_epi16)(load_pair_bytes(p));
}

ALWAYS_INLINE integers load_nibble_pairs(const uint8_t *p, bool high)
{
    integers raw = INTEGER(cvtepu8_epi16)(load_pair_bytes(p));
    raw = high ? INTEGER(srli_epi16)(raw, 4) : integers_and(raw, INTEGER(set1_epi16)(15));
    return INTEGER(sub_epi16)(raw, INTEGER(set1_epi16)(8));
}

typedef integers pair_weights;
#define load_weights(p) integers_broadcast(p)

ALWAYS_INLINE integers pair_dot(integers sum, pair_weights weights, integers values)
{
    sum = dot_words(sum, weights, values);
    KEEP_IN_PLACE(sum);
    return sum;
}

#elif defined(RAD_LAYER_NEON)

#define INTEGER_WIDTH         4
#define KEY_OFFSET            0
typedef int32x4_t integers;
typedef int8x16_t key_bytes;
typedef int8x16_t query_bytes;
typedef int16x8_t pair_weights;
typedef int16x8_t value_pairs;
#define integers_zero()       vdupq_n_s32(0)
#define integers_set(x)       vdupq_n_s32(x)
#define integers_to_floats(a) vcvtq_f32_s32(a)

ALWAYS_INLINE key_bytes load_keys(const void *p)
{
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(128)));
}

ALWAYS_INLINE key_bytes load_nibble_keys(const void *p, bool high)
{
    uint8x16_t raw = vld1q_u8(p);
    return vreinterpretq_s8_u8(high ? vshrq_n_u8(raw, 4) : vandq_u8(raw, vdupq_n_u8(15)));
}

ALWAYS_INLINE query_bytes load_query(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

ALWAYS_INLINE integers integer_dot(integers sum, key_bytes keys, query_bytes query)
{
#if defined(RAD_LAYER_DOTPROD)
    return vdotq_s32(sum, keys, query);
#else
    int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(keys), vget_low_s8(query)));
    int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(keys), vget_high_s8(query)));
    return vaddq_s32(sum, vpaddq_s32(low, high));
#endif
}

ALWAYS_INLINE value_pairs load_pairs(const uint8_t *p)
{
    return vmovl_s8(vreinterpret_s8_u8(vld1_u8(p)));
}

ALWAYS_INLINE value_pairs load_nibble_pairs(const uint8_t *p, bool high)
{
    uint8x8_t raw = vld1_u8(p);
    raw = high ? vshr_n_u8(raw, 4) : vand_u8(raw, vdup_n_u8(15));
    return vsubq_s16(vreinterpretq_s16_u16(vmovl_u8(raw)), vdupq_n_s16(8));
}

ALWAYS_INLINE pair_weights load_weights(const int16_t *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return vreinterpretq_s16_s32(vdupq_n_s32(word));
}

ALWAYS_INLINE integers pair_dot(integers sum, pair_weights weights, value_pairs values)
{
    int32x4_t low = vmull_s16(vget_low_s16(weights), vget_low_s16(values));
    int32x4_t high = vmull_s16(vget_high_s16(weights), vget_high_s16(values));
    return vaddq_s32(sum, vpaddq_s32(low, high));
}

#else

/* Plain C: as many lanes as the vector of floats has. Where those are many, for the tests, calls:
 * inlined and unrolled they would take a compiler minutes. */
#if defined(RAD_LAYER_EMULATED)
#define PLAIN static __attribute__((noinline))
#else
#define PLAIN ALWAYS_INLINE
#endif
#define INTEGER_WIDTH   VECTOR_WIDTH
#define KEY_OFFSET      0
typedef struct integers {
    int32_t lanes[INTEGER_WIDTH];
} integers;
typedef struct key_bytes {
    int8_t bytes[4 * INTEGER_WIDTH];
} key_bytes;
typedef struct query_bytes {
    int8_t bytes[4];
} query_bytes;
typedef struct value_pairs {
    int16_t words[2 * INTEGER_WIDTH];
} value_pairs;
typedef struct pair_weights {
    int16_t words[2];
} pair_weights;

PLAIN integers integers_set(int32_t x)
{
    integers a;
    for (int i = 0; i < INTEGER_WIDTH; i++)
        a.lanes[i] = x;
    return a;
}
#define integers_zero() integers_set(0)

PLAIN vector integers_to_floats(integers a)
{
    float values[INTEGER_WIDTH];
    for (int i = 0; i < INTEGER_WIDTH; i++)
        values[i] = (float)a.lanes[i];
    return vector_load(values);
}

PLAIN key_bytes load_keys(const uint8_t *p)
{
    key_bytes keys;
    for (int i = 0; i < 4 * INTEGER_WIDTH; i++)
        keys.bytes[i] = (int8_t)(p[i] - 128);
    return keys;
}

PLAIN key_bytes load_nibble_keys(const uint8_t *p, bool high)
{
    key_bytes keys;
    for (int i = 0; i < 4 * INTEGER_WIDTH; i++)
        keys.bytes[i] = (int8_t)(high ? p[i] >> 4 : p[i] & 15);
    return keys;
}

PLAIN query_bytes load_query(const int8_t *p)
{
    return (query_bytes){{p[0], p[1], p[2], p[3]}};
}

PLAIN integers integer_dot(integers sum, key_bytes keys, query_bytes query)
{
    for (int i = 0; i < INTEGER_WIDTH; i++) {
        for (int j = 0; j < 4; j++)
            sum.lanes[i] += keys.bytes[4 * i + j] * query.bytes[j];
    }
    return sum;
}

PLAIN value_pairs load_pairs(const uint8_t *p)
{
    value_pairs pairs;
    for (int i = 0; i < 2 * INTEGER_WIDTH; i++)
        pairs.words[i] = (int8_t)p[i];
    return pairs;
}

PLAIN value_pairs load_nibble_pairs(const uint8_t *p, bool high)
{
    value_pairs pairs;
    for (int i = 0; i < 2 * INTEGER_WIDTH; i++)
        pairs.words[i] = (int16_t)((high ? p[i] >> 4 : p[i] & 15) - 8);
    return pairs;
}

PLAIN pair_weights load_weights(const int16_t *p)
{
    return (pair_weights){{p[0], p[1]}};
}

PLAIN integers pair_dot(integers sum, pair_weights weights, value_pairs values)
{
    for (int i = 0; i < INTEGER_WIDTH; i++)
        sum.lanes[i] +=
            weights.words[0] * values.words[2 * i] + weights.words[1] * values.words[2 * i + 1];
    return sum;
}

#endif

#if defined(RAD_LAYER_AVX2) || (defined(RAD_LAYER_AVX512) && !defined(RAD_LAYER_EMULATED))
typedef integers value_pairs;
#endif

#endif

/* Vectors of 16 lanes on AVX2: two registers side by side. The templates beside this file are
 * written in these operations alone; vector_avx512.h has the same ones. */
#ifndef RAD_VECTOR_AVX2_H
#define RAD_VECTOR_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/x86/inline.h"

/* Partial sums of products are int16 pairs, which hold 8 groups of 4-bit quants, 4 of 5-bit and 2
 * of 6-bit ones. Where WIDE_DOT is 1 they are int32. */
#ifndef WIDE_DOT
#define WIDE_DOT 0
#endif
/* Whether weights of 8 bits keep their sign: VNNI wants them unsigned, with an offset. */
#define SIGNED_BYTES (!WIDE_DOT)
/* Most tokens that are multiplied straight from the lanes; groups of 16 rows that share the
 * activations of a tile; tokens of a tile that are multiplied at a time, and where two sets of
 * integer sums are needed. Two registers for each 16 sums, of 16 in all. */
#define DIRECT_TOKENS     4
#define PANEL_GROUPS      1
#define PANEL_TOKENS      4
#define PANEL_TOKENS_TWO  2
#define SUMS_IN_REGISTERS 0 /* float sums while the blocks of a chunk pass */
#define FETCH_FROM        1 /* tokens from which on lanes are asked for ahead */

typedef struct vi {
    __m256i h[2];
} vi;

typedef struct vf {
    __m256 h[2];
} vf;

#define BOTH(type, expression)                                                                     \
    type r;                                                                                        \
    {                                                                                              \
        const int i = 0;                                                                           \
        r.h[0] = expression;                                                                       \
    }                                                                                              \
    {                                                                                              \
        const int i = 1;                                                                           \
        r.h[1] = expression;                                                                       \
    }                                                                                              \
    return r

INLINE vi vi_zero(void)
{
    return (vi){{_mm256_setzero_si256(), _mm256_setzero_si256()}};
}
INLINE vi vi_load(const void *p)
{
    const uint8_t *bytes = p;
    return (vi){
        {_mm256_loadu_si256((const void *)bytes), _mm256_loadu_si256((const void *)(bytes + 32))}};
}
/* Sixteen bytes, and sixteen halves of words, as int32. */
INLINE vi vi_load_bytes(const uint8_t *p)
{
    BOTH(vi, _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(p + 8 * i))));
}
INLINE vi vi_load_words(const uint8_t *p)
{
    BOTH(vi, _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p + 16 * i))));
}
INLINE void vi_store(void *p, vi a)
{
    uint8_t *bytes = p;
    _mm256_storeu_si256((void *)bytes, a.h[0]);
    _mm256_storeu_si256((void *)(bytes + 32), a.h[1]);
}
INLINE vi vi_set8(int value)
{
    __m256i v = _mm256_set1_epi8((char)value);
    return (vi){{v, v}};
}
INLINE vi vi_set32(int value)
{
    __m256i v = _mm256_set1_epi32(value);
    return (vi){{v, v}};
}
INLINE vi vi_set16(int value)
{
    __m256i v = _mm256_set1_epi16((short)value);
    return (vi){{v, v}};
}
/* Four bytes from any address, in every lane. */
INLINE vi vi_broadcast32(const void *p)
{
    int32_t value;
    memcpy(&value, p, sizeof(value));
    __m256i v = _mm256_set1_epi32(value);
    return (vi){{v, v}};
}
INLINE vi vi_and(vi a, vi b)
{
    BOTH(vi, _mm256_and_si256(a.h[i], b.h[i]));
}
INLINE vi vi_or(vi a, vi b)
{
    BOTH(vi, _mm256_or_si256(a.h[i], b.h[i]));
}
INLINE vi vi_xor(vi a, vi b)
{
    BOTH(vi, _mm256_xor_si256(a.h[i], b.h[i]));
}
/* Entries of a table of 16 bytes; the indexes are below 16. */
INLINE vi vi_lookup16(const int8_t *table, vi index)
{
    __m256i entries = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table));
    BOTH(vi, _mm256_shuffle_epi8(entries, index.h[i]));
}
INLINE vi vi_add8(vi a, vi b)
{
    BOTH(vi, _mm256_add_epi8(a.h[i], b.h[i]));
}
/* a + more, held to 255, in the bytes whose quant has that bit. */
INLINE vi vi_add_where(vi a, vi quants, int bit, vi more)
{
    const __m256i bits = _mm256_set1_epi8((char)bit);
    BOTH(vi,
         _mm256_adds_epu8(
             a.h[i], _mm256_and_si256(
                         more.h[i], _mm256_cmpeq_epi8(_mm256_and_si256(quants.h[i], bits), bits))));
}
INLINE vi vi_multiply32(vi a, vi b)
{
    BOTH(vi, _mm256_mullo_epi32(a.h[i], b.h[i]));
}
INLINE vi vi_add16(vi a, vi b)
{
    BOTH(vi, _mm256_add_epi16(a.h[i], b.h[i]));
}
INLINE vi vi_add32(vi a, vi b)
{
    BOTH(vi, _mm256_add_epi32(a.h[i], b.h[i]));
}
INLINE vi vi_sub32(vi a, vi b)
{
    BOTH(vi, _mm256_sub_epi32(a.h[i], b.h[i]));
}
/* Shifts of 32-bit lanes by a count that need not be constant; bits cross bytes. */
INLINE vi vi_shift_right(vi a, int count)
{
    __m128i n = _mm_cvtsi32_si128(count);
    BOTH(vi, _mm256_srl_epi32(a.h[i], n));
}
INLINE vi vi_shift_left(vi a, int count)
{
    __m128i n = _mm_cvtsi32_si128(count);
    BOTH(vi, _mm256_sll_epi32(a.h[i], n));
}
INLINE vi vi_shift_right_4(vi a)
{
    BOTH(vi, _mm256_srli_epi32(a.h[i], 4));
}
/* Int16 lanes: arithmetic shift that leaves the upper byte, signed. */
INLINE vi vi_upper_byte(vi a)
{
    BOTH(vi, _mm256_srai_epi16(a.h[i], 8));
}
/* Within each 32-bit lane, byte k of the result is byte (pattern >> 8k) & 3 of a, or zero where the
 * pattern's byte is 0x80. */
INLINE vi vi_shuffle(vi a, uint32_t pattern)
{
    const __m256i lanes = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404,
                                            0x08080808, 0x0c0c0c0c);
    __m256i control = _mm256_or_si256(lanes, _mm256_set1_epi32((int32_t)pattern));
    BOTH(vi, _mm256_shuffle_epi8(a.h[i], control));
}
/* Pairs of int16 products added into int32. */
INLINE vi vi_madd16(vi a, vi b)
{
    BOTH(vi, _mm256_madd_epi16(a.h[i], b.h[i]));
}

INLINE vi vi_multiply16(vi a, vi b)
{
    BOTH(vi, _mm256_mullo_epi16(a.h[i], b.h[i]));
}
/* The first of each int16 pair, with its sign, as int32. */
INLINE vi vi_first_of_pair(vi a)
{
    const __m256i first = _mm256_set1_epi32(1);
    BOTH(vi, _mm256_madd_epi16(a.h[i], first));
}

/* Sixteen int16 sums to the eight sums of neighbours. */
INLINE void vi_pair_sums(const int16_t *sums, int16_t *pairs)
{
    _mm_storeu_si128((void *)pairs, _mm_hadd_epi16(_mm_loadu_si128((const void *)sums),
                                                   _mm_loadu_si128((const void *)(sums + 8))));
}

/* ---- sums of products of bytes --------------------------------------------------------------- */

/* Adds four products of unsigned weights and signed activations per 32-bit lane to a partial sum;
 * the first of a chain; a partial sum as int32, and times a scale. */
#if WIDE_DOT
INLINE vi vi_dot(vi partial, vi weights, vi x)
{
    BOTH(vi, DOT_BYTES(partial.h[i], weights.h[i], x.h[i]));
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
    BOTH(vi, _mm256_mullo_epi32(partial.h[i], scale.h[i]));
}
INLINE vi vi_dot16(vi sum, vi a, vi b)
{
    BOTH(vi, DOT_WORDS(sum.h[i], a.h[i], b.h[i]));
}
#else
/* The partial sum is kept in int16 pairs, and so is the scale that multiplies it. */
INLINE vi vi_dot(vi partial, vi weights, vi x)
{
    vi r = vi_add16(partial, (vi){{_mm256_maddubs_epi16(weights.h[0], x.h[0]),
                                   _mm256_maddubs_epi16(weights.h[1], x.h[1])}});
    KEEP_IN_PLACE(r.h[0]);
    KEEP_IN_PLACE(r.h[1]);
    return r;
}
INLINE vi vi_dot_first(vi weights, vi x)
{
    BOTH(vi, _mm256_maddubs_epi16(weights.h[i], x.h[i]));
}
INLINE vi vi_widen(vi partial)
{
    const __m256i ones = _mm256_set1_epi16(1);
    BOTH(vi, _mm256_madd_epi16(partial.h[i], ones));
}
INLINE vi vi_scaled(vi partial, vi scale_pair)
{
    return vi_madd16(partial, scale_pair);
}
INLINE vi vi_dot16(vi sum, vi a, vi b)
{
    return vi_add32(sum, vi_madd16(a, b));
}
#endif
/* A sum that a loop carries stays in one register. */
INLINE vi vi_keep(vi sum)
{
    KEEP_IN_PLACE(sum.h[0]);
    KEEP_IN_PLACE(sum.h[1]);
    return sum;
}
INLINE vi vi_accumulate(vi sum, vi more)
{
    return vi_keep(vi_add32(sum, more));
}
/* Signed weights: the sign moves to the activation, so a pair is at most 2 * 128 * 127 = 32512. */
INLINE vi vi_magnitude(vi weights)
{
    BOTH(vi, _mm256_abs_epi8(weights.h[i]));
}
INLINE vi vi_with_sign(vi x, vi weights)
{
    BOTH(vi, _mm256_sign_epi8(x.h[i], weights.h[i]));
}
/* All bits of a byte where it is negative. */
INLINE vi vi_sign_mask(vi weights)
{
    const __m256i zero = _mm256_setzero_si256();
    BOTH(vi, _mm256_cmpgt_epi8(zero, weights.h[i]));
}

/* ---- floats ---------------------------------------------------------------------------------- */

/* Sixteen floats from any address. */
INLINE vf vf_load(const void *p)
{
    const uint8_t *bytes = p;
    return (vf){
        {_mm256_loadu_ps((const void *)bytes), _mm256_loadu_ps((const void *)(bytes + 32))}};
}
INLINE void vf_store(float *p, vf a)
{
    _mm256_storeu_ps(p, a.h[0]);
    _mm256_storeu_ps(p + 8, a.h[1]);
}
INLINE vf vf_zero(void)
{
    return (vf){{_mm256_setzero_ps(), _mm256_setzero_ps()}};
}
INLINE vf vf_set(float value)
{
    __m256 v = _mm256_set1_ps(value);
    return (vf){{v, v}};
}
/* A float from any address, in every lane. */
INLINE vf vf_broadcast(const void *p)
{
    float value;
    memcpy(&value, p, sizeof(value));
    return vf_set(value);
}
/* Sixteen F16 numbers. */
INLINE vf vf_load_f16(const void *p)
{
    const uint8_t *bytes = p;
    return (vf){{_mm256_cvtph_ps(_mm_loadu_si128((const void *)bytes)),
                 _mm256_cvtph_ps(_mm_loadu_si128((const void *)(bytes + 16)))}};
}
INLINE vf vf_negate(vf a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    BOTH(vf, _mm256_xor_ps(a.h[i], sign));
}
INLINE vf vf_multiply(vf a, vf b)
{
    BOTH(vf, _mm256_mul_ps(a.h[i], b.h[i]));
}
INLINE vf vf_fma(vf a, vf b, vf c)
{
    BOTH(vf, _mm256_fmadd_ps(a.h[i], b.h[i], c.h[i]));
}
INLINE vf vf_from_int(vi a)
{
    BOTH(vf, _mm256_cvtepi32_ps(a.h[i]));
}
/* One register at a time, for tiles that leave none to spare. */
#define VF_PARTS      2
#define VF_PART_LANES 8
typedef __m256 vf_part;
INLINE vf_part vf_part_load(const void *p)
{
    return _mm256_loadu_ps(p);
}
INLINE void vf_part_store(float *p, vf_part a)
{
    _mm256_storeu_ps(p, a);
}
INLINE vf_part vf_part_load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}
INLINE vf_part vf_part_load_bf16(const void *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
/* The 64 numbers of a block in E4M3 times the scale, which is 2^8 times that of the weights: as F16
 * they are 2^8 times as small. One shuffle puts sixteen of them into the upper bytes of words. */
INLINE void vf_e4m3_widen(const uint8_t *numbers, float scale, vf_part *out)
{
    const __m256i upper =
        _mm256_setr_epi8(-1, 0, -1, 1, -1, 2, -1, 3, -1, 4, -1, 5, -1, 6, -1, 7, -1, 8, -1, 9, -1,
                         10, -1, 11, -1, 12, -1, 13, -1, 14, -1, 15);
    const __m256 factor = _mm256_set1_ps(scale);
    UNROLL for (int i = 0; i < 8; i += 2)
    {
        __m128i bytes = _mm_loadu_si128((const void *)(numbers + i * 8));
        __m256i bits = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), upper);
        bits = _mm256_and_si256(_mm256_srai_epi16(bits, 1), _mm256_set1_epi16((short)0xbfff));
        out[i] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(bits)), factor);
        out[i + 1] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(bits, 1)), factor);
    }
}
/* Byte k of each of the sixteen levels, twice: no permutation of AVX2 chooses among more than eight
 * words, but a shuffle chooses among sixteen bytes. */
typedef struct vf_levels {
    __m256i bytes[4];
} vf_levels;
INLINE vf_levels vf_levels_load(const float *levels)
{
    uint8_t bytes[4][16], from[16][4];
    vf_levels r;
    memcpy(from, levels, sizeof from);
    for (int i = 0; i < 64; i++)
        bytes[i % 4][i / 4] = from[i / 4][i % 4];
    UNROLL for (int k = 0; k < 4; k++) r.bytes[k] =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)bytes[k]));
    return r;
}
/* Elements of every other 8 of a block: byte k of a word, or its nibble, is element k * 16 + word.
 */
INLINE void vf_levels_take(const vf_levels *levels, __m256i codes, __m256 scale, vf_part *out)
{
    __m256i byte[4];
    UNROLL for (int k = 0; k < 4; k++) byte[k] = _mm256_shuffle_epi8(levels->bytes[k], codes);
    __m256i low[2] = {_mm256_unpacklo_epi8(byte[0], byte[1]),
                      _mm256_unpackhi_epi8(byte[0], byte[1])};
    __m256i high[2] = {_mm256_unpacklo_epi8(byte[2], byte[3]),
                       _mm256_unpackhi_epi8(byte[2], byte[3])};
    UNROLL for (int i = 0; i < 2; i++)
    {
        __m256i first = _mm256_unpacklo_epi16(low[i], high[i]);
        __m256i second = _mm256_unpackhi_epi16(low[i], high[i]);
        out[4 * i] = _mm256_mul_ps(_mm256_castsi256_ps(first), scale);
        out[4 * i + 2] = _mm256_mul_ps(_mm256_castsi256_ps(second), scale);
    }
}
INLINE void vf_levels_widen(const vf_levels *levels, const uint8_t *codes, float scale,
                            vf_part *out)
{
    const __m256i by_byte = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m256i four = _mm256_set1_epi8(15);
    __m256i words = _mm256_shuffle_epi8(_mm256_loadu_si256((const void *)codes), by_byte);
    __m256 factor = _mm256_set1_ps(scale);
    vf_levels_take(levels, _mm256_and_si256(words, four), factor, out);
    vf_levels_take(levels, _mm256_and_si256(_mm256_srli_epi16(words, 4), four), factor, out + 1);
}
INLINE vf_part vf_part_zero(void)
{
    return _mm256_setzero_ps();
}
INLINE void vf_part_multiply_add(vf_part *sum, vf_part a, vf_part b)
{
    *sum = _mm256_fmadd_ps(a, b, *sum);
    KEEP_IN_PLACE(*sum);
}
/* The canonical tree: lanes j and j + 8, then 4, 2, 1. */
INLINE float vf_sum(vf a)
{
    __m256 eight = _mm256_add_ps(a.h[0], a.h[1]);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* The canonical trees of sixteen sums of 16 lanes, one after the other in memory, eight at a time:
 * four lanes of two sums side by side, two of four, one of eight. */
INLINE __m256 quarter_two(const float *a, const float *b)
{
    __m256 x = _mm256_add_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(a + 8));
    __m256 y = _mm256_add_ps(_mm256_loadu_ps(b), _mm256_loadu_ps(b + 8));
    return _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
}
INLINE __m256 pairs_of_four(const float *sums)
{
    __m256d x = _mm256_castps_pd(quarter_two(sums, sums + 4 * 16));
    __m256d y = _mm256_castps_pd(quarter_two(sums + 16, sums + 5 * 16));
    return _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(x, y)),
                         _mm256_castpd_ps(_mm256_unpackhi_pd(x, y)));
}
INLINE __m256 sum_8(const float *sums)
{
    __m256 x = pairs_of_four(sums), y = pairs_of_four(sums + 2 * 16);
    return _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x88), _mm256_shuffle_ps(x, y, 0xdd));
}
INLINE vf vf_sum_16(const float *sums)
{
    return (vf){{sum_8(sums), sum_8(sums + 8 * 16)}};
}

/* ---- quantizing activations ------------------------------------------------------------------ */

/* Bits without the sign, the larger of unsigned lanes, the largest lane. */
INLINE vi vi_load_magnitude_bits(const float *p)
{
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    vi a = vi_load(p);
    BOTH(vi, _mm256_and_si256(a.h[i], mask));
}
INLINE vi vi_max_unsigned(vi a, vi b)
{
    BOTH(vi, _mm256_max_epu32(a.h[i], b.h[i]));
}
INLINE uint32_t vi_largest(vi a)
{
    __m256i eight = _mm256_max_epu32(a.h[0], a.h[1]);
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    __m128i two = _mm_max_epu32(four, _mm_unpackhi_epi64(four, four));
    __m128i one = _mm_max_epu32(two, _mm_shuffle_epi32(two, 1));
    return (uint32_t)_mm_cvtsi128_si32(one);
}
/* Rounds 16 values within int8 half to even, stores them as bytes and returns their sum. */
INLINE int16_t vf_store_rounded(int8_t *p, vf a)
{
    __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a.h[0]), _mm256_cvtps_epi32(a.h[1]));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128((void *)p, _mm_packs_epi16(low, high));
    __m128i sum = _mm_madd_epi16(_mm_add_epi16(low, high), _mm_set1_epi16(1));
    sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 1));
    return (int16_t)_mm_cvtsi128_si32(sum);
}

/* ---- packing file rows into lanes ------------------------------------------------------------ */

/* Four 32-bit words of each of 16 rows, row_stride bytes apart, to four lane vectors, 64 bytes
 * apart. */
INLINE void vi_transpose_words(const uint8_t *rows, size_t row_stride, uint8_t *out)
{
    for (int half = 0; half < 2; half++) {
        __m256i row[4];
        const uint8_t *from = rows + (size_t)half * 8 * row_stride;
        for (size_t i = 0; i < 4; i++) {
            __m128i low = _mm_loadu_si128((const void *)(from + i * row_stride));
            __m128i high = _mm_loadu_si128((const void *)(from + (i + 4) * row_stride));
            row[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
        }
        __m256i a = _mm256_unpacklo_epi32(row[0], row[1]);
        __m256i b = _mm256_unpacklo_epi32(row[2], row[3]);
        __m256i c = _mm256_unpackhi_epi32(row[0], row[1]);
        __m256i d = _mm256_unpackhi_epi32(row[2], row[3]);
        uint8_t *to = out + half * 32;
        _mm256_storeu_si256((void *)to, _mm256_unpacklo_epi64(a, b));
        _mm256_storeu_si256((void *)(to + 64), _mm256_unpackhi_epi64(a, b));
        _mm256_storeu_si256((void *)(to + 128), _mm256_unpacklo_epi64(c, d));
        _mm256_storeu_si256((void *)(to + 192), _mm256_unpackhi_epi64(c, d));
    }
}

#endif

/* Vectors of 16 lanes on AVX-512: one register. The same operations as vector_avx2.h, whose
 * comments hold here; WIDE_DOT chooses VNNI. RAD_EMULATED builds them on SIMDe, for tests on other
 * machines. */
#ifndef RAD_VECTOR_AVX512_H
#define RAD_VECTOR_AVX512_H

#include <stdint.h>
#include <string.h>

#if defined(RAD_EMULATED)
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#include <simde/x86/sse4.2.h>
#undef _mm512_madd_epi16 /* SIMDe 0.7.4 gives this alias four arguments */
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#include "kernels/cpu/x86/emulated.h"
#else
#include <immintrin.h>
#endif
#include "kernels/cpu/x86/inline.h"

#ifndef WIDE_DOT
#define WIDE_DOT 0
#endif
/* Whether weights of 8 bits keep their sign: VNNI wants them unsigned, with an offset. */
#define SIGNED_BYTES (!WIDE_DOT)
/* Two groups of rows share each activation: with 4 tokens that are 8 integer and 8 float sums (or 8
 * partial and 8 whole integer ones) of the 32 registers, and three loads for four products. */
#define DIRECT_TOKENS     8
#define PANEL_GROUPS      2
#define PANEL_TOKENS      4
#define PANEL_TOKENS_TWO  4
#define SUMS_IN_REGISTERS 1 /* float sums while the blocks of a chunk pass */
#define FETCH_FROM        2 /* tokens from which on lanes are asked for ahead */

typedef __m512i vi;
typedef __m512 vf;

INLINE vi vi_zero(void)
{
    return _mm512_setzero_si512();
}
INLINE vi vi_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
INLINE vi vi_load_bytes(const uint8_t *p)
{
    return _mm512_cvtepu16_epi32(_mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p)));
}
INLINE vi vi_load_words(const uint8_t *p)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
}
INLINE void vi_store(void *p, vi a)
{
    _mm512_storeu_si512(p, a);
}
INLINE vi vi_set8(int value)
{
    return _mm512_set1_epi8((char)value);
}
INLINE vi vi_set32(int value)
{
    return _mm512_set1_epi32(value);
}
INLINE vi vi_set16(int value)
{
    return _mm512_set1_epi16((short)value);
}
INLINE vi vi_broadcast32(const void *p)
{
    int32_t value;
    memcpy(&value, p, sizeof(value));
    return _mm512_set1_epi32(value);
}
INLINE vi vi_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}
INLINE vi vi_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}
INLINE vi vi_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}
/* Entries of a table of 16 bytes; the indexes are below 16. */
INLINE vi vi_lookup16(const int8_t *table, vi index)
{
    __m512i entries = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)table));
    return _mm512_shuffle_epi8(entries, index);
}
INLINE vi vi_add8(vi a, vi b)
{
    return _mm512_add_epi8(a, b);
}
/* a + more, held to 255, in the bytes whose quant has that bit. */
INLINE vi vi_add_where(vi a, vi quants, int bit, vi more)
{
    return _mm512_mask_adds_epu8(a, _mm512_test_epi8_mask(quants, _mm512_set1_epi8((char)bit)), a,
                                 more);
}
INLINE vi vi_multiply32(vi a, vi b)
{
    return _mm512_mullo_epi32(a, b);
}
INLINE vi vi_add16(vi a, vi b)
{
    return _mm512_add_epi16(a, b);
}
INLINE vi vi_add32(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
INLINE vi vi_sub32(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}
INLINE vi vi_shift_right(vi a, int count)
{
    return _mm512_srl_epi32(a, _mm_cvtsi32_si128(count));
}
INLINE vi vi_shift_left(vi a, int count)
{
    return _mm512_sll_epi32(a, _mm_cvtsi32_si128(count));
}
INLINE vi vi_shift_right_4(vi a)
{
    return _mm512_srli_epi32(a, 4);
}
INLINE vi vi_upper_byte(vi a)
{
    return _mm512_srai_epi16(a, 8);
}
INLINE vi vi_shuffle(vi a, uint32_t pattern)
{
    const vi lanes = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    return _mm512_shuffle_epi8(a, _mm512_or_si512(lanes, _mm512_set1_epi32((int32_t)pattern)));
}
INLINE vi vi_madd16(vi a, vi b)
{
    return _mm512_madd_epi16(a, b);
}
INLINE vi vi_multiply16(vi a, vi b)
{
    return _mm512_mullo_epi16(a, b);
}
INLINE vi vi_first_of_pair(vi a)
{
    return _mm512_madd_epi16(a, _mm512_set1_epi32(1));
}
INLINE void vi_pair_sums(const int16_t *sums, int16_t *pairs)
{
    _mm_storeu_si128((void *)pairs, _mm_hadd_epi16(_mm_loadu_si128((const void *)sums),
                                                   _mm_loadu_si128((const void *)(sums + 8))));
}

/* ---- sums of products of bytes --------------------------------------------------------------- */

#if WIDE_DOT
/* A partial sum is an int32 and never overflows. */
INLINE vi vi_dot(vi partial, vi weights, vi x)
{
    return _mm512_dpbusd_epi32(partial, weights, x);
}
INLINE vi vi_dot_first(vi weights, vi x)
{
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, x);
}
INLINE vi vi_widen(vi partial)
{
    return partial;
}
INLINE vi vi_scaled(vi partial, vi scale)
{
    return _mm512_mullo_epi32(partial, scale);
}
INLINE vi vi_dot16(vi sum, vi a, vi b)
{
    return _mm512_dpwssd_epi32(sum, a, b);
}
#else
INLINE vi vi_dot(vi partial, vi weights, vi x)
{
    vi r = _mm512_add_epi16(partial, _mm512_maddubs_epi16(weights, x));
    KEEP_IN_PLACE(r);
    return r;
}
INLINE vi vi_dot_first(vi weights, vi x)
{
    return _mm512_maddubs_epi16(weights, x);
}
INLINE vi vi_widen(vi partial)
{
    return _mm512_madd_epi16(partial, _mm512_set1_epi16(1));
}
INLINE vi vi_scaled(vi partial, vi scale_pair)
{
    return _mm512_madd_epi16(partial, scale_pair);
}
INLINE vi vi_dot16(vi sum, vi a, vi b)
{
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
}
#endif
/* A sum that a loop carries stays in one register. */
INLINE vi vi_keep(vi sum)
{
    KEEP_IN_PLACE(sum);
    return sum;
}
INLINE vi vi_accumulate(vi sum, vi more)
{
    return vi_keep(_mm512_add_epi32(sum, more));
}
INLINE vi vi_magnitude(vi weights)
{
    return _mm512_abs_epi8(weights);
}
/* There is no sign instruction: activations under negative weights are subtracted from zero. Where
 * the weight is zero the sign does not matter. */
INLINE vi vi_with_sign(vi x, vi weights)
{
    return _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(weights), _mm512_setzero_si512(), x);
}
INLINE vi vi_sign_mask(vi weights)
{
    return _mm512_movm_epi8(_mm512_movepi8_mask(weights));
}

/* ---- floats ---------------------------------------------------------------------------------- */

INLINE vf vf_load(const void *p)
{
    return _mm512_loadu_ps(p);
}
INLINE void vf_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}
INLINE vf vf_zero(void)
{
    return _mm512_setzero_ps();
}
INLINE vf vf_set(float value)
{
    return _mm512_set1_ps(value);
}
INLINE vf vf_broadcast(const void *p)
{
    float value;
    memcpy(&value, p, sizeof(value));
    return _mm512_set1_ps(value);
}
INLINE vf vf_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
INLINE vf vf_negate(vf a)
{
    return _mm512_castsi512_ps(
        _mm512_xor_si512(_mm512_castps_si512(a), _mm512_set1_epi32(INT32_MIN)));
}
INLINE vf vf_multiply(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
INLINE vf vf_from_int(vi a)
{
    return _mm512_cvtepi32_ps(a);
}
#define VF_PARTS      1
#define VF_PART_LANES 16
typedef __m512 vf_part;
INLINE vf_part vf_part_load(const void *p)
{
    return _mm512_loadu_ps(p);
}
INLINE void vf_part_store(float *p, vf_part a)
{
    _mm512_storeu_ps(p, a);
}
INLINE vf_part vf_part_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
INLINE vf_part vf_part_load_bf16(const void *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
INLINE void vf_e4m3_widen(const uint8_t *numbers, float scale, vf_part *out)
{
    UNROLL for (int i = 0; i < 4; i++)
    {
        __m128i bytes = _mm_loadu_si128((const void *)(numbers + i * 16));
        __m256i bits = _mm256_slli_epi16(_mm256_cvtepu8_epi16(bytes), 8);
        bits = _mm256_and_si256(_mm256_srai_epi16(bits, 1), _mm256_set1_epi16((short)0xbfff));
        out[i] = _mm512_mul_ps(_mm512_cvtph_ps(bits), _mm512_set1_ps(scale));
    }
}
/* Sixteen levels. */
typedef __m512 vf_levels;
INLINE vf_levels vf_levels_load(const float *levels)
{
    return _mm512_loadu_ps(levels);
}
/* The levels that the 64 codes of a block choose, laid as in quant/nf4.c, times the scale. The
 * permutation looks at four bits of each word. Multiplying the levels gives what multiplying each
 * of their 64 places would. */
INLINE void vf_levels_widen(const vf_levels *levels, const uint8_t *codes, float scale,
                            vf_part *out)
{
    const __m512 scaled = _mm512_mul_ps(*levels, _mm512_set1_ps(scale));
    const __m512i words = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)codes));
    UNROLL for (int i = 0; i < 4; i++)
    {
        __m512i shifts = _mm512_set_epi32(4, 4, 4, 4, 4, 4, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0);
        shifts = _mm512_add_epi32(shifts, _mm512_set1_epi32(8 * i));
        out[i] = _mm512_permutexvar_ps(_mm512_srlv_epi32(words, shifts), scaled);
    }
}
INLINE vf_part vf_part_zero(void)
{
    return _mm512_setzero_ps();
}
INLINE void vf_part_multiply_add(vf_part *sum, vf_part a, vf_part b)
{
    *sum = _mm512_fmadd_ps(a, b, *sum);
    KEEP_IN_PLACE(*sum);
}
INLINE float vf_sum(vf a)
{
    __m256 low = _mm512_castps512_ps256(a);
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
    __m256 eight = _mm256_add_ps(low, high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#if defined(RAD_EMULATED)
INLINE vf vf_sum_16(const float *sums)
{
    float totals[16];
    for (int i = 0; i < 16; i++)
        totals[i] = vf_sum(vf_load(sums + i * 16));
    return vf_load(totals);
}
#else
/* Lanes j + j + 8 of two sums side by side, then j + j + 4 of four, j + j + 2 of eight. */
INLINE vf halve_two(const float *a, const float *b)
{
    vf x = vf_load(a), y = vf_load(b);
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
}
INLINE vf quarter_four(const float *sums)
{
    vf x = halve_two(sums, sums + 4 * 16), y = halve_two(sums + 8 * 16, sums + 12 * 16);
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
}
INLINE vf pairs_of_eight(const float *a, const float *b)
{
    __m512d x = _mm512_castps_pd(quarter_four(a)), y = _mm512_castps_pd(quarter_four(b));
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
                         _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}
INLINE vf vf_sum_16(const float *sums)
{
    vf x = pairs_of_eight(sums, sums + 16), y = pairs_of_eight(sums + 2 * 16, sums + 3 * 16);
    return _mm512_add_ps(_mm512_shuffle_ps(x, y, 0x88), _mm512_shuffle_ps(x, y, 0xdd));
}
#endif

/* ---- quantizing activations ------------------------------------------------------------------ */

INLINE vi vi_load_magnitude_bits(const float *p)
{
    return _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(0x7fffffff));
}
INLINE vi vi_max_unsigned(vi a, vi b)
{
    return _mm512_max_epu32(a, b);
}
INLINE uint32_t vi_largest(vi a)
{
    __m256i eight = _mm256_max_epu32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    __m128i two = _mm_max_epu32(four, _mm_unpackhi_epi64(four, four));
    __m128i one = _mm_max_epu32(two, _mm_shuffle_epi32(two, 1));
    return (uint32_t)_mm_cvtsi128_si32(one);
}
INLINE int16_t vf_store_rounded(int8_t *p, vf a)
{
    __m256i words = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(a));
    __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128((void *)p, _mm_packs_epi16(low, high));
    __m128i sum = _mm_madd_epi16(_mm_add_epi16(low, high), _mm_set1_epi16(1));
    sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 1));
    return (int16_t)_mm_cvtsi128_si32(sum);
}

/* ---- packing file rows into lanes ------------------------------------------------------------ */

INLINE __m512i four_rows(const uint8_t *from, size_t stride)
{
    __m512i rows = _mm512_castsi128_si512(_mm_loadu_si128((const void *)from));
    rows = _mm512_inserti32x4(rows, _mm_loadu_si128((const void *)(from + 4 * stride)), 1);
    rows = _mm512_inserti32x4(rows, _mm_loadu_si128((const void *)(from + 8 * stride)), 2);
    return _mm512_inserti32x4(rows, _mm_loadu_si128((const void *)(from + 12 * stride)), 3);
}
INLINE void vi_transpose_words(const uint8_t *rows, size_t row_stride, uint8_t *out)
{
    __m512i row[4];
    UNROLL for (size_t i = 0; i < 4; i++) row[i] = four_rows(rows + i * row_stride, row_stride);
    __m512i a = _mm512_unpacklo_epi32(row[0], row[1]);
    __m512i b = _mm512_unpacklo_epi32(row[2], row[3]);
    __m512i c = _mm512_unpackhi_epi32(row[0], row[1]);
    __m512i d = _mm512_unpackhi_epi32(row[2], row[3]);
    vi_store(out, _mm512_unpacklo_epi64(a, b));
    vi_store(out + 64, _mm512_unpackhi_epi64(a, b));
    vi_store(out + 128, _mm512_unpacklo_epi64(c, d));
    vi_store(out + 192, _mm512_unpackhi_epi64(c, d));
}

#endif

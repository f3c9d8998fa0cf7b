/* How each format of weights comes apart on the device: the 8 steps of 32 columns that a chunk of
 * 256 has, as words of four quants. The layout is that of lib/backend/cuda/layout.c: first
 * N_LANE sections of 16 bytes of which word i gives the words i and i + 4 of a step, then N_WHOLE
 * sections of which other words are needed as well, then a header with the scales, which is kept as
 * N_HEADER words.
 *
 * A format is a struct with these numbers and
 * - OFFSET: what is added to a code to make the quant;
 * - IN_TURN: 1 where a section of N_LANE is used by a few steps, of which last_step() gives the
 *   last, mostly long before the next chunk's first one; sections of N_WHOLE are all so, and have
 *   last_step_of_whole();
 * - load_header(): the words of the header;
 * - codes(): words i (low) and i + 4 (high) of a step from a view, which is
 *     lane(s): word i of section s; whole(s, j): word j of section N_LANE + s; i; header(j);
 * - scale(), minimum(): of a step (BLOCK, BLOCK_16: two of a step) or of the chunk (SUPER,
 *   TERNARY), as the CPU's unpack functions give them;
 * - sub_scale() (SUPER): of sub-block j of SUB columns; sub_minimum() the same;
 * - factors() (SUPER, where there are minima or an offset): sub-minima, or sub-scales, of 16
 * columns each: number 4 four + k in byte k. */
#ifndef RAD_CUDA_FORMATS_H
#define RAD_CUDA_FORMATS_H

#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"
#include "quant/quant.h"

/* Families, as RAD_FAMILY_ of quant.h; SUPER_16 and SUPER_32 are one. */
constexpr int RAD_CUDA_BLOCK = 0, RAD_CUDA_BLOCK_16 = 1, RAD_CUDA_SUPER = 2, RAD_CUDA_TERNARY = 3,
              RAD_CUDA_ROW = 4, RAD_CUDA_INT8 = 5, RAD_CUDA_AFFINE = 6;

/* ---- small helpers ----------------------------------------------------------------------------
 */

#define RAD_NIBBLES 0x0f0f0f0fu
#define RAD_PAIRS   0x03030303u
#define RAD_BITS    0x01010101u

RAD_DEVICE float half_low(uint32_t word)
{
    return rad_half_to_float((uint16_t)word);
}

RAD_DEVICE float half_high(uint32_t word)
{
    return rad_half_to_float((uint16_t)(word >> 16));
}

/* Half number i of some words. */
RAD_DEVICE float half_at(const uint32_t *words, int i)
{
    return i % 2 != 0 ? half_high(words[i / 2]) : half_low(words[i / 2]);
}

RAD_DEVICE int32_t byte_at(const uint32_t *words, int i)
{
    return (int32_t)rad_byte_permute(words[i / 4], 0, 0x4440u + (uint32_t)i % 4);
}

RAD_DEVICE int32_t signed_byte_at(const uint32_t *words, int i)
{
    return (int32_t)rad_byte_permute(words[i / 4], 0, 0x8880u + (uint32_t)i % 4 * 0x1111u);
}

/* Word i of four, i not being known to the compiler. */
RAD_DEVICE uint32_t word_of_4(const uint32_t *words, uint32_t i)
{
    const uint32_t low = i % 2 != 0 ? words[1] : words[0];
    const uint32_t high = i % 2 != 0 ? words[3] : words[2];
    return i / 2 != 0 ? high : low;
}

/* Nibble i of some words. */
RAD_DEVICE int32_t nibble_at(const uint32_t *words, int i)
{
    return (int32_t)(words[i / 8] >> (i % 8 * 4) & 15u);
}

/* Four bits, lowest first, to bit 0 of four bytes. */
RAD_DEVICE uint32_t spread_bits(uint32_t bits)
{
    return (bits & 15u) * 0x00204081u & RAD_BITS;
}

/* Four pairs of bits in a byte to four bytes. */
RAD_DEVICE uint32_t spread_pairs(uint32_t byte)
{
    uint32_t x = byte & 255u;
    x = (x | x << 12) & 0x000f000fu;
    return (x | x << 6) & RAD_PAIRS;
}

/* Word `word` of a whole section, or the next one where i is odd: where i is not known to the
 * compiler, it keeps words in registers only if it knows their numbers. */
template <class V> RAD_DEVICE uint32_t odd_even(const V &v, int section, int word)
{
    return v.i % 2 != 0 ? v.whole(section, word + 1) : v.whole(section, word);
}

/* Sixteen levels of 8 bits, four in a word. */
struct rad_levels16 {
    uint32_t w[4];
};

/* The levels of the low nibbles of four bytes, and of the high ones. */
RAD_DEVICE void look_up(rad_levels16 levels, uint32_t codes, uint32_t &low, uint32_t &high)
{
    const uint32_t three = codes & 0x77777777u;
    const uint32_t top = (codes >> 1 & 0x44444444u) | 0x32103210u; /* which of two results */
    uint32_t a = rad_byte_permute(rad_byte_permute(levels.w[0], levels.w[1], three),
                                  rad_byte_permute(levels.w[2], levels.w[3], three), top);
    uint32_t b =
        rad_byte_permute(rad_byte_permute(levels.w[0], levels.w[1], three >> 16),
                         rad_byte_permute(levels.w[2], levels.w[3], three >> 16), top >> 16);
    low = rad_byte_permute(a, b, 0x6420);
    high = rad_byte_permute(a, b, 0x7531);
}

/* The levels, of eight, of four bytes below 8. */
RAD_DEVICE uint32_t look_up_8(uint32_t levels_low, uint32_t levels_high, uint32_t codes)
{
    const uint32_t nibbles = codes | codes >> 4;
    return rad_byte_permute(levels_low, levels_high, rad_byte_permute(nibbles, 0, 0x4420));
}

/* Addresses of a row's sections in a chunk. */
struct rad_cuda_row {
    const uint8_t *chunk;
    uint32_t row; /* of the group */
};

RAD_DEVICE const uint8_t *section_at(rad_cuda_row at, uint32_t offset, uint32_t bytes)
{
    return at.chunk + offset * RAD_CUDA_GROUP_ROWS + at.row * bytes;
}

RAD_DEVICE void header_16(rad_cuda_row at, uint32_t offset, uint32_t *h)
{
    rad_u4 v = rad_load16_once(section_at(at, offset, 16));
    h[0] = v.x, h[1] = v.y, h[2] = v.z, h[3] = v.w;
}

RAD_DEVICE void header_8(rad_cuda_row at, uint32_t offset, uint32_t *h)
{
    rad_u2 v = rad_load8(section_at(at, offset, 8));
    h[0] = v.x, h[1] = v.y;
}

RAD_DEVICE void header_4(rad_cuda_row at, uint32_t offset, uint32_t *h)
{
    h[0] = *(const uint32_t *)section_at(at, offset, 4);
}

RAD_DEVICE void header_2(rad_cuda_row at, uint32_t offset, uint32_t *h)
{
    h[0] = *(const uint16_t *)section_at(at, offset, 2);
}

/* ---- blocks of 32 with F16 scales --------------------------------------------------------------
 */

/* Four bits in the order of Q4_0. */
struct rad_codes_4 {
    enum { N_LANE = 8, N_WHOLE = 0, IN_TURN = 1 };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section;
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        uint32_t word = v.lane(step);
        low = word & RAD_NIBBLES;
        high = word >> 4 & RAD_NIBBLES;
    }
};

/* And a fifth one, of each column in a word for 32. */
struct rad_codes_5 {
    enum { N_LANE = 8, N_WHOLE = 2, IN_TURN = 1 };
    RAD_DEVICE constexpr int last_step_of_whole(int section)
    {
        return 4 * section + 3;
    }
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section;
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        uint32_t word = v.lane(step), fifth = v.whole(step / 4, step % 4) >> 4 * v.i;
        low = (word & RAD_NIBBLES) | spread_bits(fifth) << 4;
        high = (word >> 4 & RAD_NIBBLES) | spread_bits(fifth >> 16) << 4;
    }
};

struct rad_codes_8 {
    enum { N_LANE = 16, N_WHOLE = 0, IN_TURN = 1 };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section / 2;
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        low = v.lane(2 * step);
        high = v.lane(2 * step + 1);
    }
};

/* Eight F16 scales. */
template <class CODES, int CODE_OFFSET> struct rad_scaled_format : CODES {
    enum {
        FAMILY = RAD_CUDA_BLOCK,
        HAS_MINIMUM = 0,
        OFFSET = CODE_OFFSET,
        AT = 16 * (CODES::N_LANE + CODES::N_WHOLE),
        N_HEADER = 4,
        CHUNK_BYTES = AT + 16
    };
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_16(at, AT, h);
    }
    RAD_DEVICE float scale(const uint32_t *h, int step)
    {
        return half_at(h, step);
    }
};

/* Eight pairs of F16 scale and minimum. */
template <class CODES> struct rad_minimum_format : CODES {
    enum {
        FAMILY = RAD_CUDA_BLOCK,
        HAS_MINIMUM = 1,
        OFFSET = 0,
        AT = 16 * (CODES::N_LANE + CODES::N_WHOLE),
        N_HEADER = 8,
        CHUNK_BYTES = AT + 32
    };
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_16(at, AT, h);
        header_16(at, AT + 16, h + 4);
    }
    RAD_DEVICE float scale(const uint32_t *h, int step)
    {
        return half_low(h[step]);
    }
    RAD_DEVICE float minimum(const uint32_t *h, int step)
    {
        return half_high(h[step]);
    }
};

typedef rad_scaled_format<rad_codes_4, -8> rad_format_q4_0;
typedef rad_scaled_format<rad_codes_5, -16> rad_format_q5_0;
typedef rad_scaled_format<rad_codes_8, 0> rad_format_q8_0;
typedef rad_minimum_format<rad_codes_4> rad_format_q4_1;
typedef rad_minimum_format<rad_codes_5> rad_format_q5_1;

/* ---- super-blocks ------------------------------------------------------------------------------
 */

/* The scales of Q4_K and Q5_K, as they are in the file: two F16 numbers and twelve bytes of six
 * bits. */
template <int HEADER_AT> struct rad_scales_k {
    enum {
        FAMILY = RAD_CUDA_SUPER,
        HAS_MINIMUM = 1,
        OFFSET = 0,
        SUB = 32,
        N_HEADER = 4,
        CHUNK_BYTES = HEADER_AT + 16
    };
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_16(at, HEADER_AT, h);
    }
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[0]);
    }
    RAD_DEVICE float minimum(const uint32_t *h)
    {
        return -half_high(h[0]);
    }
    /* Numbers 0 to 3 or 4 to 7, a byte each. */
    RAD_DEVICE uint32_t six_bits(uint32_t first, uint32_t nibbles, bool later)
    {
        return later ? (nibbles & RAD_NIBBLES) | (first >> 2 & 0x30303030u) : first & 0x3f3f3f3fu;
    }
    RAD_DEVICE int32_t sub_scale(const uint32_t *h, int j)
    {
        const uint32_t four = six_bits(h[1], h[3], j >= 4);
        return byte_at(&four, j % 4);
    }
    RAD_DEVICE int32_t sub_minimum(const uint32_t *h, int j)
    {
        const uint32_t four = six_bits(h[2], h[3] >> 4, j >= 4);
        return byte_at(&four, j % 4);
    }
    RAD_DEVICE uint32_t factors(const uint32_t *h, uint32_t four)
    {
        return rad_byte_permute(six_bits(h[2], h[3] >> 4, four >= 2), 0,
                                four % 2 != 0 ? 0x3322u : 0x1100u);
    }
};

struct rad_format_q4_k : rad_scales_k<128> {
    enum { N_LANE = 8, N_WHOLE = 0, IN_TURN = 1 };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section / 2 * 2 + 1;
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const int at = step / 2 * 2, shift = step % 2 * 4;
        low = v.lane(at) >> shift & RAD_NIBBLES;
        high = v.lane(at + 1) >> shift & RAD_NIBBLES;
    }
};

/* The fifth bits are behind the others: bit s of a byte for step s. */
struct rad_format_q5_k : rad_scales_k<160> {
    enum { N_LANE = 10, N_WHOLE = 0, IN_TURN = 1 };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section < 8 ? section / 2 * 2 + 1 : 7;
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        rad_format_q4_k::codes(v, step, low, high);
        low |= (v.lane(8) >> step & RAD_BITS) << 4;
        high |= (v.lane(9) >> step & RAD_BITS) << 4;
    }
};

struct rad_format_q6_k {
    enum {
        FAMILY = RAD_CUDA_SUPER,
        HAS_MINIMUM = 0,
        OFFSET = -32,
        SUB = 16,
        N_LANE = 12,
        N_WHOLE = 0,
        N_HEADER = 5,
        CHUNK_BYTES = 210,
        IN_TURN = 1
    };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section < 8 ? section / 4 * 4 + section % 4 / 2 + 2 : section / 2 * 4 - 13;
    }
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_16(at, 192, h);
        header_2(at, 208, h + 4);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const int half = step / 4, part = step % 4, at = 4 * half + 2 * (part % 2);
        const int upper = 8 + 2 * half, nibble = part / 2 * 4;
        low = (v.lane(at) >> nibble & RAD_NIBBLES) | (v.lane(upper) >> 2 * part & RAD_PAIRS) << 4;
        high = (v.lane(at + 1) >> nibble & RAD_NIBBLES) |
               (v.lane(upper + 1) >> 2 * part & RAD_PAIRS) << 4;
    }
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[4]);
    }
    RAD_DEVICE int32_t sub_scale(const uint32_t *h, int j)
    {
        return signed_byte_at(h, j);
    }
    RAD_DEVICE uint32_t factors(const uint32_t *h, uint32_t four)
    {
        return word_of_4(h, four);
    }
};

/* Pairs of bits in the order of Q2_K, from section FIRST on. */
template <int FIRST, class V>
RAD_DEVICE void pairs_k(const V &v, int step, uint32_t &low, uint32_t &high)
{
    const int at = FIRST + step / 4 * 2, shift = step % 4 * 2;
    low = v.lane(at) >> shift & RAD_PAIRS;
    high = v.lane(at + 1) >> shift & RAD_PAIRS;
}

struct rad_format_q2_k {
    enum {
        FAMILY = RAD_CUDA_SUPER,
        HAS_MINIMUM = 1,
        OFFSET = 0,
        SUB = 16,
        N_LANE = 4,
        N_WHOLE = 0,
        N_HEADER = 5,
        CHUNK_BYTES = 84,
        IN_TURN = 1
    };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section / 2 * 4 + 3;
    }
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_16(at, 64, h);
        header_4(at, 80, h + 4);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        pairs_k<0>(v, step, low, high);
    }
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[4]);
    }
    RAD_DEVICE float minimum(const uint32_t *h)
    {
        return -half_high(h[4]);
    }
    RAD_DEVICE int32_t sub_scale(const uint32_t *h, int j)
    {
        return byte_at(h, j) & 15;
    }
    RAD_DEVICE int32_t sub_minimum(const uint32_t *h, int j)
    {
        return byte_at(h, j) >> 4;
    }
    RAD_DEVICE uint32_t factors(const uint32_t *h, uint32_t four)
    {
        return word_of_4(h, four) >> 4 & RAD_NIBBLES;
    }
};

struct rad_format_q3_k {
    enum {
        FAMILY = RAD_CUDA_SUPER,
        HAS_MINIMUM = 0,
        OFFSET = -4,
        SUB = 16,
        N_LANE = 6,
        N_WHOLE = 0,
        N_HEADER = 4,
        CHUNK_BYTES = 110,
        IN_TURN = 0
    };
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_4(at, 96, h);
        header_4(at, 100, h + 1);
        header_4(at, 104, h + 2);
        header_2(at, 108, h + 3);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        pairs_k<2>(v, step, low, high);
        low |= (v.lane(0) >> step & RAD_BITS) << 2;
        high |= (v.lane(1) >> step & RAD_BITS) << 2;
    }
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[3]);
    }
    RAD_DEVICE int32_t sub_scale(const uint32_t *h, int j)
    {
        uint32_t low = h[j % 8 / 4] >> (j % 4 * 8 + j / 8 * 4) & 15u;
        uint32_t high = h[2] >> (j % 4 * 8 + j / 4 * 2) & 3u;
        return (int32_t)(low | high << 4) - 32;
    }
    RAD_DEVICE uint32_t factors(const uint32_t *h, uint32_t four)
    {
        const uint32_t low = (four % 2 != 0 ? h[1] : h[0]) >> four / 2 * 4 & RAD_NIBBLES;
        const uint32_t six = low | (h[2] >> 2 * four & RAD_PAIRS) << 4;
        return ((six | 0x80808080u) - 0x20202020u) ^ 0x80808080u;
    }
};

/* ---- levels ------------------------------------------------------------------------------------
 */

#define RAD_LEVELS_IQ4                                                                             \
    {                                                                                              \
        {                                                                                          \
            0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u                                     \
        }                                                                                          \
    }
#define RAD_LEVELS_E2M1                                                                            \
    {                                                                                              \
        {                                                                                          \
            0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu                                     \
        }                                                                                          \
    }

struct rad_codes_iq4 {
    enum { N_LANE = 8, N_WHOLE = 0, IN_TURN = 1 };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section;
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const rad_levels16 levels = RAD_LEVELS_IQ4;
        look_up(levels, v.lane(step), low, high);
    }
};

typedef rad_scaled_format<rad_codes_iq4, 0> rad_format_iq4_nl;

struct rad_format_iq4_xs : rad_codes_iq4 {
    enum {
        FAMILY = RAD_CUDA_SUPER,
        HAS_MINIMUM = 0,
        OFFSET = 0,
        SUB = 32,
        N_HEADER = 2,
        CHUNK_BYTES = 136
    };
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_8(at, 128, h);
    }
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[0]);
    }
    RAD_DEVICE int32_t sub_scale(const uint32_t *h, int j)
    {
        return (nibble_at(h + 1, j) | (int32_t)(h[0] >> (16 + 2 * j) & 3u) << 4) - 32;
    }
};

struct rad_format_mxfp4 {
    enum {
        FAMILY = RAD_CUDA_BLOCK,
        HAS_MINIMUM = 0,
        OFFSET = 0,
        N_LANE = 8,
        N_WHOLE = 0,
        N_HEADER = 2,
        CHUNK_BYTES = 136,
        IN_TURN = 1
    };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section;
    }
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_8(at, 128, h);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const rad_levels16 levels = RAD_LEVELS_E2M1;
        look_up(levels, v.lane(step), low, high);
    }
    RAD_DEVICE float scale(const uint32_t *h, int step)
    {
        uint32_t e = (uint32_t)byte_at(h, step); /* 2^(e - 128) */
        return rad_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    }
};

/* Sixteen scales of eight bits of a chunk, one of each 16 columns. */
struct rad_format_nvfp4 {
    enum {
        FAMILY = RAD_CUDA_BLOCK_16,
        HAS_MINIMUM = 0,
        OFFSET = 0,
        N_LANE = 0,
        N_WHOLE = 8,
        N_HEADER = 4,
        CHUNK_BYTES = 144,
        IN_TURN = 0
    };
    RAD_DEVICE constexpr int last_step_of_whole(int section)
    {
        return section;
    }
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_16(at, 128, h);
    }
    /* Of 16 columns the first 8 are in low nibbles of 8 bytes. */
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const rad_levels16 levels = RAD_LEVELS_E2M1;
        const int shift = v.i / 2 * 4;
        uint32_t first = odd_even(v, step, 0) >> shift & RAD_NIBBLES;
        uint32_t second = odd_even(v, step, 2) >> shift & RAD_NIBBLES;
        look_up(levels, first | second << 4, low, high);
    }
    /* E4M3 without its sign, halved; 0x7f is zero. */
    RAD_DEVICE float scale(const uint32_t *h, int i)
    {
        uint32_t code = (uint32_t)byte_at(h, i), exponent = code >> 3 & 15u, mantissa = code & 7u;
        if (code == 0x7f)
            return 0.0f;
        if (exponent == 0)
            return (float)mantissa * 0x1p-10f;
        return (float)((8 + mantissa) << exponent) * 0x1p-11f;
    }
};

/* ---- codebook types, with codes of fixed width (quant/codes.h) ----------------------------------
 */

/* Four bits for sixteen levels. */
template <uint32_t A, uint32_t B, uint32_t C, uint32_t D> struct rad_format_iq3 {
    enum {
        FAMILY = RAD_CUDA_SUPER,
        HAS_MINIMUM = 0,
        OFFSET = 0,
        SUB = 32,
        N_LANE = 8,
        N_WHOLE = 0,
        N_HEADER = 2,
        CHUNK_BYTES = 134,
        IN_TURN = 1
    };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section;
    }
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_4(at, 128, h);
        header_2(at, 132, h + 1);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const rad_levels16 levels = {{A, B, C, D}};
        look_up(levels, v.lane(step), low, high);
    }
    RAD_DEVICE int32_t sub_scale(const uint32_t *h, int j)
    {
        return 2 * nibble_at(h, j) + 1;
    }
};

struct rad_format_iq3_xxs : rad_format_iq3<0x1c140c04u, 0x3e342c24u, 0xe4ecf4fcu, 0xc2ccd4dcu> {
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[1]) * 0.25f;
    }
};

struct rad_format_iq3_s : rad_format_iq3<0x07050301u, 0x0f0d0b09u, 0xf9fbfdffu, 0xf1f3f5f7u> {
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[1]);
    }
};

/* The low two bits of 64 columns in 16 bytes, a third one that each type has elsewhere. */
template <int N_THIRD> struct rad_codes_3 {
    enum {
        FAMILY = RAD_CUDA_SUPER,
        HAS_MINIMUM = 0,
        OFFSET = 0,
        N_LANE = 4,
        N_WHOLE = N_THIRD,
        AT = 16 * (N_LANE + N_WHOLE),
        IN_TURN = 1
    };
    RAD_DEVICE constexpr int last_step_of_whole(int section)
    {
        return 4 * section + 3;
    }
    RAD_DEVICE constexpr int last_step(int section)
    {
        return 2 * section + 1;
    }
    template <class V> RAD_DEVICE void two_bits(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        uint32_t word = v.lane(step / 2) >> step % 2 * 4;
        low = word & RAD_PAIRS;
        high = word >> 2 & RAD_PAIRS;
    }
};

#define RAD_LEVELS_IQ2_LOW  0x002b1908u /* 8, 25, 43, none */
#define RAD_LEVELS_IQ2_HIGH 0x00d5e7f8u
#define RAD_LEVELS_IQ1_LOW  0x000901f9u /* -7, 1, 9, none; -9, -1, 7 */
#define RAD_LEVELS_IQ1_HIGH 0x0007fff7u

/* Third bits of 64 columns in 8 bytes. Sub-scales of 32 columns (IQ2_XXS) or 16. */
template <int SUB_BLOCK> struct rad_format_iq2 : rad_codes_3<2> {
    enum { SUB = SUB_BLOCK, N_HEADER = 1 + 32 / SUB, CHUNK_BYTES = AT + 4 * (32 / SUB) + 2 };
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        if constexpr (SUB == 16)
            header_8(at, AT, h);
        else
            header_4(at, AT, h);
        header_2(at, CHUNK_BYTES - 2, h + N_HEADER - 1);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const int unit = step / 2;
        uint32_t third = odd_even(v, unit / 2, unit % 2 * 2) >> (step % 2 * 4 + v.i / 2);
        two_bits(v, step, low, high);
        low = look_up_8(RAD_LEVELS_IQ2_LOW, RAD_LEVELS_IQ2_HIGH, low | (third & RAD_BITS) << 2);
        high = look_up_8(RAD_LEVELS_IQ2_LOW, RAD_LEVELS_IQ2_HIGH, high | (third & RAD_BITS << 2));
    }
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[N_HEADER - 1]) * 0.125f;
    }
    RAD_DEVICE int32_t sub_scale(const uint32_t *h, int j)
    {
        return 2 * nibble_at(h, j) + 1;
    }
};

typedef rad_format_iq2<32> rad_format_iq2_xxs;
typedef rad_format_iq2<16> rad_format_iq2_s; /* and IQ2_XS */

/* All bytes are one of two levels' worth: `bit` as the third bit of four codes. */
RAD_DEVICE uint32_t look_up_iq1(uint32_t codes, uint32_t bit)
{
    return look_up_8(RAD_LEVELS_IQ1_LOW, RAD_LEVELS_IQ1_HIGH, codes | (bit & 1u) * (RAD_BITS << 2));
}

/* A third bit for 32 columns, above their sub-scale of three bits. */
struct rad_format_iq1_s : rad_codes_3<0> {
    enum { SUB = 32, N_HEADER = 2, CHUNK_BYTES = 70 };
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_4(at, 64, h);
        header_2(at, 68, h + 1);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const uint32_t third = v.header(0) >> (4 * step + 3);
        two_bits(v, step, low, high);
        low = look_up_iq1(low, third);
        high = look_up_iq1(high, third);
    }
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[1]) * 0.125f;
    }
    RAD_DEVICE int32_t sub_scale(const uint32_t *h, int j)
    {
        return 2 * (nibble_at(h, j) & 7) + 1;
    }
};

/* A third bit for 8 columns. */
struct rad_format_iq1_m : rad_codes_3<0> {
    enum { SUB = 16, N_HEADER = 4, CHUNK_BYTES = 78 };
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_8(at, 64, h);
        header_4(at, 72, h + 2);
        header_2(at, 76, h + 3);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const uint32_t third = v.header(2) >> (4 * step + v.i / 2);
        two_bits(v, step, low, high);
        low = look_up_iq1(low, third);
        high = look_up_iq1(high, third >> 2);
    }
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[3]) * 0.125f;
    }
    RAD_DEVICE int32_t sub_scale(const uint32_t *h, int j)
    {
        return 2 * nibble_at(h, j) + 1;
    }
};

/* ---- one and two bits, ternary --------------------------------------------------------------- */

/* TQ1_0 too, which is written anew. */
struct rad_format_tq2_0 {
    enum {
        FAMILY = RAD_CUDA_TERNARY,
        HAS_MINIMUM = 0,
        OFFSET = -1,
        N_LANE = 4,
        N_WHOLE = 0,
        N_HEADER = 1,
        CHUNK_BYTES = 66,
        IN_TURN = 1
    };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section / 2 * 4 + 3;
    }
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_2(at, 64, h);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        pairs_k<0>(v, step, low, high);
    }
    RAD_DEVICE float scale(const uint32_t *h)
    {
        return half_low(h[0]);
    }
};

struct rad_format_i2_s {
    enum {
        FAMILY = RAD_CUDA_ROW,
        HAS_MINIMUM = 0,
        OFFSET = -1,
        N_LANE = 4,
        N_WHOLE = 0,
        N_HEADER = 0,
        CHUNK_BYTES = 64,
        IN_TURN = 1
    };
    RAD_DEVICE constexpr int last_step(int section)
    {
        return section / 2 * 4 + 3;
    }
    RAD_DEVICE void load_header(rad_cuda_row, uint32_t *)
    {
    }
    /* The first 32 of 128 columns are in the upper two bits. */
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const int at = step / 4 * 2, shift = 6 - step % 4 * 2;
        low = v.lane(at) >> shift & RAD_PAIRS;
        high = v.lane(at + 1) >> shift & RAD_PAIRS;
    }
};

/* Blocks of 128, bits in order. */
struct rad_format_q1_0 {
    enum {
        FAMILY = RAD_CUDA_BLOCK,
        HAS_MINIMUM = 0,
        OFFSET = -1,
        N_LANE = 0,
        N_WHOLE = 2,
        N_HEADER = 1,
        CHUNK_BYTES = 36,
        IN_TURN = 0
    };
    RAD_DEVICE constexpr int last_step_of_whole(int section)
    {
        return 4 * section + 3;
    }
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_4(at, 32, h);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        const uint32_t bits = v.whole(step / 4, step % 4) >> 4 * v.i;
        low = spread_bits(bits) << 1;
        high = spread_bits(bits >> 16) << 1;
    }
    RAD_DEVICE float scale(const uint32_t *h, int step)
    {
        return half_at(h, step / 4);
    }
};

/* Blocks of 64, pairs of bits in order. */
struct rad_format_q2_0 {
    enum {
        FAMILY = RAD_CUDA_BLOCK,
        HAS_MINIMUM = 0,
        OFFSET = -1,
        N_LANE = 0,
        N_WHOLE = 4,
        N_HEADER = 2,
        CHUNK_BYTES = 72,
        IN_TURN = 0
    };
    RAD_DEVICE constexpr int last_step_of_whole(int section)
    {
        return 2 * section + 1;
    }
    RAD_DEVICE void load_header(rad_cuda_row at, uint32_t *h)
    {
        header_8(at, 64, h);
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        low = spread_pairs(v.whole(step / 2, step % 2 * 2) >> 8 * v.i);
        high = spread_pairs(v.whole(step / 2, step % 2 * 2 + 1) >> 8 * v.i);
    }
    RAD_DEVICE float scale(const uint32_t *h, int step)
    {
        return half_at(h, step / 2);
    }
};

#include "kernels/cuda/formats_folders.h"

/* Asks for n_rows rows of a chunk from first_row of the group on, multiples of 8: a lane for each
 * section of 16 bytes. What a block comes to late is then under way from the beginning. */
template <class F>
RAD_DEVICE void prefetch_rows(const uint8_t *chunk, uint32_t first_row, uint32_t n_rows)
{
    static_assert(F::CHUNK_BYTES / 16 <= 32, "a lane for each section");
    if (rad_lane() < F::CHUNK_BYTES / 16)
        rad_prefetch(section_at({chunk, first_row}, rad_lane() * 16, 16), n_rows * 16);
}

/* ---- what the products share ------------------------------------------------------------------
 */

/* Of a tile of activations: the sum of 16 columns. */
RAD_DEVICE int32_t sum_of_16(const uint8_t *tile, int i)
{
    return ((const int16_t *)(tile + RAD_CUDA_TILE_SUMS))[i];
}

/* What comes behind a product. */
RAD_DEVICE void finish_product(const rad_cuda_product_part &part, uint32_t expert, uint64_t output,
                               uint32_t row, float y)
{
    if (part.scales != nullptr) /* times one is the same bits */
        y *= part.scales[expert];
    if (part.bias != nullptr)
        y += part.bias[(uint64_t)expert * part.n_rows + row];
    const uint64_t at = output * part.y_stride + row;
    if (part.add != nullptr)
        y = part.add[at] + y;
    part.y[at] = y;
}

#endif

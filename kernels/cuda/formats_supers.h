/* Super-blocks of 256 with scales within. A part of formats.h, which alone includes it. */
#ifndef RAD_CUDA_FORMATS_SUPERS_H
#define RAD_CUDA_FORMATS_SUPERS_H

#include "kernels/cuda/formats_bits.h"

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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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

#endif

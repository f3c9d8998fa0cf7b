/* Codebook types, with codes of fixed width (quant/codes.h). A part of formats.h, which alone
 * includes it. */
#ifndef RAD_CUDA_FORMATS_CODEBOOKS_H
#define RAD_CUDA_FORMATS_CODEBOOKS_H

#include "kernels/cuda/formats_bits.h"

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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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

#endif

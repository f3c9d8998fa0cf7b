/* Codes that stand for levels: IQ4_NL, IQ4_XS, MXFP4, NVFP4. A part of formats.h, which alone
 * includes it. */
#ifndef RAD_CUDA_FORMATS_LEVELS_H
#define RAD_CUDA_FORMATS_LEVELS_H

#include "kernels/cuda/formats_bits.h"

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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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

#endif

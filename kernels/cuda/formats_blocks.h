/* Blocks of 32 with F16 scales. A part of formats.h, which alone includes it. */
#ifndef RAD_CUDA_FORMATS_BLOCKS_H
#define RAD_CUDA_FORMATS_BLOCKS_H

#include "kernels/cuda/formats_bits.h"

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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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

#endif

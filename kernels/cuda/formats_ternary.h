/* One and two bits, ternary. A part of formats.h, which alone includes it. */
#ifndef RAD_CUDA_FORMATS_TERNARY_H
#define RAD_CUDA_FORMATS_TERNARY_H

#include "kernels/cuda/formats_bits.h"

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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row, uint32_t *)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
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

#endif

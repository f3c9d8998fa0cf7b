/* The formats of quantized folders; a part of formats.h, which alone includes it. */
#ifndef RAD_CUDA_FORMATS_FOLDERS_H
#define RAD_CUDA_FORMATS_FOLDERS_H

#include "kernels/cuda/formats_bits.h"

/* ---- affine types of folders (quant/affine.c) ---------------------------------------------------
 */

/* Words of the scale's upper 24 bits and of the zero, of each 32 columns or of each 128. Planes of
 * 4, 2 and 1 bits; quants of 8 bits are signed. */
template <int BITS, int ELEMENTS> struct rad_format_affine {
    enum {
        FAMILY = RAD_CUDA_AFFINE,
        HAS_MINIMUM = 0,
        SPAN = ELEMENTS == 32 ? 1 : 2, /* steps that share a scale of activations */
        OFFSET = 0,
        N_LANE = BITS == 8  ? 16
                 : BITS & 4 ? 8
                            : 0,
        PAIRS = BITS & 2 ? 4 : 0,
        N_WHOLE = PAIRS + (BITS & 1 ? 2 : 0),
        AT = 16 * (N_LANE + N_WHOLE),
        N_HEADER = RAD_CUDA_CHUNK / ELEMENTS,
        CHUNK_BYTES = AT + 4 * N_HEADER,
        IN_TURN = 1
    };
    RAD_DEVICE constexpr int last_step_of_whole(int section)
    {
        return section < PAIRS ? 2 * section + 1 : 4 * (section - PAIRS) + 3;
    }
    RAD_DEVICE constexpr int last_step(int section)
    {
        return BITS == 8 ? section / 2 : section;
    }
    RAD_DEVICE void load_header(rad_weights_row at, uint32_t *h)
    {
        if constexpr (N_HEADER == 8) {
            header_16(at, AT, h);
            header_16(at, AT + 16, h + 4);
        } else {
            header_8(at, AT, h);
        }
    }
    template <class V> RAD_DEVICE void codes(const V &v, int step, uint32_t &low, uint32_t &high)
    {
        if constexpr (BITS == 8) {
            rad_codes_8::codes(v, step, low, high);
            return;
        }
        low = high = 0;
        if constexpr ((BITS & 4) != 0)
            rad_codes_4::codes(v, step, low, high);
        if constexpr ((BITS & 2) != 0) {
            low |= (v.whole(step / 2, step % 2 * 2) >> 2 * v.i & RAD_PAIRS) << (BITS & 4);
            high |= (v.whole(step / 2, step % 2 * 2 + 1) >> 2 * v.i & RAD_PAIRS) << (BITS & 4);
        }
        if constexpr ((BITS & 1) != 0) {
            const uint32_t bits = v.whole(PAIRS + step / 4, step % 4) >> v.i;
            low |= (bits & RAD_BITS) << (BITS - 1);
            high |= (bits >> 4 & RAD_BITS) << (BITS - 1);
        }
    }
    RAD_DEVICE uint32_t word(const uint32_t *h, int step)
    {
        return h[step * 32 / ELEMENTS];
    }
    RAD_DEVICE float scale(const uint32_t *h, int step)
    {
        return rad_float(word(h, step) & 0xffffff00u);
    }
    RAD_DEVICE int32_t zero(const uint32_t *h, int step)
    {
        return (int32_t)(word(h, step) & 255u) - (BITS == 8 ? 128 : 0);
    }
};

/* ---- LLM.int8 ----------------------------------------------------------------------------------
 */

/* Signed bytes; behind them each block's scale, which is the row's. */
struct rad_format_int8 : rad_codes_8 {
    enum {
        FAMILY = RAD_CUDA_INT8,
        HAS_MINIMUM = 0,
        OFFSET = 0,
        N_HEADER = 0,
        SCALE_AT = 256,
        CHUNK_BYTES = 272
    };
    RAD_DEVICE void load_header(rad_weights_row, uint32_t *)
    {
    }
};

/* An output from its integer sum, the scale of its activations, and the columns that `tiles` marks
 * as outliers, which are multiplied as floats in increasing order. at: the row in its first chunk.
 */
RAD_DEVICE float int8_output(rad_weights_row at, const uint8_t *tiles, uint32_t n_columns,
                             const float *x, float scale, int32_t products)
{
    const float row_scale = *(const float *)section_at(at, rad_format_int8::SCALE_AT, 16);
    float sum = 0.0f;
    for (uint32_t first = 0; first < n_columns; first += 32) {
        uint32_t marks = *(const uint32_t *)(tiles + first / RAD_CUDA_CHUNK * RAD_CUDA_TILE_BYTES +
                                             RAD_CUDA_TILE_MARKS + first % RAD_CUDA_CHUNK / 8);
        for (uint32_t column = first; marks != 0; column++, marks >>= 1) {
            const rad_weights_row in = {at.chunk + (uint64_t)(column / RAD_CUDA_CHUNK) *
                                                       rad_format_int8::CHUNK_BYTES *
                                                       RAD_CUDA_GROUP_ROWS,
                                        at.row};
            const uint32_t at_column = column % RAD_CUDA_CHUNK;
            if (marks % 2 != 0)
                sum =
                    rad_fma((float)(int8_t)section_at(in, at_column / 16 * 16, 16)[at_column % 16],
                            x[column], sum);
        }
    }
    return rad_fma(scale, (float)products, sum) * (row_scale * RAD_INT8_STEP);
}

#endif

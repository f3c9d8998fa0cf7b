/* A tile of quantized activations, made by a warp: what quantize.cu and the kernels whose results
 * are quantized at once share. The same bits as rad_quantize_q8_*_scalar(). A lane has 8 columns.
 */
#ifndef RAD_CUDA_QUANTIZE_H
#define RAD_CUDA_QUANTIZE_H

#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

RAD_DEVICE uint32_t quantize_greater(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* The greatest magnitude of the 8, as bits, which are ordered as the numbers are. */
RAD_DEVICE uint32_t quantize_magnitude(const float x[8])
{
    uint32_t amax = 0;
#pragma unroll
    for (int i = 0; i < 8; i++)
        amax = quantize_greater(amax, rad_bits(x[i]) & 0x7fffffffu);
    return amax;
}

/* Half to even, for |value| < 2^22. */
RAD_DEVICE int32_t quantize_round(float value)
{
    const float shift = 12582912.0f;
    return (int32_t)((value + shift) - shift);
}

/* Writes the lane's part of the tile, unless it is not `mine`; amax: of the block that the 8
 * columns are in. Returns the sum of the quants. */
RAD_DEVICE int32_t quantize_write(uint8_t *tile, const float x[8], uint32_t amax, bool mine = true)
{
    const bool finite = amax < 0x7f800000u, zero = !finite || rad_float(amax) < 0x1p-100f;
    const float factor = zero ? 0.0f : 127.0f / rad_float(amax);
    const float scale = !finite ? rad_float(0x7fc00000u) : zero ? 0.0f : rad_float(amax) / 127.0f;
    const uint32_t lane = rad_lane();
    uint32_t words[2] = {0, 0};
    int32_t sum = 0;
    if (!zero) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            int32_t q = quantize_round(x[i] * factor);
            words[i / 4] |= ((uint32_t)q & 255u) << (i % 4 * 8);
            sum += q;
        }
    }
    if (mine)
        rad_store8(tile + lane * 8, {words[0], words[1]});
    if (mine && lane % 4 == 0)
        ((float *)(tile + RAD_CUDA_TILE_SCALES))[lane / 4] = scale;
    return sum;
}

RAD_DEVICE void quantize_write_sums(uint8_t *tile, int32_t sum, bool mine = true)
{
    sum += rad_shuffle_xor(sum, 1);
    if (mine && rad_lane() % 2 == 0)
        ((int16_t *)(tile + RAD_CUDA_TILE_SUMS))[rad_lane() / 2] = (int16_t)sum;
}

/* The greatest magnitude of the block of 32, 64 or 256 columns that a lane's 8 are in. */
RAD_DEVICE uint32_t quantize_amax(const float x[8], uint32_t block)
{
    uint32_t amax = quantize_magnitude(x);
    amax = quantize_greater(amax, rad_shuffle_xor(amax, 1));
    amax = quantize_greater(amax, rad_shuffle_xor(amax, 2));
#pragma unroll
    for (uint32_t mask = 4; mask < 32; mask *= 2) {
        if (mask * 8 < block)
            amax = quantize_greater(amax, rad_shuffle_xor(amax, mask));
    }
    return amax;
}

/* The lane's 8 columns in shared memory, aligned to 16, into a tile; NULL: zeros. What is not
 * `mine` stays as it is: whole blocks. */
RAD_DEVICE void quantize_columns(const float *columns, bool mine, uint32_t block, uint8_t *tile)
{
    float x[8] = {};
    if (columns != NULL) {
        const rad_f4 low = rad_floats(rad_load16(columns));
        const rad_f4 high = rad_floats(rad_load16(columns + 4));
        x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
        x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
    }
    quantize_write_sums(tile, quantize_write(tile, x, quantize_amax(x, block), mine), mine);
}

/* Number `tile` of a row's tiles, from its 256 columns in shared memory, aligned to 16; n_columns:
 * of the row, a multiple of 32, behind which there are none. */
RAD_DEVICE void quantize_tile(const float *columns, uint32_t n_columns, uint32_t block,
                              uint32_t tile, uint8_t *tiles)
{
    const bool is_there = tile * RAD_CUDA_CHUNK + rad_lane() * 8 < n_columns;
    quantize_columns(is_there ? columns + rad_lane() * 8 : NULL, true, block,
                     tiles + (uint64_t)tile * RAD_CUDA_TILE_BYTES);
}

#endif

/* Activations to 8 bits (numeric contract, rule 2): the same bits as rad_quantize_q8_*_scalar(). A
 * warp makes a tile; a lane has 8 columns of it. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

/* The lane's 8 columns of a tile, zeros where there are none. */
RAD_DEVICE void load_columns(const rad_cuda_quantize_arguments &a, uint32_t column, float x[8])
{
    const float *row = a.x + (uint64_t)rad_block_y() * a.n_inputs;
#pragma unroll
    for (int i = 0; i < 8; i++)
        x[i] = 0.0f;
    if (column >= a.n_columns)
        return;
    if (a.columns == nullptr && a.n_inputs % 4 == 0) {
        rad_f4 low = rad_floats(rad_load16(row + column));
        rad_f4 high = rad_floats(rad_load16(row + column + 4));
        x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
        x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
        return;
    }
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t from = a.columns != nullptr ? a.columns[column + i] : column + i;
        x[i] = from < a.n_inputs ? row[from] : 0.0f;
    }
}

RAD_DEVICE uint32_t greater(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* The greatest magnitude of the 8, as bits, which are ordered as the numbers are. */
RAD_DEVICE uint32_t magnitude(const float x[8])
{
    uint32_t amax = 0;
#pragma unroll
    for (int i = 0; i < 8; i++)
        amax = greater(amax, rad_bits(x[i]) & 0x7fffffffu);
    return amax;
}

/* Half to even, for |value| < 2^22. */
RAD_DEVICE int32_t round_half_even(float value)
{
    const float shift = 12582912.0f;
    return (int32_t)((value + shift) - shift);
}

/* Writes the lane's part of the tile; amax: of the block that the 8 columns are in. Returns the sum
 * of the quants. */
RAD_DEVICE int32_t write_columns(uint8_t *tile, const float x[8], uint32_t amax)
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
            int32_t q = round_half_even(x[i] * factor);
            words[i / 4] |= ((uint32_t)q & 255u) << (i % 4 * 8);
            sum += q;
        }
    }
    rad_store8(tile + lane * 8, {words[0], words[1]});
    if (lane % 4 == 0)
        ((float *)(tile + RAD_CUDA_TILE_SCALES))[lane / 4] = scale;
    return sum;
}

RAD_DEVICE void write_sums(uint8_t *tile, int32_t sum)
{
    sum += rad_shuffle_xor(sum, 1);
    if (rad_lane() % 2 == 0)
        ((int16_t *)(tile + RAD_CUDA_TILE_SUMS))[rad_lane() / 2] = (int16_t)sum;
}

RAD_DEVICE uint8_t *tile_at(const rad_cuda_quantize_arguments &a, uint32_t tile)
{
    const uint32_t n_tiles = (a.n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
    return a.tiles + ((uint64_t)rad_block_y() * n_tiles + tile) * RAD_CUDA_TILE_BYTES;
}

RAD_CUDA_KERNEL(quantize, 256, rad_cuda_quantize_arguments, a)
{
    const uint32_t tile = rad_block_x() * 8 + rad_warp();
    if (tile * RAD_CUDA_CHUNK >= a.n_columns)
        return;
    float x[8];
    load_columns(a, tile * RAD_CUDA_CHUNK + rad_lane() * 8, x);
    uint32_t amax = magnitude(x);
    amax = greater(amax, rad_shuffle_xor(amax, 1));
    amax = greater(amax, rad_shuffle_xor(amax, 2));
    if (a.block == RAD_CUDA_CHUNK) {
#pragma unroll
        for (uint32_t mask = 4; mask < 32; mask *= 2)
            amax = greater(amax, rad_shuffle_xor(amax, mask));
    }
    write_sums(tile_at(a, tile), write_columns(tile_at(a, tile), x, amax));
}

/* Sets those of 8 columns to zero that reach the threshold, and marks them. */
RAD_DEVICE uint32_t take_outliers(const rad_cuda_quantize_arguments &a, uint32_t column, float x[8])
{
    uint32_t marks = 0;
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t bits = rad_bits(x[i]) & 0x7fffffffu;
        if (column < a.n_columns && bits <= 0x7f800000u && rad_float(bits) >= a.threshold) {
            marks |= 1u << i;
            x[i] = 0.0f;
        }
    }
    return marks;
}

/* One scale for the row. */
template <bool with_outliers>
RAD_DEVICE void quantize_whole_row(const rad_cuda_quantize_arguments &a)
{
    RAD_SHARED(uint32_t, warps, 8);
    const uint32_t n_tiles = (a.n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
    uint32_t amax = 0;
    float x[8];
    for (uint32_t tile = rad_warp(); tile < n_tiles; tile += 8) {
        const uint32_t column = tile * RAD_CUDA_CHUNK + rad_lane() * 8;
        load_columns(a, column, x);
        if (with_outliers)
            take_outliers(a, column, x);
        amax = greater(amax, magnitude(x));
    }
#pragma unroll
    for (uint32_t mask = 1; mask < 32; mask *= 2)
        amax = greater(amax, rad_shuffle_xor(amax, mask));
    if (rad_lane() == 0)
        warps[rad_warp()] = amax;
    rad_barrier();
#pragma unroll
    for (int i = 0; i < 8; i++)
        amax = greater(amax, warps[i]);
    for (uint32_t tile = rad_warp(); tile < n_tiles; tile += 8) {
        const uint32_t column = tile * RAD_CUDA_CHUNK + rad_lane() * 8;
        uint8_t *out = tile_at(a, tile);
        load_columns(a, column, x);
        const uint32_t marks = with_outliers ? take_outliers(a, column, x) : 0;
        const int32_t sum = write_columns(out, x, amax);
        if (with_outliers)
            out[RAD_CUDA_TILE_MARKS + rad_lane()] = (uint8_t)marks;
        else
            write_sums(out, sum);
    }
}

RAD_CUDA_KERNEL(quantize_row, 256, rad_cuda_quantize_arguments, a)
{
    quantize_whole_row<false>(a);
}

RAD_CUDA_KERNEL(quantize_outliers, 256, rad_cuda_quantize_arguments, a)
{
    quantize_whole_row<true>(a);
}

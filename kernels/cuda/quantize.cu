/* Activations to 8 bits (numeric contract, rule 2): the same bits as rad_quantize_q8_*_scalar(). A
 * warp makes a tile; a lane has 8 columns of it. */
#include "kernels/cuda/quantize.h"

/* The lane's 8 columns of a tile of a row, zeros where there are none. */
RAD_DEVICE void load_columns(const rad_cuda_quantize_arguments &a, const float *row,
                             const uint32_t *columns, uint32_t column, float x[8])
{
#pragma unroll
    for (int i = 0; i < 8; i++)
        x[i] = 0.0f;
    if (column >= a.n_columns)
        return;
    if (columns == nullptr && a.n_inputs % 4 == 0) {
        rad_f4 low = rad_floats(rad_load16(row + column));
        rad_f4 high = rad_floats(rad_load16(row + column + 4));
        x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
        x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
        return;
    }
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t from = columns != nullptr ? columns[column + i] : column + i;
        x[i] = from < a.n_inputs ? row[from] : 0.0f;
    }
}

RAD_DEVICE void load_columns(const rad_cuda_quantize_arguments &a, uint32_t column, float x[8])
{
    load_columns(a, a.x + (uint64_t)rad_block_y() * a.n_inputs, a.columns, column, x);
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
    uint8_t *out = tile_at(a, tile);
    quantize_write_sums(out, quantize_write(out, x, quantize_amax(x, a.block)));
}

RAD_CUDA_KERNEL(quantize_slots, 256, rad_cuda_quantize_arguments, a)
{
    const uint32_t tile = rad_block_x() * 8 + rad_warp(), slot = rad_block_y();
    if (tile * RAD_CUDA_CHUNK >= a.n_columns)
        return;
    const uint64_t input = a.inputs != nullptr ? a.inputs[slot] : slot / a.slots_per_input;
    float x[8];
    load_columns(a, a.x + input * a.n_inputs, a.columns + (uint64_t)a.experts[slot] * a.n_columns,
                 tile * RAD_CUDA_CHUNK + rad_lane() * 8, x);
    uint8_t *out = tile_at(a, tile);
    quantize_write_sums(out, quantize_write(out, x, quantize_amax(x, a.block)));
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
        amax = quantize_greater(amax, quantize_magnitude(x));
    }
#pragma unroll
    for (uint32_t mask = 1; mask < 32; mask *= 2)
        amax = quantize_greater(amax, rad_shuffle_xor(amax, mask));
    if (rad_lane() == 0)
        warps[rad_warp()] = amax;
    rad_barrier();
#pragma unroll
    for (int i = 0; i < 8; i++)
        amax = quantize_greater(amax, warps[i]);
    for (uint32_t tile = rad_warp(); tile < n_tiles; tile += 8) {
        const uint32_t column = tile * RAD_CUDA_CHUNK + rad_lane() * 8;
        uint8_t *out = tile_at(a, tile);
        load_columns(a, column, x);
        const uint32_t marks = with_outliers ? take_outliers(a, column, x) : 0;
        const int32_t sum = quantize_write(out, x, amax);
        if (with_outliers)
            out[RAD_CUDA_TILE_MARKS + rad_lane()] = (uint8_t)marks;
        else
            quantize_write_sums(out, sum);
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

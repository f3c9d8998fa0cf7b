/* Keys and values into the cache, in its number formats: the bytes of kernels/cpu/cache_numbers.h.
 * A warp takes 32 dimensions of a head at a time, a block of the formats that have blocks. */
#include "kernels/cuda/cache_device.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels_layer.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/rotary.h"

#define THREADS 128

/* Rounds half to even without a conversion that NaN could break; |x| < 2^22. */
RAD_DEVICE int32_t nearest_integer(float x)
{
    return (int32_t)(rad_bits(x + RAD_F32_ROUND) - RAD_F32_ROUND_BITS);
}

/* A lane's number of a block of at most 32, and the half that belongs to the block. Lanes without a
 * number have x = 0 and valid false, and receive 0. */
RAD_DEVICE int32_t quantize_block(float x, bool valid, uint32_t type, uint16_t *half)
{
    uint32_t bits = rad_bits(x) & 0x7fffffffu, most = bits;
    for (uint32_t mask = 16; mask > 0; mask /= 2) {
        uint32_t other = rad_shuffle_xor(most, mask);
        most = other > most ? other : most;
    }
    float greatest = rad_float(most), d, low, high;
    bool is_eight = type == RAD_CACHE_Q8_0;
    /* The greatest becomes -8, which has no counterpart. */
    bool negative = rad_any(valid && x == greatest);
    if (is_eight) {
        d = greatest / 127.0f;
        low = -127.0f;
        high = 127.0f;
    } else {
        d = greatest / 8.0f * (negative ? -1.0f : 1.0f);
        low = -8.0f;
        high = 7.0f;
    }
    *half = d - d == 0.0f ? rad_half_saturated(d) : 0x7e00u;
    float scale = rad_float_of_half(*half);
    float factor = scale != 0.0f && scale == scale ? 1.0f / scale : 0.0f;
    float scaled = x * factor;
    scaled = scaled > high ? high : scaled;
    scaled = scaled < low ? low : scaled;
    return valid && scale == scale ? nearest_integer(scaled) : 0;
}

/* 32 dimensions of a key from `first` on. */
RAD_DEVICE void store_key_block(uint8_t *tile, const rad_cuda_store_arguments &a, float x,
                                uint32_t first, uint32_t slot)
{
    uint32_t lane = rad_lane(), dim = first + lane;
    bool valid = dim < a.key_dim;
    if (!rad_is_integer_cache(a.key_type)) {
        if (valid)
            store_number(tile, dim * RAD_TILE_KEYS + slot, a.key_type, x);
        return;
    }
    uint16_t half;
    int32_t q = quantize_block(x, valid, a.key_type, &half);
    int32_t fourth = rad_shuffle_down(q, 4);
    uint16_t *scales = rad_tile_scales(tile, a.key_bytes, a.key_dim);
    uint32_t n = a.key_dim - first < 32 ? a.key_dim - first : 32;
    if (lane == 0)
        scales[first / 32 * RAD_TILE_KEYS + slot] = half;
    if (a.key_type == RAD_CACHE_Q8_0) {
        if (lane < (n + 3) / 4 * 4)
            tile[(dim / 4 * RAD_TILE_KEYS + slot) * 4 + lane % 4] = (uint8_t)(q + 128);
    } else if (lane < (n + 7) / 8 * 8 && lane % 8 < 4) {
        tile[(dim / 8 * RAD_TILE_KEYS + slot) * 4 + lane % 4] =
            (uint8_t)((uint32_t)(q + 8) | (uint32_t)(fourth + 8) << 4);
    }
}

/* 32 dimensions of a value from `first` on. */
RAD_DEVICE void store_value_block(uint8_t *tile, const rad_cuda_store_arguments &a, float x,
                                  uint32_t first, uint32_t slot)
{
    uint32_t lane = rad_lane(), dim = first + lane;
    bool valid = dim < a.value_dim;
    if (!rad_is_integer_cache(a.value_type)) {
        if (valid)
            store_number(tile, slot * a.value_dim + dim, a.value_type, x);
        return;
    }
    uint16_t half;
    int32_t q = quantize_block(x, valid, a.value_type, &half);
    int32_t far = rad_shuffle_down(q, 16);
    if (lane == 0)
        rad_tile_scales(tile, a.value_bytes, a.value_dim)[first / 32 * RAD_TILE_KEYS + slot] = half;
    uint8_t *row =
        tile + slot / 2 * 2 * rad_integer_value_row(a.value_type, a.value_dim) + slot % 2;
    if (a.value_type == RAD_CACHE_Q8_0) {
        if (valid)
            row[2 * dim] = (uint8_t)q;
    } else if (lane < 16) {
        row[first + 2 * lane] = (uint8_t)((uint32_t)(q + 8) | (uint32_t)(far + 8) << 4);
    }
}

/* Where a head of a row goes; NULL: nowhere. */
struct place {
    uint8_t *keys;
    uint32_t slot;
};

RAD_DEVICE place find_place(const rad_cuda_store_arguments &a, uint32_t row, uint32_t head)
{
    const rad_cuda_row at = a.rows[row];
    if (at.end == 0)
        return {NULL, 0};
    return {rad_cache_page(a.pages, at.sequence, at.position / RAD_TILE_KEYS) + a.first +
                (uint64_t)head * (a.key_bytes + a.value_bytes),
            at.position % RAD_TILE_KEYS};
}

/* By all threads of a block. */
RAD_DEVICE void store_head(const rad_cuda_store_arguments &a, uint32_t row, uint32_t head,
                           const place &to)
{
    if (to.keys == NULL)
        return;
    uint8_t *keys = to.keys, *values = keys + a.key_bytes;
    const uint32_t slot = to.slot;
    const float *key = a.keys + ((uint64_t)row * a.n_heads + head) * a.key_dim;
    const float *value = a.values + ((uint64_t)row * a.n_heads + head) * a.value_dim;
    for (uint32_t first = rad_warp() * 32; first < a.key_dim; first += THREADS) {
        uint32_t dim = first + rad_lane();
        store_key_block(keys, a, dim < a.key_dim ? key[dim] : 0.0f, first, slot);
    }
    for (uint32_t first = rad_warp() * 32; first < a.value_dim; first += THREADS) {
        uint32_t dim = first + rad_lane();
        store_value_block(values, a, dim < a.value_dim ? value[dim] : 0.0f, first, slot);
    }
}

RAD_CUDA_KERNEL(store, THREADS, rad_cuda_store_arguments, a)
{
    for (uint32_t row = rad_block_y(); row < a.n_rows; row += rad_grid_y())
        store_head(a, row, rad_block_x(), find_place(a, row, rad_block_x()));
}

/* Weights of a norm of heads for the numbers that a thread has first. */
struct head_weights {
    float of[2];
};

RAD_DEVICE head_weights load_head_weights(const float *weights, uint32_t n)
{
    head_weights w;
#pragma unroll
    for (uint32_t k = 0; k < 2; k++) {
        const uint32_t i = rad_thread() + k * THREADS;
        w.of[k] = weights != NULL && i < n ? weights[i] : 1.0f;
    }
    return w;
}

/* The norm of a head in place, by all threads of a block: the bits of head_norm. Each half of each
 * warp makes the sum for itself. */
RAD_DEVICE void norm_head(const rad_cuda_head_norms &norms, const float *weights,
                          const head_weights &ahead, float *x)
{
    float sum = 0.0f;
#pragma unroll 4
    for (uint32_t i = rad_lane() % RAD_NORM_LANES; i < norms.n; i += RAD_NORM_LANES)
        sum = rad_fma(x[i], x[i], sum);
    const float factor = 1.0f / rad_sqrt(sum_lanes(sum) / (float)norms.n + norms.epsilon);
    rad_barrier(); /* all have read what is written now */
    for (uint32_t k = 0, i = rad_thread(); i < norms.n; k++, i += THREADS) {
        const float y = x[i] * factor;
        const float weight = k == 0 ? ahead.of[0] : k == 1 ? ahead.of[1] : weights[i];
        x[i] = weights != NULL ? y * weight : y;
    }
    rad_barrier();
}

/* Rows, page tables and weights are there before any kernel of a step: where the first row goes is
 * looked up while the kernel before this one still runs. */
RAD_CUDA_KERNEL_EARLY(rotate_store, THREADS, rad_cuda_rotate_store_arguments, a)
{
    const uint32_t block = rad_block_x(), n_queries = a.queries.n_heads;
    const float *weights = block < n_queries ? a.norms.queries : a.norms.keys;
    const head_weights ahead = load_head_weights(weights, a.norms.n);
    uint32_t row = rad_block_y();
    place to = {NULL, 0};
    if (block >= n_queries)
        to = find_place(a.store, row, block - n_queries);
    rad_wait_for_earlier();
    while (row < a.store.n_rows) {
        const rad_cuda_rotate_arguments &rotation = block < n_queries ? a.queries : a.keys;
        const uint32_t head = block < n_queries ? block : block - n_queries;
        if (a.norms.n > 0)
            norm_head(a.norms, weights, ahead,
                      rotation.out + (uint64_t)row * rotation.row + rotation.first +
                          (uint64_t)head * rotation.stride);
        if (block < n_queries) {
            rotate_head(a.queries, row, block);
        } else {
            rotate_head(a.keys, row, block - n_queries);
            rad_barrier();
            store_head(a.store, row, block - n_queries, to);
        }
        row += rad_grid_y();
        if (block >= n_queries && row < a.store.n_rows)
            to = find_place(a.store, row, block - n_queries);
    }
}

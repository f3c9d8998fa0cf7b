/* Products that are queries, keys and values of one token: a block has both numbers of each pair
 * that is rotated, so that it rotates and stores what it makes. The bits are those of rotate_store.
 */
#ifndef RAD_CUDA_PRODUCTS_HEADS_H
#define RAD_CUDA_PRODUCTS_HEADS_H

#include "kernels/cuda/cache_device.h"

/* What a block needs behind its product, looked up beside the loads of weights: the numbers of its
 * pairs, and its head's place in the cache. In shared memory. */
struct heads_shared {
    float cosines[32], sines[32]; /* of each lane's row */
    uint8_t *tile;                /* of keys, or of values; NULL: nowhere */
    uint32_t slot;
};

RAD_DEVICE heads_shared *heads_shared_at(void)
{
    RAD_SHARED(heads_shared, shared, 1);
    return shared;
}

/* Whether a block's rows are two runs, half a head apart. */
RAD_DEVICE bool heads_are_apart(const rad_cuda_few_arguments &a, uint32_t part)
{
    return a.heads.table != nullptr && part < 2 && a.heads.interleaved == 0;
}

/* The row of a block's lane, of the part's: first_row + lane_row but where pairs are half a head
 * apart. */
RAD_DEVICE uint32_t heads_row(const rad_cuda_few_arguments &a, uint32_t part, uint32_t first_row,
                              uint32_t lane_row)
{
    if (!heads_are_apart(a, part))
        return first_row + lane_row;
    const uint32_t half = 1u << (a.rows_log2 - 1), of_head = first_row % a.heads.dim;
    return first_row - of_head + of_head / 2 + (lane_row & (half - 1)) +
           (lane_row >= half ? a.heads.dim / 2 : 0);
}

/* By the first warp. row: the lane's. */
RAD_DEVICE void heads_look_up(const rad_cuda_few_arguments &a, uint32_t part, uint32_t row)
{
    heads_shared *shared = heads_shared_at();
    const rad_cuda_heads &h = a.heads;
    const uint32_t lane = rad_lane(), half = h.dim / 2, of_head = row % h.dim;
    const uint32_t pair = h.interleaved != 0 ? of_head / 2 : of_head % half;
    if (part < 2) {
        shared->cosines[lane] = h.table[pair];
        shared->sines[lane] = h.table[half + pair];
    }
    if (part > 0 && lane == 0) {
        const rad_cuda_row at = *h.row;
        const uint32_t head = row / (part == 1 ? h.dim : h.value_dim);
        shared->slot = at.position % RAD_TILE_KEYS;
        shared->tile = at.end == 0
                           ? nullptr
                           : rad_cache_page(h.pages, at.sequence, at.position / RAD_TILE_KEYS) +
                                 h.first + (uint64_t)head * (h.key_bytes + h.value_bytes) +
                                 (part == 2 ? h.key_bytes : 0);
    }
}

/* By the first warp: y is the product's value of the lane's row, of lanes up to the block's rows.
 */
RAD_DEVICE void heads_finish(const rad_cuda_few_arguments &a, uint32_t part, uint32_t row,
                             bool is_there, float y)
{
    const heads_shared *shared = heads_shared_at();
    const rad_cuda_heads &h = a.heads;
    const uint32_t lane = rad_lane(), apart = h.interleaved != 0 ? 1 : 1u << (a.rows_log2 - 1);
    const float other = rad_shuffle_xor(y, apart);
    if (!is_there)
        return;
    if (part < 2) {
        const float cosine = shared->cosines[lane], sine = shared->sines[lane];
        y = (lane & apart) == 0 ? rad_fma(y, cosine, -(other * sine))
                                : rad_fma(other, sine, y * cosine);
    }
    a.parts[part].y[row] = y;
    if (part == 1 && shared->tile != nullptr)
        store_number(shared->tile, row % h.dim * RAD_TILE_KEYS + shared->slot, h.key_type, y);
    if (part == 2 && shared->tile != nullptr)
        store_number(shared->tile, shared->slot * h.value_dim + row % h.value_dim, h.value_type, y);
}

#endif

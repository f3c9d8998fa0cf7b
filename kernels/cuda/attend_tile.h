/* Attention of some queries to one tile of keys, by one warp: lane s has slot s of the keys, and
 * four dimensions of the values. In the order of kernels/cpu/layer.h: equal bits. */
#ifndef RAD_CUDA_ATTEND_TILE_H
#define RAD_CUDA_ATTEND_TILE_H

#include "kernels/cuda/cache_device.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels_layer.h"

#define MINUS_INFINITY  rad_float(0xff800000u)
#define KEY_BATCH       8 /* loads of keys, or of values, that are under way together */
#define VALUE_BATCH     4
#define GREATEST_WEIGHT 32767.0f

#define LOG2_E 0x1.715476p+0f

/* Attention by halves alone: e^x in few steps; and what states are scaled by instead of their
 * maximum, a multiple of 8 next to it: it seldom changes. */
RAD_DEVICE float halves_exp(float x)
{
    return rad_exp2(x * LOG2_E);
}

RAD_DEVICE float level_of(float most)
{
    return rad_round(most * 0.125f) * 8.0f;
}

/* What a block knows of its queries, in shared memory. */
template <int ROWS> struct attend_queries {
    float *numbers; /* [key_dim][ROWS]; integers: words [8 * blocks][ROWS], scales [blocks][ROWS],
                       sums [blocks][ROWS] */
    uint32_t *position, *end; /* [ROWS] */
    float *slope;
};

/* What a warp needs besides. */
template <int ROWS> struct attend_scratch {
    float *probabilities; /* [RAD_TILE_KEYS][ROWS] */
    uint32_t *weights;    /* [ROWS][RAD_TILE_KEYS / 2]: two integers of 16 bits */
    uint32_t *ranges;     /* [ROWS]: the slots that a query sees, first | last << 8 */
};

/* Which slots of the tile a query sees: first .. last - 1. */
struct slot_range {
    uint32_t first, last;
};

RAD_DEVICE slot_range unpack_range(uint32_t packed)
{
    return {packed & 255u, packed >> 8};
}

RAD_DEVICE bool has_slot(uint32_t packed, uint32_t slot)
{
    return slot >= (packed & 255u) && slot < packed >> 8;
}

RAD_DEVICE uint32_t first_visible(const rad_cuda_attend_arguments &a, uint32_t position)
{
    return a.window != 0 && position >= a.window ? position - a.window + 1 : 0;
}

/* Of the sinks, or of its window, which begins behind the sinks. */
RAD_DEVICE slot_range visible_slots(const rad_cuda_attend_arguments &a, uint32_t position,
                                    uint32_t end, uint32_t tile, bool of_sinks)
{
    uint32_t start = tile * RAD_TILE_KEYS;
    uint32_t low = first_visible(a, position), high = end;
    if (of_sinks) {
        low = 0;
        high = high < a.sinks ? high : a.sinks;
    } else if (low < a.sinks) {
        low = a.sinks;
    }
    low = low > start ? low - start : 0;
    high = high > start ? high - start : 0;
    low = low < RAD_TILE_KEYS ? low : RAD_TILE_KEYS;
    high = high < RAD_TILE_KEYS ? high : RAD_TILE_KEYS;
    return {low < high ? low : high, high};
}

/* Position of the tile's first slot less that of the query; to sinks both inside the cache. */
RAD_DEVICE int32_t distance_of(const rad_cuda_attend_arguments &a, uint32_t position, uint32_t tile,
                               bool of_sinks)
{
    uint32_t last = a.sinks + a.window - 1;
    return (int32_t)(tile * RAD_TILE_KEYS - (of_sinks && position > last ? last : position));
}

/* ROWS numbers that stand side by side. */
template <int ROWS> RAD_DEVICE void load_rows(const float *from, float out[ROWS])
{
    if (ROWS % 4 == 0) {
#pragma unroll
        for (int r = 0; r < ROWS; r += 4) {
            rad_f4 four = rad_floats(rad_load16(from + r));
            out[r] = four.x;
            out[r + 1] = four.y;
            out[r + 2] = four.z;
            out[r + 3] = four.w;
        }
    } else {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            out[r] = from[r];
    }
}

/* n numbers of the formats without blocks, as they were loaded, to floats. */
template <int n> RAD_DEVICE void widen(const uint32_t raw[n], uint32_t type, float out[n])
{
    switch (type) {
    case RAD_CACHE_F32:
#pragma unroll
        for (int i = 0; i < n; i++)
            out[i] = rad_float(raw[i]);
        break;
    case RAD_CACHE_F16:
#pragma unroll
        for (int i = 0; i < n; i++)
            out[i] = rad_half_to_float((uint16_t)raw[i]);
        break;
    case RAD_CACHE_BF16:
#pragma unroll
        for (int i = 0; i < n; i++)
            out[i] = rad_bf16_to_float((uint16_t)raw[i]);
        break;
    default: /* a half with the same fields is 256 times as small; its NaN is none there */
#pragma unroll
        for (int i = 0; i < n; i++) {
            uint32_t half = (raw[i] & 0x80u) << 8 | (raw[i] & 0x7fu) << 7;
            float x = rad_half_to_float((uint16_t)half) * 256.0f;
            out[i] = (raw[i] & 0x7fu) == 0x7fu ? rad_float(0x7fc00000u) : x;
        }
        break;
    }
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Keys as [key_dim][RAD_TILE_KEYS]: a chain of fma over the dimensions. */
template <int ROWS>
RAD_DEVICE void score_numbers(const rad_cuda_attend_arguments &a, const float *queries,
                              const uint8_t *keys, float scores[ROWS])
{
    for (uint32_t d = 0; d < a.key_dim; d += KEY_BATCH) {
        uint32_t raw[KEY_BATCH];
#pragma unroll
        for (uint32_t i = 0; i < KEY_BATCH; i++) {
            uint32_t dim = d + i < a.key_dim ? d + i : d;
            uint32_t index = dim * RAD_TILE_KEYS + rad_lane();
            raw[i] = a.key_type == RAD_CACHE_F32   ? ((const uint32_t *)keys)[index]
                     : a.key_type == RAD_CACHE_FP8 ? (uint32_t)keys[index]
                                                   : (uint32_t)((const uint16_t *)keys)[index];
        }
        float key[KEY_BATCH];
        widen<KEY_BATCH>(raw, a.key_type, key);
#pragma unroll
        for (uint32_t i = 0; i < KEY_BATCH; i++) {
            if (d + i >= a.key_dim)
                break;
            float of_queries[ROWS];
            load_rows<ROWS>(queries + (d + i) * ROWS, of_queries);
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                scores[r] = rad_fma(of_queries[r], key[i], scores[r]);
        }
    }
}

/* Keys in integers: exact sums over 32 dimensions, then a chain of fma over these blocks. */
template <int ROWS>
RAD_DEVICE void score_integers(const rad_cuda_attend_arguments &a, const float *queries,
                               const uint8_t *keys, float scores[ROWS])
{
    uint32_t n_blocks = rad_integer_blocks(a.key_dim);
    const int32_t *words = (const int32_t *)queries;
    const float *scales = queries + n_blocks * 8 * ROWS;
    const int32_t *sums = (const int32_t *)(scales + n_blocks * ROWS);
    const uint16_t *key_scales = rad_tile_scales(keys, a.key_bytes, a.key_dim);
    bool nibbles = a.key_type == RAD_CACHE_Q4_0;
    for (uint32_t block = 0; block < n_blocks; block++) {
        int32_t exact[ROWS];
        uint32_t left = a.key_dim - block * 32;
        uint32_t n_words = left < 32 ? (left + 3) / 4 : 8, raw[8];
        const uint32_t *at =
            (const uint32_t *)keys + block * (nibbles ? 4 : 8) * RAD_TILE_KEYS + rad_lane();
#pragma unroll
        for (uint32_t w = 0; w < 8; w++)
            raw[w] = w < n_words ? at[(nibbles ? w / 2 : w) * RAD_TILE_KEYS] : 0;
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            exact[r] = nibbles ? -8 * sums[block * ROWS + r] : 0;
#pragma unroll
        for (uint32_t w = 0; w < 8; w++) {
            if (w >= n_words)
                break;
            uint32_t four = nibbles ? raw[w] >> (w % 2 * 4) & 0x0f0f0f0fu : raw[w] ^ 0x80808080u;
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                exact[r] = rad_dp4a((int32_t)four, words[(block * 8 + w) * ROWS + r], exact[r]);
        }
        float key_scale = rad_half_to_float(key_scales[block * RAD_TILE_KEYS + rad_lane()]);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            scores[r] = rad_fma(scales[block * ROWS + r] * key_scale, (float)exact[r], scores[r]);
    }
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* Dimensions dim .. dim + 3 of the values in `slot`, as they are stored; `aligned`: the four can be
 * loaded together. */
RAD_DEVICE void load_values(const rad_cuda_attend_arguments &a, const uint8_t *values,
                            uint32_t slot, uint32_t dim, bool aligned, uint32_t raw[4])
{
    uint32_t at = slot * a.value_dim + dim;
    if (!aligned) {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t from = dim + i < a.value_dim ? at + i : at;
            raw[i] = a.value_type == RAD_CACHE_F32   ? ((const uint32_t *)values)[from]
                     : a.value_type == RAD_CACHE_FP8 ? (uint32_t)values[from]
                                                     : (uint32_t)((const uint16_t *)values)[from];
        }
    } else if (a.value_type == RAD_CACHE_F32) {
        rad_u4 v = rad_load16(values + at * 4);
        raw[0] = v.x;
        raw[1] = v.y;
        raw[2] = v.z;
        raw[3] = v.w;
    } else if (a.value_type == RAD_CACHE_FP8) {
        uint32_t v = *(const uint32_t *)(values + at);
#pragma unroll
        for (int i = 0; i < 4; i++)
            raw[i] = v >> (8 * i) & 255u;
    } else {
        rad_u2 v = rad_load8(values + at * 2);
        raw[0] = v.x & 0xffffu;
        raw[1] = v.x >> 16;
        raw[2] = v.y & 0xffffu;
        raw[3] = v.y >> 16;
    }
}

/* Values as [RAD_TILE_KEYS][value_dim]: for each dimension a chain of fma over the slots that a
 * query sees. `same`: all see slots first .. last - 1; else first and last go round all of them. */
template <int ROWS>
RAD_DEVICE void output_numbers(const rad_cuda_attend_arguments &a, const uint8_t *values,
                               const float *probabilities, const uint32_t *ranges, slot_range all,
                               bool same, uint32_t n_live, float *states, uint64_t state_stride)
{
    bool aligned = a.value_dim % 4 == 0;
    for (uint32_t chunk = 0; chunk < a.value_dim; chunk += 128) {
        uint32_t dim = chunk + rad_lane() * 4;
        bool has_some = dim < a.value_dim;
        float sums[ROWS][4];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = 0.0f;
        for (uint32_t slot = all.first; has_some && slot < all.last; slot += VALUE_BATCH) {
            uint32_t raw[4 * VALUE_BATCH];
            float v[4 * VALUE_BATCH];
#pragma unroll
            for (uint32_t i = 0; i < VALUE_BATCH; i++)
                load_values(a, values, slot + i < all.last ? slot + i : slot, dim, aligned,
                            raw + 4 * i);
            widen<4 * VALUE_BATCH>(raw, a.value_type, v);
#pragma unroll
            for (uint32_t i = 0; i < VALUE_BATCH; i++) {
                if (slot + i >= all.last)
                    break;
                float p[ROWS];
                load_rows<ROWS>(probabilities + (slot + i) * ROWS, p);
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    if (!same && !has_slot(ranges[r], slot + i))
                        continue;
#pragma unroll
                    for (int j = 0; j < 4; j++)
                        sums[r][j] = rad_fma(p[r], v[4 * i + j], sums[r][j]);
                }
            }
        }
#pragma unroll
        for (uint32_t r = 0; r < ROWS; r++) {
            if (has_some && r < n_live) {
#pragma unroll
                for (uint32_t j = 0; j < 4; j++)
                    if (dim + j < a.value_dim)
                        states[r * state_stride + dim + j] = sums[r][j];
            }
        }
    }
}

/* Of the lane's slot the weight that a probability is multiplied with, 0 where it is hidden, and
 * the step of the sums: the greatest scale of those that are seen stands for 32767 steps. */
RAD_DEVICE float weigh_slot(uint16_t scale, uint32_t range, float *step)
{
    bool visible = has_slot(range, rad_lane());
    uint32_t greatest = visible ? scale & 0x7fffu : 0u;
    for (uint32_t mask = 16; mask > 0; mask /= 2) {
        uint32_t other = rad_shuffle_xor(greatest, mask);
        greatest = other > greatest ? other : greatest;
    }
    float largest = rad_half_to_float((uint16_t)greatest);
    float factor = largest > 0.0f ? GREATEST_WEIGHT / largest : 0.0f;
    *step = largest / GREATEST_WEIGHT;
    return visible ? rad_half_to_float(scale) * factor : 0.0f;
}

/* Values in integers, by blocks of 32 dimensions, of which a lane has one: exact sums of the
 * probabilities as integers times the values. */
template <int ROWS>
RAD_DEVICE void output_integers(const rad_cuda_attend_arguments &a, const uint8_t *values,
                                const attend_scratch<ROWS> &scratch, uint32_t n_live, float *states,
                                uint64_t state_stride)
{
    bool nibbles = a.value_type == RAD_CACHE_Q4_0;
    const uint16_t *scales = rad_tile_scales(values, a.value_bytes, a.value_dim);
    uint32_t stride = 2 * rad_integer_value_row(a.value_type, a.value_dim), lane = rad_lane();
    for (uint32_t block = 0; block < rad_integer_blocks(a.value_dim); block++) {
        uint32_t dim = block * 32 + lane;
        uint16_t scale = scales[block * RAD_TILE_KEYS + lane];
        rad_warp_barrier();
#pragma unroll
        for (uint32_t r = 0; r < ROWS; r++) {
            float step, weight = weigh_slot(scale, scratch.ranges[r], &step);
            float p = scratch.probabilities[lane * ROWS + r];
            ((uint16_t *)scratch.weights)[r * RAD_TILE_KEYS + lane] =
                (uint16_t)rad_bits(rad_fma(p, weight, RAD_F32_ROUND));
            if (lane == 0 && r < n_live)
                states[r * state_stride + a.value_dim + 2 + block] = step;
        }
        rad_warp_barrier();
        int32_t sums[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            sums[r] = 0;
        /* Of a last block that is shorter, lanes behind its end repeat its first dimension. */
        uint32_t of_block = dim < a.value_dim ? lane : 0;
        const uint8_t *at =
            values + (nibbles ? block * 32 + of_block % 16 * 2 : (block * 32 + of_block) * 2);
#pragma unroll 4
        for (uint32_t pair = 0; pair < RAD_TILE_KEYS / 2; pair++) {
            uint32_t two = *(const uint16_t *)(at + pair * stride);
            int32_t v0 = nibbles ? (int32_t)(two >> (of_block / 16 * 4) & 15u) - 8 : (int8_t)two;
            int32_t v1 =
                nibbles ? (int32_t)(two >> (8 + of_block / 16 * 4) & 15u) - 8 : (int8_t)(two >> 8);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                uint32_t w = scratch.weights[r * (RAD_TILE_KEYS / 2) + pair];
                sums[r] += (int16_t)w * v0 + (int16_t)(w >> 16) * v1;
            }
        }
#pragma unroll
        for (uint32_t r = 0; r < ROWS; r++) {
            if (dim < a.value_dim && r < n_live)
                states[r * state_stride + dim] = (float)sums[r];
        }
    }
}

/* ---- a tile ---------------------------------------------------------------------------------- */

/* Scores become probabilities, and the maximum and sum of each query go to its state. */
template <int ROWS>
RAD_DEVICE void normalise(const rad_cuda_attend_arguments &a, const uint32_t *ranges,
                          float scores[ROWS], uint32_t n_live, float *probabilities, float *states,
                          uint64_t state_stride)
{
    uint32_t lane = rad_lane();
#pragma unroll
    for (uint32_t r = 0; r < ROWS; r++) {
        bool visible = has_slot(ranges[r], lane);
        float score = visible ? scores[r] : MINUS_INFINITY;
        float most = score > MINUS_INFINITY ? score : MINUS_INFINITY; /* leaves NaN out */
#pragma unroll
        for (uint32_t mask = 16; mask > 0; mask /= 2) {
            float other = rad_shuffle_xor(most, mask);
            most = other > most ? other : most;
        }
        float p = rad_expf_below_one(score - most);
        p = visible ? p : 0.0f;
        float sum = p;
#pragma unroll
        for (uint32_t mask = 16; mask > 0; mask /= 2)
            sum = sum + rad_shuffle_xor(sum, mask);
        probabilities[lane * ROWS + r] = p;
        if (lane == 0 && r < n_live) {
            states[r * state_stride + a.value_dim] = most;
            states[r * state_stride + a.value_dim + 1] = sum;
        }
    }
}

/* A tile's own state for each of the n_live queries: outputs, maximum, sum, steps. What a query
 * that sees nothing of the tile has attended to is maximum -infinity and sum 0. */
template <int ROWS>
RAD_DEVICE void attend_tile(const rad_cuda_attend_arguments &a, const attend_queries<ROWS> &queries,
                            const attend_scratch<ROWS> &scratch, const uint8_t *keys, uint32_t tile,
                            bool of_sinks, uint32_t n_live, float *states, uint64_t state_stride)
{
    slot_range all = {RAD_TILE_KEYS, 0};
    bool same = true;
    float scores[ROWS];
    rad_warp_barrier(); /* what was read of the tile before */
    if (rad_lane() < ROWS) {
        uint32_t r = rad_lane();
        slot_range seen = visible_slots(a, queries.position[r], queries.end[r], tile, of_sinks);
        scratch.ranges[r] = seen.first | seen.last << 8;
    }
    rad_warp_barrier();
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        slot_range seen = unpack_range(scratch.ranges[r]);
        same = same && scratch.ranges[r] == scratch.ranges[0];
        if (seen.first < seen.last) {
            all.first = seen.first < all.first ? seen.first : all.first;
            all.last = seen.last > all.last ? seen.last : all.last;
        }
        scores[r] = 0.0f;
    }
    if (all.first < all.last) {
        if (rad_is_integer_cache(a.key_type))
            score_integers<ROWS>(a, queries.numbers, keys, scores);
        else
            score_numbers<ROWS>(a, queries.numbers, keys, scores);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        scores[r] = scores[r] * a.scale;
        if (a.cap > 0.0f)
            scores[r] = a.cap * rad_tanhf(scores[r] / a.cap);
        if (a.slopes != NULL) {
            int32_t distance = distance_of(a, queries.position[r], tile, of_sinks);
            scores[r] =
                rad_fma(queries.slope[r], (float)(distance + (int32_t)rad_lane()), scores[r]);
        }
    }
    normalise<ROWS>(a, scratch.ranges, scores, n_live, scratch.probabilities, states, state_stride);
    rad_warp_barrier();
    if (all.first >= all.last)
        return;
    const uint8_t *values = keys + a.key_bytes;
    if (rad_is_integer_cache(a.value_type))
        output_integers<ROWS>(a, values, scratch, n_live, states, state_stride);
    else
        output_numbers<ROWS>(a, values, scratch.probabilities, scratch.ranges, all, same, n_live,
                             states, state_stride);
}

#endif

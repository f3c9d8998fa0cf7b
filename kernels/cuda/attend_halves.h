/* Attention by matrix instructions, for keys and values in F16: a warp has 16 queries and a tile of
 * 32 keys. A query times the score's scale is the sum of two halves, so that scores are as exact as
 * in floats; probabilities are rounded to halves, as their sum is then too. Every sum has one
 * order, whatever the company of a query, and tiles merge as those of attend_tile.h do.
 *
 * Of a fragment (device.h) a lane has rows lane / 4 and lane / 4 + 8: queries 0 and 1 of the lane.
 */
#ifndef RAD_CUDA_ATTEND_HALVES_H
#define RAD_CUDA_ATTEND_HALVES_H

#include "kernels/cuda/attend_tile.h"

#define HALF_ROWS RAD_CUDA_ATTEND_FEW_ROWS /* queries of a warp */
#define KEY_PARTS 4                        /* eight slots each */

/* Queries in shared memory: rows of key_dim halves and 16 bytes, so that eight rows meet all
 * banks. */
struct half_queries {
    uint8_t *high, *low;
    uint32_t *position, *end;
    float *slope;
};

/* What a lane knows of its two queries and a tile. */
struct half_tile {
    uint32_t p[2][4];      /* probabilities, as the first operand of 16 slots each */
    float most[2], sum[2]; /* maximum -infinity and sum 0: nothing is seen */
};

/* Where 16 bytes of a staged tile stand. Keys: 8 slots of a dimension; values: 8 dimensions of a
 * slot. Exchanged so that eight rows meet all banks. */
RAD_DEVICE uint32_t staged_key(uint32_t dim, uint32_t part)
{
    return dim * 64 + ((part ^ (dim >> 1 & 3u)) * 16);
}

RAD_DEVICE uint32_t staged_value(uint32_t slot, uint32_t part, uint32_t pitch)
{
    return slot * pitch + ((part ^ (slot & 7u)) * 16);
}

/* Begins to copy a tile, by `threads` threads. Values of slots that nobody sees become zeros: they
 * are multiplied with 0, which must give 0. */
RAD_DEVICE void stage_tile(const rad_cuda_attend_arguments &a, const uint8_t *keys, slot_range seen,
                           uint8_t *staged, uint32_t thread, uint32_t threads)
{
    const uint8_t *values = keys + a.key_bytes;
    uint8_t *staged_values = staged + a.key_dim * 64;
    uint32_t parts = a.value_dim / 8, pitch = rad_cuda_attend_value_pitch(a.value_dim);
    for (uint32_t i = thread; i < a.key_dim * KEY_PARTS; i += threads)
        rad_copy_async16(staged + staged_key(i / KEY_PARTS, i % KEY_PARTS), keys + i * 16);
    for (uint32_t i = thread; i < RAD_TILE_KEYS * parts; i += threads) {
        uint32_t slot = i / parts, part = i - slot * parts;
        uint8_t *to = staged_values + staged_value(slot, part, pitch);
        if (slot >= seen.first && slot < seen.last)
            rad_copy_async16(to, values + i * 16);
        else
            rad_store16(to, {0, 0, 0, 0});
    }
}

/* A query, times the scale, as two halves: one row of the shared queries, by a warp. */
RAD_DEVICE void split_query(const rad_cuda_attend_arguments &a, const float *query, uint8_t *high,
                            uint8_t *low)
{
    for (uint32_t d = rad_lane(); d < a.key_dim; d += 32) {
        float x = query[d] * a.scale;
        uint16_t half = rad_float_to_half(x);
        ((uint16_t *)high)[d] = half;
        ((uint16_t *)low)[d] = rad_float_to_half(x - rad_half_to_float(half));
    }
}

/* scores += queries times keys, by increasing dimension, the low halves of 16 dimensions first. */
RAD_DEVICE void score_halves(const rad_cuda_attend_arguments &a, const half_queries &queries,
                             uint32_t first_row, const uint8_t *staged, float scores[KEY_PARTS][4])
{
    const uint32_t lane = rad_lane(), pitch = rad_cuda_attend_pitch(a.key_dim);
    const uint32_t query_at = (first_row + lane % 16) * pitch + lane / 16 * 16;
    const uint32_t dim = lane % 16, part = lane / 16;
#pragma unroll 2
    for (uint32_t d = 0; d < a.key_dim; d += 16) {
        uint32_t high[4], low[4], keys[2][4];
        rad_ldmatrix_x4(low, queries.low + query_at + d * 2);
        rad_ldmatrix_x4(high, queries.high + query_at + d * 2);
        rad_ldmatrix_x4_trans(keys[0], staged + staged_key(d + dim, part));
        rad_ldmatrix_x4_trans(keys[1], staged + staged_key(d + dim, part + 2));
#pragma unroll
        for (int i = 0; i < KEY_PARTS; i++) {
            rad_mma_f16(scores[i], low, keys[i / 2] + i % 2 * 2);
            rad_mma_f16(scores[i], high, keys[i / 2] + i % 2 * 2);
        }
    }
}

RAD_DEVICE uint32_t two_halves(float x, float y)
{
    return (uint32_t)rad_float_to_half(x) | (uint32_t)rad_float_to_half(y) << 16;
}

/* Scores of a lane's query to probabilities; `of` is 0 or 1. */
RAD_DEVICE void normalise_halves(const rad_cuda_attend_arguments &a, slot_range seen, float slope,
                                 int32_t distance, int of, float scores[KEY_PARTS][4],
                                 half_tile *tile)
{
    const uint32_t four = rad_lane() % 4;
    float most = MINUS_INFINITY, sum = 0.0f;
#pragma unroll
    for (uint32_t i = 0; i < KEY_PARTS; i++) {
#pragma unroll
        for (uint32_t j = 0; j < 2; j++) {
            uint32_t slot = i * 8 + four * 2 + j;
            float score = scores[i][of * 2 + j];
            if (a.cap > 0.0f)
                score = a.cap * rad_tanhf(score / a.cap);
            if (a.slopes != NULL)
                score = rad_fma(slope, (float)(distance + (int32_t)slot), score);
            score = slot >= seen.first && slot < seen.last ? score : MINUS_INFINITY;
            scores[i][of * 2 + j] = score;
            most = score > most ? score : most; /* leaves NaN out */
        }
    }
#pragma unroll
    for (uint32_t mask = 1; mask < 4; mask *= 2) {
        float other = rad_shuffle_xor(most, mask);
        most = other > most ? other : most;
    }
#pragma unroll
    for (uint32_t i = 0; i < KEY_PARTS; i++) {
        float p[2];
#pragma unroll
        for (uint32_t j = 0; j < 2; j++) {
            uint32_t slot = i * 8 + four * 2 + j;
            p[j] = rad_expf_below_one(scores[i][of * 2 + j] - most);
            p[j] = slot >= seen.first && slot < seen.last ? p[j] : 0.0f;
        }
        uint32_t two = two_halves(p[0], p[1]);
        tile->p[i / 2][i % 2 * 2 + of] = two;
        sum = sum + (rad_half_to_float((uint16_t)two) + rad_half_to_float((uint16_t)(two >> 16)));
    }
    sum = sum + rad_shuffle_xor(sum, 1u);
    sum = sum + rad_shuffle_xor(sum, 2u);
    tile->most[of] = most;
    tile->sum[of] = sum;
}

/* Scores and probabilities of a warp's 16 queries from first_row on. False when none of them sees
 * anything of the tile. */
RAD_DEVICE bool attend_halves(const rad_cuda_attend_arguments &a, const half_queries &queries,
                              uint32_t first_row, const uint8_t *staged, uint32_t tile,
                              bool of_sinks, half_tile *out)
{
    slot_range seen[2];
    float slope[2], scores[KEY_PARTS][4];
    int32_t distance[2];
#pragma unroll
    for (int of = 0; of < 2; of++) {
        uint32_t row = first_row + rad_lane() / 4 + 8 * of, position = queries.position[row];
        seen[of] = visible_slots(a, position, queries.end[row], tile, of_sinks);
        distance[of] = distance_of(a, position, tile, of_sinks);
        slope[of] = queries.slope[row];
    }
    if (!rad_any(seen[0].first < seen[0].last || seen[1].first < seen[1].last))
        return false;
#pragma unroll
    for (int i = 0; i < KEY_PARTS; i++)
        scores[i][0] = scores[i][1] = scores[i][2] = scores[i][3] = 0.0f;
    score_halves(a, queries, first_row, staged, scores);
#pragma unroll
    for (int of = 0; of < 2; of++)
        normalise_halves(a, seen[of], slope[of], distance[of], of, scores, out);
    return true;
}

/* Outputs of 16 dimensions from `dim` on: two fragments of probabilities times values. */
RAD_DEVICE void output_halves(const rad_cuda_attend_arguments &a, const half_tile &tile,
                              const uint8_t *staged, uint32_t dim, float out[2][4])
{
    const uint8_t *values = staged + a.key_dim * 64;
    const uint32_t lane = rad_lane(), pitch = rad_cuda_attend_value_pitch(a.value_dim);
#pragma unroll
    for (int i = 0; i < 2; i++)
        out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0.0f;
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
        uint32_t of_values[4];
        uint32_t slot = half * 16 + lane % 16, part = dim / 8 + lane / 16;
        rad_ldmatrix_x4_trans(of_values, values + staged_value(slot, part, pitch));
        rad_mma_f16(out[0], tile.p[half], of_values);
        rad_mma_f16(out[1], tile.p[half], of_values + 2);
    }
}

#endif

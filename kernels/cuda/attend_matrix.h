/* What attention by matrix instructions has in common for all kinds of keys and values. A warp has
 * 16 queries; of a fragment (device.h) a lane has rows lane / 4 and lane / 4 + 8: its queries 0
 * and 1. */
#ifndef RAD_CUDA_ATTEND_MATRIX_H
#define RAD_CUDA_ATTEND_MATRIX_H

#include "kernels/cuda/attend_tile.h"

#define WARP_ROWS RAD_CUDA_ATTEND_FEW_ROWS
#define KEY_PARTS 4 /* eight slots each */

/* Number i of rows of n, for i = first, first + step, ..: its row and column, without divisions on
 * the way. */
struct row_walk {
    uint32_t row, column, n, rows_on, columns_on;

    RAD_MEMBER row_walk(uint32_t first, uint32_t step, uint32_t of_row)
        : row(first / of_row), column(first % of_row), n(of_row), rows_on(step / of_row),
          columns_on(step % of_row)
    {
    }

    RAD_MEMBER void go_on()
    {
        bool wraps = column + columns_on >= n;
        row += rows_on + (wraps ? 1 : 0);
        column += columns_on - (wraps ? n : 0);
    }
};

/* Queries in shared memory, in the kind's form; what each sees. */
struct matrix_queries {
    uint8_t *numbers;
    uint32_t rows;
    bool two; /* a lane's second query may be one: else nothing is computed of it */
    uint32_t *position, *end;
    float *slope;
};

/* Of 128 dimensions of a query the lane's four, 0 behind its end. query NULL: there is none. */
RAD_DEVICE void load_query(const rad_cuda_attend_arguments &a, const float *query, uint32_t first,
                           float x[4])
{
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t d = first + i * 32 + rad_lane();
        x[i] = query != NULL && d < a.key_dim ? query[d] : 0.0f;
    }
}

/* What a lane's two queries see of a tile. */
struct matrix_view {
    slot_range seen[2];
    int32_t distance[2];
    float slope[2];
};

/* False when none of the warp's queries sees anything. */
RAD_DEVICE bool look_at_tile(const rad_cuda_attend_arguments &a, const matrix_queries &queries,
                             uint32_t first_row, uint32_t tile, bool of_sinks, matrix_view *view)
{
#pragma unroll
    for (int of = 0; of < 2; of++) {
        uint32_t row = first_row + rad_lane() / 4 + 8 * of, position = queries.position[row];
        view->seen[of] = visible_slots(a, position, queries.end[row], tile, of_sinks);
        view->distance[of] = distance_of(a, position, tile, of_sinks);
        view->slope[of] = queries.slope[row];
    }
    return rad_any(view->seen[0].first < view->seen[0].last ||
                   view->seen[1].first < view->seen[1].last);
}

/* The slot of a lane's number of a fragment of scores: part 0 to 3, j 0 or 1. */
RAD_DEVICE uint32_t slot_of(uint32_t part, uint32_t j)
{
    return part * 8 + rad_lane() % 4 * 2 + j;
}

RAD_DEVICE bool is_seen(slot_range seen, uint32_t slot)
{
    return slot >= seen.first && slot < seen.last;
}

/* Scores of a lane's query `of` become probabilities, 0 where hidden; returns the maximum. What few
 * models want stands apart from the others' way, which then is short. */
RAD_DEVICE float make_probabilities(const rad_cuda_attend_arguments &a, const matrix_view &view,
                                    int of, float scores[KEY_PARTS][4])
{
    float most = MINUS_INFINITY;
#pragma unroll
    for (uint32_t i = 0; i < 2 * KEY_PARTS; i++)
        scores[i / 2][of * 2 + i % 2] *= a.scale;
    if (a.cap > 0.0f) {
#pragma unroll
        for (uint32_t i = 0; i < 2 * KEY_PARTS; i++) {
            float *score = &scores[i / 2][of * 2 + i % 2];
            *score = a.cap * rad_tanhf(*score / a.cap);
        }
    }
    if (a.slopes != NULL) {
#pragma unroll
        for (uint32_t i = 0; i < 2 * KEY_PARTS; i++) {
            float *score = &scores[i / 2][of * 2 + i % 2];
            float distance = (float)(view.distance[of] + (int32_t)slot_of(i / 2, i % 2));
            *score = rad_fma(view.slope[of], distance, *score);
        }
    }
#pragma unroll
    for (uint32_t i = 0; i < 2 * KEY_PARTS; i++) {
        float *score = &scores[i / 2][of * 2 + i % 2];
        *score = is_seen(view.seen[of], slot_of(i / 2, i % 2)) ? *score : MINUS_INFINITY;
        most = *score > most ? *score : most; /* leaves NaN out */
    }
#pragma unroll
    for (uint32_t mask = 1; mask < 4; mask *= 2) {
        float other = rad_shuffle_xor(most, mask);
        most = other > most ? other : most;
    }
#pragma unroll
    for (uint32_t i = 0; i < KEY_PARTS; i++) {
#pragma unroll
        for (uint32_t j = 0; j < 2; j++) {
            float p = rad_expf_below_one(scores[i][of * 2 + j] - most);
            scores[i][of * 2 + j] = is_seen(view.seen[of], slot_of(i, j)) ? p : 0.0f;
        }
    }
    return most;
}

#endif

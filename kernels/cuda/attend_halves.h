/* Attention to keys and values in F16 by matrix instructions: the numbers, the same in the kernels
 * of few and of many tokens. A query is the sum of two halves, so that scores are as exact as in
 * floats; probabilities are rounded to halves, as their sum is then too. */
#ifndef RAD_CUDA_ATTEND_HALVES_H
#define RAD_CUDA_ATTEND_HALVES_H

#include "kernels/cuda/attend_matrix.h"

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

/* From that of part 0 or 1 to that of an even number of parts behind it. */
RAD_DEVICE uint32_t moved_part(uint32_t at, uint32_t parts)
{
    return (at ^ (parts & 7u) * 16) + (parts & ~7u) * 16;
}

/* What rounding two numbers to halves left of them, as halves. */
RAD_DEVICE uint32_t left_by_halves(float x, float y, uint32_t rounded)
{
    return rad_two_halves(x - rad_half_to_float((uint16_t)rounded),
                          y - rad_half_to_float((uint16_t)(rounded >> 16)));
}

/* What a query sees of a tile. */
struct half_view {
    slot_range seen;
    int32_t distance;
    float slope;
};

RAD_DEVICE void scale_scores(const rad_cuda_attend_arguments &a, float scores[KEY_PARTS][4])
{
#pragma unroll
    for (int i = 0; i < 4 * KEY_PARTS; i++)
        scores[i / 4][i % 4] *= a.scale;
}

/* What a lane's query `of` does not see becomes -infinity. BENT: scores may be capped, or depend on
 * the distance. */
template <bool BENT>
RAD_DEVICE void hide_scores(const rad_cuda_attend_arguments &a, const half_view &view, int of,
                            float scores[KEY_PARTS][4])
{
#pragma unroll
    for (uint32_t i = 0; i < 2 * KEY_PARTS; i++) {
        uint32_t slot = slot_of(i / 2, i % 2);
        float score = scores[i / 2][of * 2 + i % 2];
        if (BENT && a.cap > 0.0f)
            score = a.cap * rad_tanhf(score / a.cap);
        if (BENT && a.slopes != NULL)
            score = rad_fma(view.slope, (float)(view.distance + (int32_t)slot), score);
        scores[i / 2][of * 2 + i % 2] = is_seen(view.seen, slot) ? score : MINUS_INFINITY;
    }
}

/* Scores of a lane's query `of` to probabilities, as the first operand of 16 slots each; returns
 * the greatest score, where NaN is left out. `empty`: the query sees nothing. */
RAD_DEVICE float weigh_scores(int of, bool empty, const float scores[KEY_PARTS][4],
                              uint32_t p[2][4])
{
    float most = MINUS_INFINITY;
#pragma unroll
    for (int i = 0; i < KEY_PARTS; i++)
        most = rad_max(most, rad_max(scores[i][of * 2], scores[i][of * 2 + 1]));
    most = rad_max(most, rad_shuffle_xor(most, 1u));
    most = rad_max(most, rad_shuffle_xor(most, 2u));
    const float less = empty ? 0.0f : -(most * LOG2_E); /* 2^-infinity is 0 */
#pragma unroll
    for (int i = 0; i < KEY_PARTS; i++) {
        float x = rad_exp2(rad_fma(scores[i][of * 2], LOG2_E, less));
        float y = rad_exp2(rad_fma(scores[i][of * 2 + 1], LOG2_E, less));
        p[i / 2][i % 2 * 2 + of] = rad_two_halves(x, y);
    }
    return most;
}

/* Sums of the probabilities of a lane's two queries, in the order of the matrix instruction. */
RAD_DEVICE void sum_halves(const uint32_t p[2][4], float sums[2])
{
    const uint32_t ones[2] = {0x3c003c00u, 0x3c003c00u};
    float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    rad_mma_f16(c, p[0], ones);
    rad_mma_f16(c, p[1], ones);
    sums[0] = c[0];
    sums[1] = c[2];
}

#endif

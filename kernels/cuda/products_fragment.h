/* Weights as fragments of matrix instructions, and integer sums from them: what products_some.h and
 * products_many.h share. A thread needs the words i and i + 4 of a step of two rows, i being its
 * place among four threads, and a word of each section gives them. */
#ifndef RAD_CUDA_PRODUCTS_FRAGMENT_H
#define RAD_CUDA_PRODUCTS_FRAGMENT_H

#include "kernels/cuda/formats.h"

/* A sum below 2^22 becomes a float without a conversion: the matrix instruction adds it to the bits
 * of 1.5 * 2^23, from which number, as a float, that is taken off again; or that and the part of an
 * offset, sum of quants times offset, which is below 2^22 too, so that nothing is rounded. */
#define RAD_MANY_MIDDLE 12582912.0f
#define RAD_MANY_BITS   0x4b400000

/* ---- weights ----------------------------------------------------------------------------------
 */

/* Of one row, what a thread needs. */
template <class F> struct many_row {
    uint32_t lane[F::N_LANE > 0 ? F::N_LANE : 1];
    uint32_t whole[F::N_WHOLE > 0 ? 4 * F::N_WHOLE : 1];
    uint32_t header[F::N_HEADER > 0 ? F::N_HEADER : 1];
};

/* Where a thread reads: its first row in a chunk, the other one being 8 rows on. The address of its
 * words is one that goes on from chunk to chunk, so that the compiler does not make it anew for
 * each. */
struct many_place {
    rad_weights_row at;
    const uint8_t *word;
};

RAD_DEVICE many_place many_place_at(rad_weights_row at)
{
    return {at, section_at(at, 0, 16) + rad_lane() % 4 * 4};
}

RAD_DEVICE void many_advance(many_place &place, uint64_t bytes)
{
    place.at.chunk += bytes;
    place.word += bytes;
}

RAD_DEVICE rad_weights_row many_other(many_place place)
{
    return {place.at.chunk, place.at.row + 8};
}

/* Of a section the words of both rows. */
RAD_DEVICE void many_words(many_place place, int section, uint32_t &first, uint32_t &other)
{
    const uint8_t *word = place.word + section * (16 * RAD_CUDA_GROUP_ROWS);
    first = *(const uint32_t *)word;
    other = *(const uint32_t *)(word + 8 * 16);
}

/* The header, and sections that are not used in turn. */
template <class F> RAD_DEVICE void many_load(many_row<F> w[2], many_place place)
{
#pragma unroll
    for (int s = 0; s < F::N_LANE && !F::IN_TURN; s++) {
        many_words(place, s, w[0].lane[s], w[1].lane[s]);
    }
    F::load_header(place.at, w[0].header);
    F::load_header(many_other(place), w[1].header);
}

template <class F> RAD_DEVICE void many_load_whole(many_row<F> &w, rad_weights_row at, int s)
{
    rad_u4 v = rad_load16(section_at(at, (uint32_t)(F::N_LANE + s) * 16, 16));
    w.whole[4 * s] = v.x;
    w.whole[4 * s + 1] = v.y;
    w.whole[4 * s + 2] = v.z;
    w.whole[4 * s + 3] = v.w;
}

/* What many_load() brought for the next chunk. */
template <class F> RAD_DEVICE void many_take(many_row<F> &w, const many_row<F> &next)
{
#pragma unroll
    for (int s = 0; s < F::N_LANE && !F::IN_TURN; s++)
        w.lane[s] = next.lane[s];
#pragma unroll
    for (int i = 0; i < F::N_HEADER; i++)
        w.header[i] = next.header[i];
}

/* The sections whose last step this is (-1: all), of the rows' next chunk. */
template <class F> RAD_DEVICE void many_refill(many_row<F> w[2], many_place place, int step)
{
    if constexpr (F::IN_TURN != 0) {
#pragma unroll
        for (int s = 0; s < F::N_LANE; s++) {
            if (step >= 0 && F::last_step(s) != step)
                continue;
            many_words(place, s, w[0].lane[s], w[1].lane[s]);
        }
    }
    if constexpr (F::N_WHOLE > 0) {
#pragma unroll
        for (int s = 0; s < F::N_WHOLE; s++) {
            if (step >= 0 && F::last_step_of_whole(s) != step)
                continue;
            many_load_whole<F>(w[0], place.at, s);
            many_load_whole<F>(w[1], many_other(place), s);
        }
    }
}

template <class F> struct many_view {
    const many_row<F> &w;
    int i;
    RAD_MEMBER uint32_t lane(int section) const
    {
        return w.lane[section];
    }
    RAD_MEMBER uint32_t whole(int section, int word) const
    {
        return w.whole[4 * section + word];
    }
    RAD_MEMBER uint32_t header(int word) const
    {
        return w.header[word];
    }
};

/* The fragment of a step. */
template <class F>
RAD_DEVICE void many_fragment(const many_row<F> w[2], int i, int step, uint32_t a[4])
{
    F::codes(many_view<F>{w[0], i}, step, a[0], a[2]);
    F::codes(many_view<F>{w[1], i}, step, a[1], a[3]);
}

/* ---- sums ---
 */

/* Super-blocks: times the integer sub-scales of 32 or of 16 columns; ternary, row: alone. */
template <class F>
RAD_DEVICE void many_add_integers(const many_row<F> w[2], const uint32_t a[4], const uint32_t b[2],
                                  int step, int32_t sums[4])
{
    if constexpr (F::FAMILY != RAD_CUDA_SUPER) {
        rad_mma_s8(sums, a, b);
    } else if constexpr (F::SUB == 32) {
        const int32_t none[4] = {0, 0, 0, 0};
        int32_t c[4];
        rad_mma_s8_to(c, none, a, b);
#pragma unroll
        for (int i = 0; i < 4; i++)
            sums[i] += F::sub_scale(w[i / 2].header, step) * c[i];
    } else {
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const int32_t none[4] = {0, 0, 0, 0};
            int32_t c[4];
            rad_mma_s8_half_to(c, none, a[2 * k], a[2 * k + 1], b[k]);
#pragma unroll
            for (int i = 0; i < 4; i++)
                sums[i] += F::sub_scale(w[i / 2].header, 2 * step + k) * c[i];
        }
    }
}

/* Four sums s of 16 columns, |s| <= 2032, as bytes: s is low + 64 high. */
RAD_DEVICE void many_split(rad_u2 sums, uint32_t &low, uint32_t &high)
{
    const uint32_t pairs[2] = {sums.x, sums.y};
    low = high = 0;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const int32_t sum = (int16_t)(pairs[k / 2] >> k % 2 * 16);
        low |= ((uint32_t)sum & 63u) << 8 * k;
        high |= ((uint32_t)(sum >> 6) & 255u) << 8 * k;
    }
}

/* Sub-minima or offsets times the sums of 16 columns, of a chunk. */
RAD_DEVICE void many_add_extra(const uint32_t a[4], uint32_t low, uint32_t high, int32_t extra[4])
{
    const int32_t none[4] = {0, 0, 0, 0};
    const uint32_t b_low[2] = {low, 0}, b_high[2] = {high, 0};
    int32_t c[4];
    rad_mma_s8_to(c, none, a, b_high);
#pragma unroll
    for (int i = 0; i < 4; i++)
        c[i] *= 64;
    rad_mma_s8_to(extra, c, a, b_low);
}

/* Sub-scales (what an offset is multiplied with) or sub-minima of 16 columns each: number 4 four +
 * k in byte k. */
template <class F> RAD_DEVICE uint32_t many_factors(const many_row<F> &w, uint32_t four)
{
    if constexpr (F::FAMILY != RAD_CUDA_SUPER)
        return RAD_BITS;
    else if constexpr (F::HAS_MINIMUM || F::OFFSET != 0)
        return F::factors(w.header, four);
    else
        return 0; /* nobody asks */
}

#endif

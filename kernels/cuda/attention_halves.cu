/* Attention by matrix instructions with keys and values in F16. */
#include "kernels/cuda/attend_halves.h"
#include "kernels/cuda/attend_few.h"
#include "kernels/cuda/attend_prompt.h"

/* scores += queries times keys, by increasing dimension, the low halves of 16 dimensions first. */
RAD_DEVICE void score_halves(const rad_cuda_attend_arguments &a, const matrix_queries &queries,
                             uint32_t first_row, const uint8_t *staged, float scores[KEY_PARTS][4])
{
    const uint32_t lane = rad_lane(), pitch = rad_cuda_attend_pitch(a.key_dim);
    const uint32_t query_at = (first_row + lane % 16) * pitch + lane / 16 * 16;
    const uint32_t dim = lane % 16, part = lane / 16;
    const uint8_t *low_queries = queries.numbers + queries.rows * pitch;
#pragma unroll 4
    for (uint32_t d = 0; d < a.key_dim; d += 16) {
        uint32_t high[4], low[4], keys[2][4];
        rad_ldmatrix_x4(low, low_queries + query_at + d * 2);
        rad_ldmatrix_x4(high, queries.numbers + query_at + d * 2);
        rad_ldmatrix_x4_trans(keys[0], staged + staged_key(d + dim, part));
        rad_ldmatrix_x4_trans(keys[1], staged + staged_key(d + dim, part + 2));
#pragma unroll
        for (int i = 0; i < KEY_PARTS; i++) {
            rad_mma_f16(scores[i], low, keys[i / 2] + i % 2 * 2);
            rad_mma_f16(scores[i], high, keys[i / 2] + i % 2 * 2);
        }
    }
}

struct halves {
    static constexpr bool has_steps = false;
    static constexpr int outputs_ahead = 4;

    struct tile {
        uint32_t p[2][4]; /* probabilities, as the first operand of 16 slots each */
        float most[2], sum[2], step[2];
    };

    static RAD_MEMBER uint32_t query_bytes(const rad_cuda_attend_arguments &a)
    {
        return 2 * rad_cuda_attend_pitch(a.key_dim);
    }

    static RAD_MEMBER uint32_t staged_bytes(const rad_cuda_attend_arguments &a)
    {
        return rad_cuda_attend_staged(a.key_dim, a.value_dim);
    }

    static RAD_MEMBER void prepare(const rad_cuda_attend_arguments &a, const float x[4],
                                   uint32_t first, const matrix_queries &queries, uint32_t r)
    {
        const uint32_t pitch = rad_cuda_attend_pitch(a.key_dim);
        uint16_t *high = (uint16_t *)(queries.numbers + r * pitch);
        uint16_t *low = (uint16_t *)(queries.numbers + (queries.rows + r) * pitch);
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t d = first + i * 32 + rad_lane();
            if (d >= a.key_dim)
                break;
            const uint16_t half = rad_float_to_half(x[i]);
            high[d] = half;
            low[d] = rad_float_to_half(x[i] - rad_half_to_float(half));
        }
    }

    /* threads is a multiple of 16: the exchange of parts then is a thread's own. */
    static RAD_MEMBER void stage_keys(const rad_cuda_attend_arguments &a, const uint8_t *keys,
                                      uint8_t *staged, uint32_t thread, uint32_t threads)
    {
        uint8_t *to = staged + staged_key(thread / KEY_PARTS, thread % KEY_PARTS);
        const uint8_t *from = keys + thread * 16;
#pragma unroll
        for (uint32_t first = 0; first < a.key_dim * KEY_PARTS; first += threads)
            if (first + thread < a.key_dim * KEY_PARTS)
                rad_copy_async16(to + first * 16, from + first * 16);
    }

    /* Values of slots that nobody sees become zeros: they are multiplied with 0, which must give
     * 0. */
    static RAD_MEMBER void stage_values(const rad_cuda_attend_arguments &a, const uint8_t *keys,
                                        slot_range seen, uint8_t *staged, uint32_t thread,
                                        uint32_t threads)
    {
        const uint8_t *from = keys + a.key_bytes + thread * 16;
        uint8_t *staged_values = staged + a.key_dim * 64;
        uint32_t parts = a.value_dim / 8, pitch = rad_cuda_attend_value_pitch(a.value_dim);
        if (a.value_dim == 128 && threads == 32)
            return stage_rows_of<128>(from, seen, staged_values, thread);
        if (a.value_dim == 64 && threads == 32)
            return stage_rows_of<64>(from, seen, staged_values, thread);
        row_walk at(thread, threads, parts);
#pragma unroll 1
        for (uint32_t i = thread; i < RAD_TILE_KEYS * parts; i += threads, at.go_on()) {
            uint8_t *to = staged_values + staged_value(at.row, at.column, pitch);
            if (at.row >= seen.first && at.row < seen.last)
                rad_copy_async16(to, from);
            else
                rad_store16(to, {0, 0, 0, 0});
            from += threads * 16;
        }
    }

    /* Values of so many dimensions, by a warp: two or four slots at a time, so that the exchange's
     * lowest bits are a thread's own. */
    template <uint32_t DIMS>
    static RAD_MEMBER void stage_rows_of(const uint8_t *from, slot_range seen, uint8_t *staged,
                                         uint32_t thread)
    {
        constexpr uint32_t PARTS = DIMS / 8, SLOTS = 32 / PARTS;
        const uint32_t slot = thread / PARTS, part = thread % PARTS ^ slot;
#pragma unroll
        for (uint32_t i = 0; i < RAD_TILE_KEYS; i += SLOTS) {
            uint8_t *to = staged + (slot + i) * (DIMS * 2) + (part ^ (i & 7u)) * 16;
            if (slot + i >= seen.first && slot + i < seen.last)
                rad_copy_async16(to, from + i * (DIMS * 2));
            else
                rad_store16(to, {0, 0, 0, 0});
        }
    }

    static RAD_MEMBER bool attend(const rad_cuda_attend_arguments &a, const matrix_queries &queries,
                                  uint32_t first_row, const uint8_t *staged, uint32_t at,
                                  bool of_sinks, tile *out)
    {
        matrix_view view;
        float scores[KEY_PARTS][4];
        if (!look_at_tile(a, queries, first_row, at, of_sinks, &view))
            return false;
#pragma unroll
        for (int i = 0; i < KEY_PARTS; i++)
            scores[i][0] = scores[i][1] = scores[i][2] = scores[i][3] = 0.0f;
        score_halves(a, queries, first_row, staged, scores);
        scale_scores(a, scores);
#pragma unroll
        for (int of = 0; of < 2; of++) {
            if (of > 0 && !queries.two) {
                out->most[1] = MINUS_INFINITY;
                out->step[1] = 0.0f;
                out->p[0][1] = out->p[0][3] = out->p[1][1] = out->p[1][3] = 0;
                break;
            }
            hide_scores<true>(a, {view.seen[of], view.distance[of], view.slope[of]}, of, scores);
            out->most[of] =
                weigh_scores(of, view.seen[of].first >= view.seen[of].last, scores, out->p);
            out->step[of] = 1.0f;
        }
        sum_halves(out->p, out->sum);
        return true;
    }

    static RAD_MEMBER void output(const rad_cuda_attend_arguments &a, const tile &tile,
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
};

RAD_CUDA_KERNEL_BLOCKS(attend_many, PROMPT_THREADS, 2, rad_cuda_attend_arguments, a)
{
    attend_prompt<0>(a);
}

RAD_CUDA_KERNEL_BLOCKS(attend_many_128, PROMPT_THREADS, 2, rad_cuda_attend_arguments, a)
{
    attend_prompt<128>(a);
}

RAD_CUDA_KERNEL_EARLY_BLOCKS(attend_few, THREADS, 2, rad_cuda_attend_arguments, a)
{
    RAD_SHARED(uint32_t, words, FEW_WORDS);
    attend_few<halves>(a, words);
}

RAD_CUDA_KERNEL_EARLY_BLOCKS(attend_few_128, THREADS, 2, rad_cuda_attend_arguments, a)
{
    RAD_SHARED(uint32_t, words, FEW_WORDS);
    attend_few<halves>(usual_arguments(a, 128), words);
}

RAD_CUDA_KERNEL_EARLY_BLOCKS(attend_few_64, THREADS, 4, rad_cuda_attend_arguments, a)
{
    RAD_SHARED(uint32_t, words, FEW_WORDS);
    attend_few<halves>(usual_arguments(a, 64), words);
}

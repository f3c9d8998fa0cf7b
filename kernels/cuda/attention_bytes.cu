/* Attention by integer matrix instructions, with keys and values in Q8_0: the bits of the CPU's,
 * since all sums of integers are exact. In a fragment the order of slots is free: a lane's four of
 * the first operand are those that it has of the scores. */
#include "kernels/cuda/attend_few.h"

/* Bytes, besides scales: of a query; of four dimensions of a staged tile's keys; of two slots of
 * its values. So that what a warp reads at a time meets all banks. */
RAD_DEVICE uint32_t query_pitch(const rad_cuda_attend_arguments &a)
{
    return a.key_dim + 16;
}

#define KEY_PITCH (RAD_TILE_KEYS * 4 + 32)

RAD_DEVICE uint32_t value_pitch(const rad_cuda_attend_arguments &a)
{
    return 2 * a.value_dim + 16;
}

/* Where parts of a staged tile begin. */
RAD_DEVICE uint32_t key_scales_at(const rad_cuda_attend_arguments &a)
{
    return a.key_dim / 4 * KEY_PITCH;
}

RAD_DEVICE uint32_t values_at(const rad_cuda_attend_arguments &a)
{
    return key_scales_at(a) + a.key_dim * 2;
}

RAD_DEVICE uint32_t value_scales_at(const rad_cuda_attend_arguments &a)
{
    return values_at(a) + RAD_TILE_KEYS / 2 * value_pitch(a);
}

/* Copies rows of n 16 bytes. */
RAD_DEVICE void stage_rows(uint8_t *to, uint32_t pitch, const uint8_t *from, uint32_t rows,
                           uint32_t n, uint32_t thread, uint32_t threads)
{
    row_walk at(thread, threads, n);
#pragma unroll
    for (uint32_t first = 0; first < rows * n; first += threads, at.go_on()) {
        uint32_t i = first + thread;
        if (i < rows * n)
            rad_copy_async16(to + at.row * pitch + at.column * 16, from + i * 16);
    }
}

/* The sum of products of 32 dimensions of two queries with the four parts of slots. */
RAD_DEVICE void score_block(const uint8_t *queries, uint32_t pitch, const uint8_t *keys,
                            int32_t sums[KEY_PARTS][4])
{
    const uint32_t row = rad_lane() / 4, four = rad_lane() % 4;
    const uint8_t *query = queries + row * pitch + four * 4;
    uint32_t q[4];
#pragma unroll
    for (uint32_t i = 0; i < 4; i++)
        q[i] = *(const uint32_t *)(query + i % 2 * 8 * pitch + i / 2 * 16);
#pragma unroll
    for (uint32_t i = 0; i < KEY_PARTS; i++) {
        const uint8_t *key = keys + four * KEY_PITCH + (i * 8 + row) * 4;
        uint32_t k[2] = {*(const uint32_t *)key ^ 0x80808080u,
                         *(const uint32_t *)(key + 4 * KEY_PITCH) ^ 0x80808080u};
        sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = 0;
        rad_mma_s8(sums[i], q, k);
    }
}

/* The two scales of a lane's slots of a part, in one block of 32 dimensions. */
RAD_DEVICE void load_scales(const uint8_t *scales, uint32_t part, float out[2])
{
    uint32_t two = *(const uint32_t *)(scales + slot_of(part, 0) * 2);
    out[0] = rad_half_to_float((uint16_t)two);
    out[1] = rad_half_to_float((uint16_t)(two >> 16));
}

struct bytes {
    static constexpr bool has_steps = true;
    static constexpr int outputs_ahead = 2;

    struct tile {
        float p[KEY_PARTS][4];    /* as in a fragment of scores */
        uint32_t seen[2];         /* bit 2 part + j: the slot is seen */
        uint32_t high[4], low[4]; /* probabilities of a block as integers: bytes */
        float most[2], sum[2], step[2];
        bool two;   /* matrix_queries */
        bool plain; /* all queries of the warp see all slots */
    };

    static RAD_MEMBER uint32_t query_bytes(const rad_cuda_attend_arguments &a)
    {
        return rad_cuda_attend_byte_query(a.key_dim);
    }

    static RAD_MEMBER uint32_t staged_bytes(const rad_cuda_attend_arguments &a)
    {
        return rad_cuda_attend_staged_bytes(a.key_dim, a.value_dim);
    }

    /* By the rule for activations: quantize_query() of layer.h. */
    static RAD_MEMBER void prepare(const rad_cuda_attend_arguments &a, const float x[4],
                                   uint32_t first, const matrix_queries &queries, uint32_t r)
    {
        float *scales = (float *)(queries.numbers + queries.rows * query_pitch(a)), scale;
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t d = first + i * 32;
            if (d >= a.key_dim)
                break;
            int32_t q = quantize_number(x[i], &scale);
            queries.numbers[r * query_pitch(a) + d + rad_lane()] = (uint8_t)q;
            if (rad_lane() == 0)
                scales[d / 32 * queries.rows + r] = scale;
        }
    }

    static RAD_MEMBER void stage_keys(const rad_cuda_attend_arguments &a, const uint8_t *keys,
                                      uint8_t *staged, uint32_t thread, uint32_t threads)
    {
        stage_rows(staged, KEY_PITCH, keys, a.key_dim / 4, RAD_TILE_KEYS / 4, thread, threads);
        stage_rows(staged + key_scales_at(a), 0, keys + a.key_dim * RAD_TILE_KEYS, 1, a.key_dim / 8,
                   thread, threads);
    }

    static RAD_MEMBER void stage_values(const rad_cuda_attend_arguments &a, const uint8_t *keys,
                                        slot_range seen, uint8_t *staged, uint32_t thread,
                                        uint32_t threads)
    {
        const uint8_t *values = keys + a.key_bytes;
        (void)seen; /* what is hidden is an integer, which is multiplied with 0 */
        stage_rows(staged + values_at(a), value_pitch(a), values, RAD_TILE_KEYS / 2,
                   a.value_dim / 8, thread, threads);
        stage_rows(staged + value_scales_at(a), 0, values + a.value_dim * RAD_TILE_KEYS, 1,
                   a.value_dim / 8, thread, threads);
    }

    static RAD_MEMBER bool attend(const rad_cuda_attend_arguments &a, const matrix_queries &queries,
                                  uint32_t first_row, const uint8_t *staged, uint32_t at,
                                  bool of_sinks, tile *out)
    {
        matrix_view view;
        if (!look_at_tile(a, queries, first_row, at, of_sinks, &view))
            return false;
        score(a, queries, first_row, staged, out->p);
        out->two = queries.two;
#pragma unroll
        for (int of = 0; of < 2; of++) {
            out->seen[of] = 0;
            if (of > 0 && !queries.two) {
                out->most[1] = MINUS_INFINITY;
                out->sum[1] = out->step[1] = 0.0f;
                break;
            }
#pragma unroll
            for (uint32_t i = 0; i < 2 * KEY_PARTS; i++)
                out->seen[of] |= is_seen(view.seen[of], slot_of(i / 2, i % 2)) ? 1u << i : 0u;
            out->most[of] = make_probabilities(a, view, of, out->p);
            out->sum[of] = sum_of_tile(out->p, of);
            out->step[of] = 0.0f;
        }
        out->plain = rad_all((out->seen[0] & (queries.two ? out->seen[1] : 255u)) == 255u);
        return true;
    }

    /* Sums are 256 high, which is signed, + low, which is not. */
    static RAD_MEMBER void output(const rad_cuda_attend_arguments &a, tile &of_tile,
                                  const uint8_t *staged, uint32_t dim, float out[2][4])
    {
        const uint8_t *values = staged + values_at(a);
        const uint32_t row = rad_lane() / 4, four = rad_lane() % 4, pitch = value_pitch(a);
        const int32_t zeros[4] = {0, 0, 0, 0};
        const uint8_t *scales = staged + value_scales_at(a) + dim * 2;
        if (dim % 32 == 0 && of_tile.plain)
            weigh<true>(scales, of_tile);
        else if (dim % 32 == 0)
            weigh<false>(scales, of_tile);
#pragma unroll
        for (uint32_t part = 0; part < 2; part++) {
            const uint8_t *at = values + (dim + part * 8 + row) * 2;
            uint32_t v[2];
#pragma unroll
            for (uint32_t i = 0; i < 2; i++)
                v[i] = (uint32_t) * (const uint16_t *)(at + (four + 8 * i) * pitch) |
                       (uint32_t) * (const uint16_t *)(at + (four + 8 * i + 4) * pitch) << 16;
            int32_t high[4], low[4] = {0, 0, 0, 0};
            rad_mma_s8_to(high, zeros, of_tile.high, v);
            rad_mma_u8_s8(low, of_tile.low, v);
#pragma unroll
            for (int i = 0; i < 4; i++)
                out[part][i] = i < 2 || of_tile.two ? (float)(high[i] * 256 + low[i]) : 0.0f;
        }
    }

  private:
    static RAD_MEMBER int32_t quantize_number(float x, float *scale)
    {
        uint32_t most = rad_bits(x) & 0x7fffffffu;
        for (uint32_t mask = 16; mask > 0; mask /= 2) {
            uint32_t other = rad_shuffle_xor(most, mask);
            most = other > most ? other : most;
        }
        float greatest = rad_float(most);
        bool finite = greatest - greatest == 0.0f;
        *scale = finite ? 0.0f : rad_float(0x7fc00000u);
        if (!finite || greatest < 0x1p-100f)
            return 0;
        *scale = greatest / 127.0f;
        return (int32_t)(rad_bits(x * (127.0f / greatest) + RAD_F32_ROUND) - RAD_F32_ROUND_BITS);
    }

    static RAD_MEMBER void score(const rad_cuda_attend_arguments &a, const matrix_queries &queries,
                                 uint32_t first_row, const uint8_t *staged,
                                 float scores[KEY_PARTS][4])
    {
        const uint32_t pitch = query_pitch(a);
        const float *scales =
            (const float *)(queries.numbers + queries.rows * pitch) + first_row + rad_lane() / 4;
#pragma unroll
        for (int i = 0; i < KEY_PARTS; i++)
            scores[i][0] = scores[i][1] = scores[i][2] = scores[i][3] = 0.0f;
#pragma unroll 1
        for (uint32_t d = 0; d < a.key_dim; d += 32) {
            int32_t sums[KEY_PARTS][4];
            float of_query[2] = {scales[d / 32 * queries.rows], scales[d / 32 * queries.rows + 8]};
            score_block(queries.numbers + first_row * pitch + d, pitch, staged + d / 4 * KEY_PITCH,
                        sums);
#pragma unroll
            for (uint32_t i = 0; i < KEY_PARTS; i++) {
                float of_key[2];
                load_scales(staged + key_scales_at(a) + d * 2, i, of_key);
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    if (j > 1 && !queries.two)
                        break;
                    scores[i][j] =
                        rad_fma(of_query[j / 2] * of_key[j % 2], (float)sums[i][j], scores[i][j]);
                }
            }
        }
    }

    /* In the tree over slots 16 apart, then 8, 4, 2, 1. */
    static RAD_MEMBER float sum_of_tile(const float p[KEY_PARTS][4], int of)
    {
        float sums[2];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float sum =
                (p[0][of * 2 + j] + p[2][of * 2 + j]) + (p[1][of * 2 + j] + p[3][of * 2 + j]);
            sum = sum + rad_shuffle_xor(sum, 2u);
            sums[j] = sum + rad_shuffle_xor(sum, 1u);
        }
        return sums[0] + sums[1];
    }

    /* The greatest of scales of slots, of which a query sees those whose bits are set. */
    static RAD_MEMBER float greatest_scale(const float of_value[KEY_PARTS][2], uint32_t seen)
    {
        uint32_t most = 0;
#pragma unroll
        for (uint32_t i = 0; i < 2 * KEY_PARTS; i++) {
            uint32_t bits = rad_bits(of_value[i / 2][i % 2]) & 0x7fffffffu;
            bits = (seen >> i & 1u) != 0 ? bits : 0u;
            most = bits > most ? bits : most;
        }
#pragma unroll
        for (uint32_t mask = 1; mask < 4; mask *= 2) {
            uint32_t other = rad_shuffle_xor(most, mask);
            most = other > most ? other : most;
        }
        return rad_float(most);
    }

    /* Probabilities as integers for a block of 32 dimensions, whose greatest scale of those that
     * are seen stands for 32767 steps. PLAIN: it is the same for both queries. */
    template <bool PLAIN> static RAD_MEMBER void weigh(const uint8_t *scales, tile &of_tile)
    {
        float of_value[KEY_PARTS][2], weights[KEY_PARTS][2];
#pragma unroll
        for (uint32_t i = 0; i < KEY_PARTS; i++)
            load_scales(scales, i, of_value[i]);
#pragma unroll
        for (uint32_t of = 0; of < 2; of++) {
            if (of > 0 && !of_tile.two) {
                of_tile.high[1] = of_tile.high[3] = of_tile.low[1] = of_tile.low[3] = 0;
                break;
            }
            const uint32_t slots = PLAIN ? 255u : of_tile.seen[of];
            if (!PLAIN || of == 0) {
                float largest = greatest_scale(of_value, slots);
                float factor = largest > 0.0f ? GREATEST_WEIGHT / largest : 0.0f;
                of_tile.step[of] = largest / GREATEST_WEIGHT;
#pragma unroll
                for (uint32_t i = 0; i < 2 * KEY_PARTS; i++)
                    weights[i / 2][i % 2] =
                        (slots >> i & 1u) != 0 ? of_value[i / 2][i % 2] * factor : 0.0f;
            } else {
                of_tile.step[1] = of_tile.step[0];
            }
#pragma unroll
            for (uint32_t half = 0; half < 2; half++) {
                uint32_t pairs[2]; /* low bytes of two integers, then their high bytes */
#pragma unroll
                for (uint32_t i = 0; i < 2; i++) {
                    const uint32_t part = half * 2 + i;
                    const float *p = of_tile.p[part] + of * 2;
                    pairs[i] = rad_byte_permute(
                        rad_bits(rad_fma(p[0], weights[part][0], RAD_F32_ROUND)),
                        rad_bits(rad_fma(p[1], weights[part][1], RAD_F32_ROUND)), 0x5140u);
                }
                of_tile.low[half * 2 + of] = rad_byte_permute(pairs[0], pairs[1], 0x5410u);
                of_tile.high[half * 2 + of] = rad_byte_permute(pairs[0], pairs[1], 0x7632u);
            }
        }
    }
};

RAD_CUDA_KERNEL_BLOCKS(attend_many_bytes, THREADS, 2, rad_cuda_attend_arguments, a)
{
    RAD_SHARED(uint32_t, words, 3 * MANY_ROWS);
    attend_many<bytes, RAD_CUDA_ATTEND_HALF_VALUES / 8>(a, words);
}

RAD_CUDA_KERNEL_BLOCKS(attend_many_bytes_128, THREADS, 2, rad_cuda_attend_arguments, a)
{
    RAD_SHARED(uint32_t, words, 3 * MANY_ROWS);
    attend_many<bytes, RAD_CUDA_ATTEND_HALF_VALUES / 8>(usual_arguments(a, 128), words);
}

RAD_CUDA_KERNEL_EARLY_BLOCKS(attend_few_bytes, THREADS, 4, rad_cuda_attend_arguments, a)
{
    RAD_SHARED(uint32_t, words, FEW_WORDS);
    attend_few<bytes>(a, words);
}

RAD_CUDA_KERNEL_EARLY_BLOCKS(attend_few_bytes_128, THREADS, 4, rad_cuda_attend_arguments, a)
{
    RAD_SHARED(uint32_t, words, FEW_WORDS);
    attend_few<bytes>(usual_arguments(a, 128), words);
}

RAD_CUDA_KERNEL_EARLY_BLOCKS(attend_few_bytes_64, THREADS, 4, rad_cuda_attend_arguments, a)
{
    RAD_SHARED(uint32_t, words, FEW_WORDS);
    attend_few<bytes>(usual_arguments(a, 64), words);
}

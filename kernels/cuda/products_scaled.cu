/* Products with FP8, NF4 and FP4 weights of few tokens, and the rounding of activations. */
#include "kernels/cuda/products_scaled.h"

/* ---- activations ------------------------------------------------------------------------------
 */

enum { ROUND_THREADS = 256, ROUND_WARPS = ROUND_THREADS / 32 };

RAD_DEVICE uint32_t greater(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* The greatest magnitude of a row, as bits, which are ordered as the numbers are. */
RAD_DEVICE uint32_t magnitude_of_row(const float *x, uint32_t n_columns)
{
    RAD_SHARED(uint32_t, warps, ROUND_WARPS);
    uint32_t amax = 0;
    for (uint32_t i = rad_thread(); i < n_columns; i += ROUND_THREADS)
        amax = greater(amax, rad_bits(x[i]) & 0x7fffffffu);
#pragma unroll
    for (uint32_t mask = 1; mask < 32; mask *= 2)
        amax = greater(amax, rad_shuffle_xor(amax, mask));
    if (rad_lane() == 0)
        warps[rad_warp()] = amax;
    rad_barrier();
#pragma unroll
    for (uint32_t i = 0; i < ROUND_WARPS; i++)
        amax = greater(amax, warps[i]);
    return amax;
}

/* A block has a row. A power of two brings its greatest magnitude to 2^14 and above, and another
 * takes that back behind the product; where it would be no number of F32 of full precision, the
 * nearest one is. */
template <class F> RAD_DEVICE void round_row(const rad_cuda_scaled_round_arguments &a)
{
    const float *x = a.x + rad_block_x() * a.x_stride;
    const uint32_t amax = magnitude_of_row(x, a.n_columns), exponent = amax >> 23;
    const uint32_t least = 15; /* of those whose factor is 2^126 or less */
    const uint32_t taken = greater(exponent, least);
    const float factor = rad_float((127 + 127 + 14 - taken) << 23);
    if (rad_thread() == 0)
        a.factors[rad_block_x()] =
            exponent == 255 ? rad_float(0x7fc00000u) : rad_float((taken - 14) << 23);
    for (uint32_t i = rad_thread() * 8; i < a.n_columns; i += ROUND_THREADS * 8) {
        const uint32_t first = i / SCALED_BLOCK * SCALED_BLOCK, four = i / 8 % 4;
        uint32_t words[4];
#pragma unroll
        for (uint32_t k = 0; k < 4; k++) {
            const uint32_t step = i / 32 % 2 * 2 + k / 2, e = k % 2 * 2;
            words[k] = rad_two_halves(x[first + F::column(step, four, e)] * factor,
                                      x[first + F::column(step, four, e + 1)] * factor);
        }
        rad_store16(a.halves + (uint64_t)rad_block_x() * a.n_columns + i,
                    {words[0], words[1], words[2], words[3]});
    }
}

RAD_CUDA_KERNEL(scaled_round_fp8, ROUND_THREADS, rad_cuda_scaled_round_arguments, a)
{
    round_row<scaled_fp8>(a);
}

RAD_CUDA_KERNEL(scaled_round_level4, ROUND_THREADS, rad_cuda_scaled_round_arguments, a)
{
    round_row<scaled_level4>(a);
}

/* ---- products -----------------------------------------------------------------------------------
 *
 * A block has 16 rows and 8 tokens, a warp every eighth piece of four blocks of columns, so that
 * all that a row reads is under way at the same time and is taken apart by all warps. Sums of
 * blocks of columns begin from zero, and are left in shared memory; then each output's chain of
 * multiply-adds, on a thread of its own, takes them in increasing column order, while the next sums
 * are made. Tokens that are not there are computed from another and not written. */
enum {
    ROWS = RAD_CUDA_HALF_FEW_ROWS,
    CHAINS = ROWS * RAD_CUDA_HALF_FEW_TOKENS,
    WARPS = 8,
    THREADS = 32 * WARPS,
    PIECE = 4,
    TURN = PIECE * WARPS /* blocks of columns of a turn */
};

/* What a lane has of a piece of two rows. */
template <class F> struct scaled_piece {
    uint32_t words[2][PIECE][F::WORDS];
    float scales[2][PIECE];
};

struct scaled_sums {
    uint32_t sums[TURN][CHAINS]; /* at [row][token] */
    float scales[TURN][ROWS];
};

template <class F>
RAD_DEVICE void load_piece(scaled_piece<F> &p, const uint32_t *const rows[2], uint32_t first,
                           uint32_t n_blocks)
{
#pragma unroll
    for (uint32_t k = 0; k < PIECE; k++) {
        if (first + k >= n_blocks)
            break;
#pragma unroll
        for (uint32_t r = 0; r < 2; r++) {
            const uint32_t *block = rows[r] + (first + k) * F::BLOCK_WORDS;
            p.scales[r][k] = rad_float(block[0]);
#pragma unroll
            for (uint32_t w = 0; w < F::WORDS; w++)
                p.words[r][k][w] = block[F::word_at(w, rad_lane() % 4)];
        }
    }
}

/* The sums of a piece; token: the lane's, of its first block of columns. */
template <class F>
RAD_DEVICE void sum_piece(scaled_sums &out, const scaled_piece<F> &p, const uint16_t *token,
                          uint32_t first, uint32_t n_blocks, const rad_cuda_half_arguments &a)
{
    const uint32_t group = rad_lane() / 4, four = rad_lane() % 4;
#pragma unroll
    for (uint32_t k = 0; k < PIECE; k++) {
        if (first + k >= n_blocks)
            break;
        const uint16_t *at = token + (first + k) * SCALED_BLOCK;
        const rad_u4 x[2] = {rad_load16(at), rad_load16(at + STEP)};
        float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (uint32_t s = 0; s < SCALED_STEPS; s++) {
            uint32_t rows[4];
            F::pairs(a.levels, p.words[0][k][F::word_of(s)], s, rows[0], rows[2]);
            F::pairs(a.levels, p.words[1][k][F::word_of(s)], s, rows[1], rows[3]);
            multiply<false>(c, rows, x[s / 2], s % 2);
        }
        const uint32_t place = rad_warp() * PIECE + k;
        uint32_t *sums = out.sums[place] + group * RAD_CUDA_HALF_FEW_TOKENS + 2 * four;
        rad_store8(sums, {rad_bits(c[0]), rad_bits(c[1])});
        rad_store8(sums + CHAINS / 2, {rad_bits(c[2]), rad_bits(c[3])});
        if (four == 0) {
            out.scales[place][group] = p.scales[0][k] * a.scale;
            out.scales[place][group + 8] = p.scales[1][k] * a.scale;
        }
    }
}

RAD_DEVICE float add_turn(float y, const scaled_sums &from, uint32_t n)
{
    const uint32_t row = rad_thread() / RAD_CUDA_HALF_FEW_TOKENS;
#pragma unroll 8
    for (uint32_t i = 0; i < n; i++)
        y = rad_fma(rad_float(from.sums[i][rad_thread()]), from.scales[i][row], y);
    return y;
}

template <class F> RAD_DEVICE void few(const rad_cuda_half_arguments &a)
{
    RAD_SHARED(scaled_sums, turns, 2);
    few_place place;
    if (!place_few(a, place))
        return;
    const rad_cuda_product_part &part = *place.part;
    const uint32_t first_row = place.first_row;
    const uint32_t group = rad_lane() / 4, last_row = part.n_rows - 1 - first_row;
    const uint32_t n_blocks = a.n_columns / SCALED_BLOCK;
    const uint32_t second = group + 8 < last_row ? group + 8 : last_row;
    const uint32_t *const rows[2] = {
        scaled_row<F>(part, place.expert, first_row + (group < last_row ? group : last_row),
                      a.n_columns),
        scaled_row<F>(part, place.expert, first_row + second, a.n_columns)};
    scaled_piece<F> piece = {};
    uint32_t at = rad_warp() * PIECE;
    load_piece(piece, rows, at, n_blocks); /* no kernel writes weights */
    if (a.experts == nullptr)
        rad_wait_for_earlier();
    const uint16_t *token = a.halves +
                            (place.input + (group < place.n_tokens ? group : 0)) * a.n_columns +
                            8 * (rad_lane() % 4);
    float y = 0.0f;
    for (uint32_t first = 0, turn = 0; first < n_blocks; first += TURN, turn ^= 1, at += TURN) {
        sum_piece(turns[turn], piece, token, at, n_blocks, a);
        load_piece(piece, rows, at + TURN, n_blocks);
        rad_barrier(); /* the sums are there, and those of the turn before were added up */
        const uint32_t left = n_blocks - first;
        if (rad_thread() < CHAINS)
            y = add_turn(y, turns[turn], left < TURN ? left : (uint32_t)TURN);
    }
    const uint32_t row = first_row + rad_thread() / 8, t = rad_thread() % 8;
    if (rad_thread() >= CHAINS || row >= part.n_rows || t >= place.n_tokens)
        return;
    finish_few(place, row, t, y * a.factors[place.input + t]);
}

RAD_CUDA_KERNEL_EARLY_BLOCKS(scaled_few_fp8, THREADS, 2, rad_cuda_half_arguments, a)
{
    few<scaled_fp8>(a);
}

RAD_CUDA_KERNEL_EARLY_BLOCKS(scaled_few_level4, THREADS, 2, rad_cuda_half_arguments, a)
{
    few<scaled_level4>(a);
}

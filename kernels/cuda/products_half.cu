/* Products with 16-bit weights of few tokens, and the rounding of activations. */
#include "kernels/cuda/products_half.h"

enum { ROUND_THREADS = 256 };

/* Of 32 columns the numbers 8 four to 8 four + 7 are those of lane `four` of an instruction's
 * second operand, four for each of two instructions: columns 2 four and 2 four + 1 of each 8. */
RAD_CUDA_KERNEL(half_round, ROUND_THREADS, rad_cuda_half_round_arguments, a)
{
    const uint32_t i = (rad_block_x() * ROUND_THREADS + rad_thread()) * 8;
    if (i >= a.n_columns)
        return;
    const uint32_t first_column = a.in_order ? i : i / STEP * STEP + i % STEP / 4;
    const uint32_t apart = a.in_order ? 2 : 8;
    const float *x = a.x + rad_block_y() * a.x_stride + first_column;
    uint32_t words[4];
    for (int k = 0; k < 4; k++) {
        const float first = x[apart * k], second = x[apart * k + 1];
        uint32_t low = a.bf16 ? rad_bf16_saturated(first) : rad_half_saturated(first);
        uint32_t high = a.bf16 ? rad_bf16_saturated(second) : rad_half_saturated(second);
        words[k] = low | high << 16;
    }
    rad_store16(a.halves + (uint64_t)rad_block_y() * a.n_columns + i,
                {words[0], words[1], words[2], words[3]});
}

/* A block is a warp with 16 rows and 8 tokens: a chain of instructions is short beside the time
 * that its weights take from memory. They come through a ring in shared memory, in pieces of 128
 * columns: 4 KiB each, of which all but two are on their way at any time, 256 bytes of a row side
 * by side. Tokens that are not there are computed from another and not written. */
enum {
    ROWS = RAD_CUDA_HALF_FEW_ROWS,
    PIECE_STEPS = 4,
    PIECE = PIECE_STEPS * STEP,
    PIECES = RAD_CUDA_HALF_FEW_PIECES,
    AHEAD = 4, /* pieces of tokens that are loaded before, which come from the L2 cache */
    COPIES = 8 /* of a lane, for a piece: two rows at a time; as many as instructions */
};

struct few_job {
    const uint8_t *weights; /* of the first row */
    uint32_t from[COPIES];  /* where the lane's bytes of a piece are, and */
    uint16_t *ring;         /* where the first of them go, in the ring's first piece */
    const uint16_t *token;  /* the lane's, from its first column on */
    uint32_t n_columns;
};

/* Lane 8 a + b of 32 copies row 2 i + a % 2 and of its two lines the one a / 2: what stands at
 * place b. */
RAD_DEVICE few_job make_few_job(const uint16_t *weights, uint32_t last_row, const uint16_t *token,
                                uint32_t n_columns)
{
    const uint32_t second = rad_lane() / 16, odd = rad_lane() / 8 % 2, place = rad_lane() % 8;
    few_job job = {(const uint8_t *)weights,
                   {},
                   (uint16_t *)rad_dynamic_shared() + (second * ROWS + odd) * LINE + 8 * place,
                   token,
                   n_columns};
#pragma unroll
    for (uint32_t i = 0; i < COPIES; i++) {
        const uint32_t row = 2 * i + odd, line = row < last_row ? row : last_row;
        job.from[i] = 2 * (line * n_columns + second * LINE + 8 * (place ^ (row & 7)));
    }
    return job;
}

RAD_DEVICE void fetch_rows(const few_job &job, uint32_t piece, uint16_t *to, uint32_t i)
{
    rad_copy_async16(to + 2 * i * LINE, job.weights + (uint64_t)piece * (2 * PIECE) + job.from[i]);
}

/* A piece that has fewer columns, or none. */
RAD_DEVICE void fetch_rest(const few_job &job, uint32_t piece, uint16_t *to)
{
    const uint32_t odd = rad_lane() / 8 % 2, first = piece * PIECE + rad_lane() / 16 * LINE;
#pragma unroll
    for (uint32_t i = 0; i < COPIES; i++)
        if (first + 8 * (rad_lane() % 8 ^ ((2 * i + odd) & 7)) < job.n_columns)
            fetch_rows(job, piece, to, i);
}

RAD_DEVICE void load_tokens(rad_u4 x[PIECE_STEPS], const few_job &job, uint32_t piece)
{
#pragma unroll
    for (uint32_t step = 0; step < PIECE_STEPS; step++)
        if (piece * PIECE + step * STEP < job.n_columns)
            x[step] = rad_load16(job.token + piece * PIECE + step * STEP);
}

/* 16 columns of a piece. */
RAD_DEVICE void load_sixteen(uint32_t rows[4], const uint16_t *piece, uint32_t i)
{
    load_rows(rows, piece + i / 4 * ROWS * LINE, i % 4);
}

/* The places in the ring of the piece that is multiplied, and of the one before. */
struct few_places {
    uint32_t now, before;
};

RAD_DEVICE void advance(few_places &at)
{
    at.before = at.now;
    at.now = at.now + 1 == PIECES ? 0 : at.now + 1;
}

/* Multiplies a piece, and fetches one, which is whole, into the place of the one before. Copies
 * stand between the instructions, which wait for each other. */
template <bool bf16>
RAD_DEVICE void multiply_piece(float c[4], const few_job &job, uint32_t piece, const few_places &at,
                               const rad_u4 x[PIECE_STEPS])
{
    const uint16_t *ring = (const uint16_t *)rad_dynamic_shared();
    rad_copy_async_wait(PIECES - 2);
    rad_warp_barrier(); /* this piece is there, and nobody reads the one before any more */
    uint32_t rows[2 * PIECE_STEPS][4];
#pragma unroll
    for (uint32_t i = 0; i < 2 * PIECE_STEPS; i++)
        load_sixteen(rows[i], ring + at.now * ROWS * PIECE, i);
#pragma unroll
    for (uint32_t i = 0; i < COPIES; i++) {
        multiply<bf16>(c, rows[i], x[i / 2], i % 2);
        fetch_rows(job, piece + PIECES - 1, job.ring + at.before * ROWS * PIECE, i);
    }
    rad_copy_async_commit();
}

/* One of the last pieces: nothing is fetched but what is not whole. */
template <bool bf16>
RAD_DEVICE void multiply_last(float c[4], const few_job &job, uint32_t piece, const few_places &at,
                              const rad_u4 x[PIECE_STEPS])
{
    const uint16_t *ring = (const uint16_t *)rad_dynamic_shared();
    rad_copy_async_wait(PIECES - 2);
    rad_warp_barrier(); /* as above */
    fetch_rest(job, piece + PIECES - 1, job.ring + at.before * ROWS * PIECE);
    rad_copy_async_commit();
#pragma unroll
    for (uint32_t step = 0; step < PIECE_STEPS; step++) {
        if (piece * PIECE + step * STEP >= job.n_columns)
            break;
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t rows[4];
            load_sixteen(rows, ring + at.now * ROWS * PIECE, 2 * step + i);
            multiply<bf16>(c, rows, x[step], i);
        }
    }
}

/* The first pieces of weights, which no kernel writes, are on their way when earlier kernels end.
 */
template <bool bf16> RAD_DEVICE void sum_few(float c[4], const few_job &job)
{
    const uint32_t n_pieces = (job.n_columns + PIECE - 1) / PIECE;
    rad_u4 x[AHEAD][PIECE_STEPS] = {};
    few_places at = {0, PIECES - 1};
    for (uint32_t piece = 0; piece + 1 < PIECES; piece++) {
        fetch_rest(job, piece, job.ring + piece * ROWS * PIECE);
        rad_copy_async_commit();
    }
    rad_wait_for_earlier();
#pragma unroll
    for (uint32_t i = 0; i < AHEAD; i++)
        load_tokens(x[i], job, i);
    for (uint32_t first = 0; first < n_pieces; first += AHEAD)
#pragma unroll
        for (uint32_t i = 0; i < AHEAD; i++) {
            const uint32_t piece = first + i;
            if (piece >= n_pieces)
                break;
            if (piece + PIECES <= job.n_columns / PIECE)
                multiply_piece<bf16>(c, job, piece, at, x[i]);
            else
                multiply_last<bf16>(c, job, piece, at, x[i]);
            load_tokens(x[i], job, piece + AHEAD);
            advance(at);
        }
}

template <bool bf16> RAD_DEVICE void few(const rad_cuda_half_arguments &a)
{
    few_place at;
    if (!place_few(a, at))
        return;
    const uint32_t group = rad_lane() / 4, four = rad_lane() % 4;
    const uint64_t token = at.input + (group < at.n_tokens ? group : 0);
    const few_job job = make_few_job(
        (const uint16_t *)(at.part->weights + at.expert * at.part->expert_bytes) +
            (uint64_t)at.first_row * a.n_columns,
        at.part->n_rows - 1 - at.first_row, a.halves + token * a.n_columns + 8 * four, a.n_columns);
    float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    sum_few<bf16>(c, job);
#pragma unroll
    for (uint32_t i = 0; i < 4; i++)
        finish_few(at, at.first_row + group + i / 2 * 8, 2 * four + i % 2, c[i]);
}

RAD_CUDA_KERNEL_EARLY(half_few_f16, 32, rad_cuda_half_arguments, a)
{
    few<false>(a);
}

RAD_CUDA_KERNEL_EARLY(half_few_bf16, 32, rad_cuda_half_arguments, a)
{
    few<true>(a);
}

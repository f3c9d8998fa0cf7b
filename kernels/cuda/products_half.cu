/* Products with 16-bit weights by matrix instructions (kernels_products_float.h). Of 32 columns
 * lane (group, four) holds the columns 8 four to 8 four + 7 of its rows, one load of 16 bytes; the
 * first instruction multiplies the first four of them, the second the others. So weights and
 * activations come into place by plain loads, from memory as well as from shared memory, and few
 * and many tokens have the same order. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

enum {
    THREADS = 256,
    WARPS = THREADS / 32,
    STEP = 32, /* columns of two instructions */
    RANGE_STEPS = RAD_CUDA_HALF_RANGE / STEP
};

RAD_CUDA_KERNEL(half_round, THREADS, rad_cuda_half_round_arguments, a)
{
    const uint32_t i = (rad_block_x() * THREADS + rad_thread()) * 8;
    if (i >= a.n_columns)
        return;
    const float *x = a.x + rad_block_y() * a.x_stride + i;
    uint32_t words[4];
    for (int k = 0; k < 4; k++) {
        uint32_t low = a.bf16 ? rad_bf16_saturated(x[2 * k]) : rad_half_saturated(x[2 * k]);
        uint32_t high =
            a.bf16 ? rad_bf16_saturated(x[2 * k + 1]) : rad_half_saturated(x[2 * k + 1]);
        words[k] = low | high << 16;
    }
    rad_store16(a.halves + (uint64_t)rad_block_y() * a.n_columns + i,
                {words[0], words[1], words[2], words[3]});
}

/* c += a b over 32 columns: the lane's 16 bytes of rows group and group + 8, and of token group. */
template <bool bf16> RAD_DEVICE void multiply(float c[4], rad_u4 top, rad_u4 bottom, rad_u4 token)
{
    const uint32_t a0[4] = {top.x, bottom.x, top.y, bottom.y}, b0[2] = {token.x, token.y};
    const uint32_t a1[4] = {top.z, bottom.z, top.w, bottom.w}, b1[2] = {token.z, token.w};
    if (bf16) {
        rad_mma_bf16(c, a0, b0);
        rad_mma_bf16(c, a1, b1);
    } else {
        rad_mma_f16(c, a0, b0);
        rad_mma_f16(c, a1, b1);
    }
}

/* What comes behind a product. */
RAD_DEVICE void finish(const rad_cuda_product_part &part, uint32_t expert, uint64_t output,
                       uint32_t row, float y)
{
    if (part.scales != nullptr)
        y *= part.scales[expert];
    if (part.bias != nullptr)
        y += part.bias[(uint64_t)expert * part.n_rows + row];
    const uint64_t at = output * part.y_stride + row;
    if (part.add != nullptr)
        y = part.add[at] + y;
    part.y[at] = y;
}

RAD_DEVICE const rad_cuda_product_part &part_of(const rad_cuda_half_arguments &a, uint32_t rows,
                                                uint32_t *first_row)
{
    uint32_t p = 0;
    while (p + 1 < a.n_parts && rad_block_x() >= a.parts[p + 1].first_block)
        p++;
    *first_row = (rad_block_x() - a.parts[p].first_block) * rows;
    return a.parts[p];
}

/* ---- few tokens -------------------------------------------------------------------------------
 */

/* The sums of a range for 16 rows and 8 tokens, by a warp. */
template <bool bf16>
RAD_DEVICE void sum_range(float c[4], const uint16_t *top, const uint16_t *bottom,
                          const uint16_t *token, bool has_token, uint32_t n_steps)
{
#pragma unroll 4
    for (uint32_t step = 0; step < n_steps; step++) {
        const rad_u4 x = has_token ? rad_load16(token + step * STEP) : rad_u4{0, 0, 0, 0};
        multiply<bf16>(c, rad_load16_once(top + step * STEP), rad_load16_once(bottom + step * STEP),
                       x);
    }
}

/* Warps take ranges; sums go to shared memory, [range][row][token], and are added up there. */
template <bool bf16> RAD_DEVICE void few(const rad_cuda_half_arguments &a)
{
    float *sums = (float *)rad_dynamic_shared();
    uint32_t first_row, expert = 0, n_tokens = a.n_tokens - rad_block_y() * 8;
    const rad_cuda_product_part &part = part_of(a, RAD_CUDA_HALF_FEW_ROWS, &first_row);
    uint64_t output = rad_block_y() * 8, input = output;
    if (a.experts != nullptr) {
        expert = a.experts[rad_block_z()];
        if (expert == UINT32_MAX)
            return;
        output = rad_block_z();
        input = rad_block_z() / a.slots_per_input;
        n_tokens = 1;
    }
    const uint32_t group = rad_lane() / 4, four = rad_lane() % 4, last = part.n_rows - 1;
    const uint32_t row0 = first_row + group, row1 = row0 + 8;
    const uint16_t *weights =
        (const uint16_t *)(part.weights + expert * part.expert_bytes) + 8 * four;
    const uint16_t *top = weights + (uint64_t)(row0 < last ? row0 : last) * a.n_columns;
    const uint16_t *bottom = weights + (uint64_t)(row1 < last ? row1 : last) * a.n_columns;
    const bool has_token = group < n_tokens;
    const uint16_t *token = a.halves + (input + (has_token ? group : 0)) * a.n_columns + 8 * four;
    const uint32_t n_steps = a.n_columns / STEP,
                   n_ranges = (n_steps + RANGE_STEPS - 1) / RANGE_STEPS;
    for (uint32_t range = rad_warp(); range < n_ranges; range += WARPS) {
        const uint32_t first = range * RANGE_STEPS;
        const uint32_t n = n_steps - first < RANGE_STEPS ? n_steps - first : (uint32_t)RANGE_STEPS;
        float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        sum_range<bf16>(c, top + first * STEP, bottom + first * STEP, token + first * STEP,
                        has_token, n);
        float *out = sums + range * 128 + group * 8 + 2 * four;
        out[0] = c[0];
        out[1] = c[1];
        out[64] = c[2];
        out[65] = c[3];
    }
    rad_barrier();
    const uint32_t row = first_row + rad_thread() % 16, t = rad_thread() / 16;
    if (t >= n_tokens || t >= 8 || row >= part.n_rows)
        return;
    float y = 0.0f;
    for (uint32_t range = 0; range < n_ranges; range++)
        y += sums[range * 128 + rad_thread() % 16 * 8 + t];
    finish(part, expert, output + t, row, y);
}

RAD_CUDA_KERNEL(half_few_f16, THREADS, rad_cuda_half_arguments, a)
{
    few<false>(a);
}

RAD_CUDA_KERNEL(half_few_bf16, THREADS, rad_cuda_half_arguments, a)
{
    few<true>(a);
}

/* ---- many tokens ------------------------------------------------------------------------------
 */

/* A block has 128 rows and 128 tokens, a warp 64 and 32: 4 x 4 tiles of 16 x 8. A stage is 64
 * columns of all of them: for each 32 columns 64 bytes of each row, then of each token, so that
 * eight lanes that load together read 128 bytes in one piece. */
enum {
    ROWS = RAD_CUDA_HALF_MANY_ROWS,
    TOKENS = RAD_CUDA_HALF_MANY_TOKENS,
    STAGE = 64,
    ROW_TILES = 4,
    TOKEN_TILES = 4,
    HALF_STAGE = (ROWS + TOKENS) * STEP /* numbers */
};

struct many_job {
    const uint16_t *weights, *halves; /* of the first row and token */
    uint32_t last_row, last_token;    /* those that are there, from the first on */
    uint32_t n_columns;
};

/* Begins to copy a stage: a thread has 16 bytes of 16 rows or tokens. */
RAD_DEVICE void fetch(const many_job &job, uint32_t stage, uint16_t *to)
{
    const uint32_t piece = rad_thread() % 4, first = rad_thread() / 4;
    for (uint32_t half = 0; half < 2; half++) {
        const uint32_t column = stage * STAGE + half * STEP;
        if (column >= job.n_columns)
            break;
#pragma unroll
        for (uint32_t i = first; i < ROWS + TOKENS; i += THREADS / 4) {
            const bool is_row = i < ROWS;
            uint32_t line = is_row ? i : i - ROWS;
            const uint32_t last = is_row ? job.last_row : job.last_token;
            line = line < last ? line : last; /* what is not there is computed and not written */
            const uint16_t *from = (is_row ? job.weights : job.halves) +
                                   (uint64_t)line * job.n_columns + column + 8 * piece;
            rad_copy_async16(to + half * HALF_STAGE + i * STEP + 8 * piece, from);
        }
    }
}

/* 32 columns of all tiles of a warp. `rows`, `tokens`: the lane's 16 bytes of the first ones. */
template <bool bf16>
RAD_DEVICE void multiply_tiles(float c[ROW_TILES][TOKEN_TILES][4], const uint16_t *rows,
                               const uint16_t *tokens)
{
    rad_u4 x[TOKEN_TILES];
#pragma unroll
    for (int t = 0; t < TOKEN_TILES; t++)
        x[t] = rad_load16(tokens + t * 8 * STEP);
#pragma unroll
    for (int r = 0; r < ROW_TILES; r++) {
        const rad_u4 top = rad_load16(rows + r * 16 * STEP);
        const rad_u4 bottom = rad_load16(rows + (r * 16 + 8) * STEP);
#pragma unroll
        for (int t = 0; t < TOKEN_TILES; t++)
            multiply<bf16>(c[r][t], top, bottom, x[t]);
    }
}

RAD_DEVICE void add_range(float y[ROW_TILES][TOKEN_TILES][4], float c[ROW_TILES][TOKEN_TILES][4])
{
#pragma unroll
    for (int r = 0; r < ROW_TILES; r++)
#pragma unroll
        for (int t = 0; t < TOKEN_TILES; t++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                y[r][t][i] += c[r][t][i];
                c[r][t][i] = 0.0f;
            }
}

template <bool bf16>
RAD_DEVICE void sum_all(const many_job &job, uint32_t n_buffers, float y[ROW_TILES][TOKEN_TILES][4])
{
    uint16_t *buffers = (uint16_t *)rad_dynamic_shared();
    const uint32_t n_stages = (job.n_columns + STAGE - 1) / STAGE, warp = rad_warp();
    const uint32_t place = rad_lane() / 4 * STEP + rad_lane() % 4 * 8;
    const uint32_t rows = warp / 4 * 64 * STEP + place,
                   tokens = (ROWS + warp % 4 * 32) * STEP + place;
    float c[ROW_TILES][TOKEN_TILES][4] = {};
    for (uint32_t stage = 0; stage + 1 < n_buffers; stage++) {
        if (stage < n_stages)
            fetch(job, stage, buffers + stage * 2 * HALF_STAGE);
        rad_copy_async_commit();
    }
    uint32_t buffer = 0, next = n_buffers - 1;
    for (uint32_t stage = 0; stage < n_stages; stage++) {
        rad_copy_async_wait((int)n_buffers - 2);
        rad_barrier(); /* this stage is there, and nobody reads the one before any more */
        if (stage + n_buffers - 1 < n_stages)
            fetch(job, stage + n_buffers - 1, buffers + next * 2 * HALF_STAGE);
        rad_copy_async_commit();
        const uint16_t *at = buffers + buffer * 2 * HALF_STAGE;
        multiply_tiles<bf16>(c, at + rows, at + tokens);
        if (stage * STAGE + STEP < job.n_columns)
            multiply_tiles<bf16>(c, at + HALF_STAGE + rows, at + HALF_STAGE + tokens);
        if ((stage + 1) % (RAD_CUDA_HALF_RANGE / STAGE) == 0 || stage + 1 == n_stages)
            add_range(y, c);
        buffer = buffer + 1 == n_buffers ? 0 : buffer + 1;
        next = next + 1 == n_buffers ? 0 : next + 1;
    }
}

template <bool bf16> RAD_DEVICE void many(const rad_cuda_half_arguments &a)
{
    uint32_t first_row;
    const rad_cuda_product_part &part = part_of(a, ROWS, &first_row);
    const uint32_t first_token = rad_block_y() * TOKENS;
    const many_job job = {(const uint16_t *)part.weights + (uint64_t)first_row * a.n_columns,
                          a.halves + (uint64_t)first_token * a.n_columns,
                          part.n_rows - 1 - first_row, a.n_tokens - 1 - first_token, a.n_columns};
    float y[ROW_TILES][TOKEN_TILES][4] = {};
    sum_all<bf16>(job, a.n_stages, y);
    const uint32_t row = first_row + rad_warp() / 4 * 64 + rad_lane() / 4;
    const uint32_t token = first_token + rad_warp() % 4 * 32 + rad_lane() % 4 * 2;
#pragma unroll
    for (uint32_t r = 0; r < ROW_TILES; r++)
#pragma unroll
        for (uint32_t t = 0; t < TOKEN_TILES; t++)
#pragma unroll
            for (uint32_t i = 0; i < 4; i++) {
                const uint32_t at_row = row + r * 16 + i / 2 * 8, at_token = token + t * 8 + i % 2;
                if (at_row < part.n_rows && at_token < a.n_tokens)
                    finish(part, 0, at_token, at_row, y[r][t][i]);
            }
}

RAD_CUDA_KERNEL(half_many_f16, THREADS, rad_cuda_half_arguments, a)
{
    many<false>(a);
}

RAD_CUDA_KERNEL(half_many_bf16, THREADS, rad_cuda_half_arguments, a)
{
    many<true>(a);
}

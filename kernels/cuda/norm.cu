/* Norms: loads that are under way together, and the chain of norm.h. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels_layer.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/quantize.h"

#define THREADS 512
#define EACH    8                /* elements of a thread */
#define PIECE   (EACH * THREADS) /* elements of a row that are worked on together */
#define HEADS   16               /* of a block of head_norm */

/* A row; what a thread has of a piece of it stays in registers where the row is one piece. */
struct norm_row {
    const float *x, *add;
    float *sum;
    uint32_t n;
    const float *add_weight; /* NULL: what is added is as it is */
    float add_factor;
};

/* Elements from `first` on. With add, their sums, which are written as well; add_weight: of these.
 */
RAD_DEVICE void load_piece(const norm_row &row, uint32_t first, const float add_weight[EACH],
                           float x[EACH])
{
    const uint32_t mine = first + rad_thread();
#pragma unroll
    for (uint32_t j = 0; j < EACH; j++)
        x[j] = mine + j * THREADS < row.n ? row.x[mine + j * THREADS] : 0.0f;
    if (row.add == NULL)
        return;
#pragma unroll
    for (uint32_t j = 0; j < EACH; j++) {
        float y = mine + j * THREADS < row.n ? row.add[mine + j * THREADS] : 0.0f;
        if (row.add_weight != NULL) {
            y = y * row.add_factor;
            y = y * add_weight[j];
        }
        x[j] = x[j] + y;
    }
#pragma unroll
    for (uint32_t j = 0; j < EACH; j++)
        if (mine + j * THREADS < row.n)
            row.sum[mine + j * THREADS] = x[j];
}

RAD_DEVICE void load_numbers(const float *from, uint32_t first, uint32_t n, float otherwise,
                             float out[EACH])
{
    const uint32_t mine = first + rad_thread();
#pragma unroll
    for (uint32_t j = 0; j < EACH; j++)
        out[j] = from != NULL && mine + j * THREADS < n ? from[mine + j * THREADS] : otherwise;
}

/* The sum over a row, by all threads of the block, which all receive it. */
template <int what>
RAD_DEVICE float sum_of_row(norm_row &row, float x[EACH], float mean, float *staged, float *result)
{
    float sum = 0.0f;
    for (uint32_t first = 0; first < row.n; first += PIECE) {
        const uint32_t count = row.n - first < PIECE ? row.n - first : PIECE;
        if (row.n > PIECE) {
            float add_weight[EACH];
            load_numbers(row.add_weight, first, row.n, 1.0f, add_weight);
            load_piece(row, first, add_weight, x);
        }
        rad_barrier();
#pragma unroll
        for (uint32_t j = 0; j < EACH; j++)
            staged[rad_thread() + j * THREADS] = x[j];
        rad_barrier();
        if (rad_thread() < RAD_NORM_LANES)
            sum = sum_of_lane<what>(staged, count, mean, sum);
    }
    if (row.add != NULL) {
        row.x = row.sum;
        row.add = NULL;
    }
    if (rad_warp() == 0) {
        sum = sum_lanes(sum);
        if (rad_lane() == 0)
            *result = sum;
    }
    rad_barrier();
    return *result;
}

/* Writes a piece, and its tiles. */
RAD_DEVICE void write_piece(const rad_cuda_norm_arguments &a, uint64_t row, uint32_t first,
                            const float x[EACH], const float weight[EACH], float mean, float factor,
                            float *staged)
{
    const uint32_t mine = first + rad_thread();
    const bool has_bias = a.layer_norm && a.bias != NULL;
    float *out = a.out + row * a.n;
    float bias[EACH];
    load_numbers(has_bias ? a.bias : NULL, first, a.n, 0.0f, bias);
#pragma unroll
    for (uint32_t j = 0; j < EACH; j++) {
        float y = (a.layer_norm ? x[j] - mean : x[j]) * factor;
        y = y * weight[j];
        if (has_bias)
            y = y + bias[j];
        if (mine + j * THREADS < a.n)
            out[mine + j * THREADS] = y;
        staged[rad_thread() + j * THREADS] = y;
    }
    if (a.tiles == NULL)
        return;
    const uint32_t n_tiles = (a.n + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
    uint8_t *tiles = a.tiles + row * n_tiles * RAD_CUDA_TILE_BYTES;
    rad_barrier();
#pragma unroll
    for (uint32_t i = 0; i < PIECE / RAD_CUDA_CHUNK / (THREADS / 32); i++) {
        const uint32_t of_piece = i * (THREADS / 32) + rad_warp();
        const uint32_t tile = first / RAD_CUDA_CHUNK + of_piece;
        if (tile < n_tiles)
            quantize_tile(staged + of_piece * RAD_CUDA_CHUNK, a.n, a.tile_block, tile, tiles);
    }
}

/* Weights are loaded while the kernel before this one still runs. OF_NORM: what is added is a norm.
 */
template <bool OF_NORM>
RAD_DEVICE void norm_rows(const rad_cuda_norm_arguments &a, float *staged, float *result)
{
    float x[EACH], weight[EACH], add_weight[EACH] = {};
    load_numbers(a.weight, 0, a.n, 1.0f, weight);
    if constexpr (OF_NORM)
        load_numbers(a.add_weight, 0, a.n, 1.0f, add_weight);
    rad_wait_for_earlier();
    for (uint32_t r = rad_block_x(); r < a.n_rows; r += rad_grid_x()) {
        const uint64_t start = (uint64_t)r * a.n;
        norm_row row = {a.in + start,
                        a.add != NULL ? a.add + start : NULL,
                        a.add != NULL ? a.sum + start : NULL,
                        a.n,
                        NULL,
                        0.0f};
        if constexpr (OF_NORM) {
            norm_row added = {a.add + start, NULL, NULL, a.n, NULL, 0.0f};
            if (a.n <= PIECE)
                load_piece(added, 0, add_weight, x);
            const float squares = sum_of_row<OF_SQUARES>(added, x, 0.0f, staged, result);
            row.add_factor = 1.0f / rad_sqrt(squares / (float)a.n + a.epsilon);
            row.add_weight = a.add_weight;
        }
        if (a.n <= PIECE)
            load_piece(row, 0, add_weight, x);
        float mean = 0.0f, sum;
        if (a.layer_norm) {
            mean = sum_of_row<OF_VALUES>(row, x, 0.0f, staged, result) / (float)a.n;
            sum = sum_of_row<OF_DIFFERENCES>(row, x, mean, staged, result + 1);
        } else {
            sum = sum_of_row<OF_SQUARES>(row, x, 0.0f, staged, result + 1);
        }
        const float factor = 1.0f / rad_sqrt(sum / (float)a.n + a.epsilon);
        for (uint32_t first = 0; first < a.n; first += PIECE) {
            if (a.n > PIECE) {
                load_piece(row, first, add_weight, x); /* added already */
                load_numbers(a.weight, first, a.n, 1.0f, weight);
                rad_barrier(); /* the tiles of the piece before are made */
            }
            write_piece(a, r, first, x, weight, mean, factor, staged);
        }
    }
}

RAD_CUDA_KERNEL_EARLY(norm, THREADS, rad_cuda_norm_arguments, a)
{
    RAD_SHARED(float, staged, PIECE);
    RAD_SHARED(float, result, 4);
    norm_rows<false>(a, staged, result);
}

RAD_CUDA_KERNEL_EARLY(norm_of_norm, THREADS, rad_cuda_norm_arguments, a)
{
    RAD_SHARED(float, staged, PIECE);
    RAD_SHARED(float, result, 4);
    norm_rows<true>(a, staged, result);
}

/* Sixteen lanes for each head. */
RAD_CUDA_KERNEL(head_norm, HEADS *RAD_NORM_LANES, rad_cuda_head_norm_arguments, a)
{
    uint32_t index = rad_block_x() * HEADS + rad_thread() / RAD_NORM_LANES;
    uint32_t row = index / a.n_heads, head = index - row * a.n_heads;
    bool is_one = row < a.n_rows;
    uint32_t n = is_one ? a.n : 0, lane = rad_thread() % RAD_NORM_LANES;
    float *x =
        a.values + (is_one ? (uint64_t)row * a.row + a.first + (uint64_t)head * a.stride : 0);
    float sum = 0.0f;
#pragma unroll 4
    for (uint32_t i = lane; i < n; i += RAD_NORM_LANES)
        sum = rad_fma(x[i], x[i], sum);
    sum = sum_lanes(sum);
    float factor = 1.0f / rad_sqrt(sum / (float)a.n + a.epsilon);
    for (uint32_t i = lane; i < n; i += RAD_NORM_LANES) {
        float y = x[i] * factor;
        x[i] = a.weight != NULL ? y * a.weight[i] : y;
    }
}

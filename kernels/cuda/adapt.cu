/* What adapters add to products: y += factor * B (A x), both products by the canonical sum, so that
 * the bits are the CPU's. A has few rows and many columns: a block brings a piece of its rows and
 * of the tokens' inputs into shared memory with all threads, and four lanes have a row, each four
 * of the sixteen partial sums. B has many rows and few columns, which the lanes read as they are.
 */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

enum {
    THREADS = 128,
    A_ROWS = RAD_CUDA_ADAPT_A_ROWS,
    B_ROWS = RAD_CUDA_ADAPT_B_ROWS,
    TOKENS = RAD_CUDA_ADAPT_TOKENS,
    PIECE = 512,         /* columns in shared memory */
    STRIDE = PIECE + 16, /* lanes of two rows read other banks */
    LOADS = PIECE / THREADS
};

static_assert(A_ROWS * TOKENS * 4 == THREADS && B_ROWS * 4 == THREADS, "a thread for each lane");

struct adapt_f32 {
    static RAD_MEMBER float number(const uint8_t *matrix, uint64_t i)
    {
        return ((const float *)matrix)[i];
    }
};

struct adapt_f16 {
    static RAD_MEMBER float number(const uint8_t *matrix, uint64_t i)
    {
        return rad_half_to_float(((const uint16_t *)matrix)[i]);
    }
};

struct adapt_bf16 {
    static RAD_MEMBER float number(const uint8_t *matrix, uint64_t i)
    {
        return rad_bf16_to_float(((const uint16_t *)matrix)[i]);
    }
};

/* The tree over the sums of four lanes, in all of them. */
RAD_DEVICE float adapt_sum(const float sums[4])
{
    float s[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        s[j] = sums[j] + rad_shuffle_xor(sums[j], 2);
        s[j] = s[j] + rad_shuffle_xor(s[j], 1);
    }
    return (s[0] + s[2]) + (s[1] + s[3]);
}

/* Of a piece that begins at column `first`: what a thread brings into shared memory, of each row
 * and each token every THREADS-th column. Rows, tokens and columns that are not there are zeros. */
template <class F> struct adapt_piece {
    float a[A_ROWS][LOADS], x[TOKENS][LOADS];

    RAD_MEMBER void load_a(const rad_cuda_adapt_arguments &p, uint32_t first)
    {
        const uint32_t row = rad_block_x() * A_ROWS, column = first + rad_thread();
#pragma unroll
        for (uint32_t r = 0; r < A_ROWS; r++) {
            const uint64_t begin = (uint64_t)(row + r) * p.n_columns + column;
#pragma unroll
            for (uint32_t i = 0; i < LOADS; i++)
                a[r][i] = row + r < p.n_rows && column + i * THREADS < p.n_columns
                              ? F::number(p.matrix, begin + i * THREADS)
                              : 0.0f;
        }
    }

    RAD_MEMBER void load_x(const rad_cuda_adapt_arguments &p, uint32_t first)
    {
        const uint32_t token = rad_block_y() * TOKENS, column = first + rad_thread();
#pragma unroll
        for (uint32_t t = 0; t < TOKENS; t++) {
            const float *at = p.x + (token + t) * p.x_stride + column;
#pragma unroll
            for (uint32_t i = 0; i < LOADS; i++)
                x[t][i] = token + t < p.n_tokens && column + i * THREADS < p.n_columns
                              ? at[i * THREADS]
                              : 0.0f;
        }
    }

    RAD_MEMBER void store(float *shared_a, float *shared_x) const
    {
#pragma unroll
        for (uint32_t i = 0; i < LOADS; i++) {
            const uint32_t column = i * THREADS + rad_thread();
#pragma unroll
            for (uint32_t r = 0; r < A_ROWS; r++)
                shared_a[r * STRIDE + column] = a[r][i];
#pragma unroll
            for (uint32_t t = 0; t < TOKENS; t++)
                shared_x[t * STRIDE + column] = x[t][i];
        }
    }
};

RAD_DEVICE void adapt_add(float sums[4], const float *a, const float *x, uint32_t n)
{
    const uint32_t q = rad_lane() % 4 * 4;
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        rad_f4 w = rad_floats(rad_load16(a + i + q)), v = rad_floats(rad_load16(x + i + q));
        sums[0] = rad_fma(w.x, v.x, sums[0]);
        sums[1] = rad_fma(w.y, v.y, sums[1]);
        sums[2] = rad_fma(w.z, v.z, sums[2]);
        sums[3] = rad_fma(w.w, v.w, sums[3]);
    }
    for (uint32_t j = 0; j < 4; j++)
        if (i + q + j < n)
            sums[j] = rad_fma(a[i + q + j], x[i + q + j], sums[j]);
}

template <class F>
RAD_DEVICE void adapt_down(const rad_cuda_adapt_arguments &p, float *shared_a, float *shared_x)
{
    const uint32_t local_row = rad_thread() / 4 % A_ROWS, local_token = rad_thread() / 4 / A_ROWS;
    const uint32_t row = rad_block_x() * A_ROWS + local_row;
    const uint32_t token = rad_block_y() * TOKENS + local_token;
    float sums[4] = {};
    adapt_piece<F> next;
    next.load_a(p, 0);
    rad_wait_for_earlier();
    next.load_x(p, 0);
    for (uint32_t first = 0; first < p.n_columns; first += PIECE) {
        const uint32_t n = p.n_columns - first < PIECE ? p.n_columns - first : (uint32_t)PIECE;
        next.store(shared_a, shared_x);
        rad_barrier();
        if (n == PIECE) {
            next.load_a(p, first + PIECE);
            next.load_x(p, first + PIECE);
        }
        adapt_add(sums, shared_a + local_row * STRIDE, shared_x + local_token * STRIDE, n);
        rad_barrier();
    }
    const float y = adapt_sum(sums);
    if (rad_lane() % 4 == 0 && row < p.n_rows && token < p.n_tokens)
        p.y[token * p.y_stride + row] = y;
}

/* The four lanes of a row that is not there take the last one's, and write nothing. */
template <class F> RAD_DEVICE void adapt_up(const rad_cuda_adapt_arguments &p)
{
    const uint32_t row = rad_block_x() * B_ROWS + rad_thread() / 4, q = rad_lane() % 4 * 4;
    const uint64_t begin = (uint64_t)(row < p.n_rows ? row : p.n_rows - 1) * p.n_columns;
    const uint32_t first = rad_block_y() * TOKENS;
    const uint32_t end = p.n_tokens - first < TOKENS ? p.n_tokens : first + TOKENS;
    for (uint32_t token = first; token < end; token++) {
        const float *x = p.x + token * p.x_stride;
        float sums[4] = {};
        for (uint32_t i = q; i < p.n_columns; i += 16)
#pragma unroll
            for (uint32_t j = 0; j < 4; j++)
                if (i + j < p.n_columns)
                    sums[j] = rad_fma(F::number(p.matrix, begin + i + j), x[i + j], sums[j]);
        const float sum = adapt_sum(sums);
        float *y = p.y + token * p.y_stride + row;
        if (rad_lane() % 4 == 0 && row < p.n_rows)
            *y = rad_fma(p.factor, sum, *y);
    }
}

#define ADAPT(type)                                                                                \
    RAD_CUDA_KERNEL_EARLY(adapt_down_##type, THREADS, rad_cuda_adapt_arguments, p)                 \
    {                                                                                              \
        RAD_SHARED(float, shared_a, A_ROWS *STRIDE);                                               \
        RAD_SHARED(float, shared_x, TOKENS *STRIDE);                                               \
        adapt_down<adapt_##type>(p, shared_a, shared_x);                                           \
    }                                                                                              \
    RAD_CUDA_KERNEL(adapt_up_##type, THREADS, rad_cuda_adapt_arguments, p)                         \
    {                                                                                              \
        adapt_up<adapt_##type>(p);                                                                 \
    }

ADAPT(f32)
ADAPT(f16)
ADAPT(bf16)

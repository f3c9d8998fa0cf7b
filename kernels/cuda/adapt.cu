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

/* Rows of inputs that a block multiplies: token t of `first` to `end` has row rows[t], or t / per.
 */
struct adapt_inputs {
    const float *x;
    uint64_t stride;
    const uint32_t *rows;
    uint32_t per, first, end;

    RAD_MEMBER const float *row(uint32_t token) const
    {
        return x + (rows == nullptr ? token / per : rows[token < end ? token : end - 1]) * stride;
    }
};

/* Of a piece that begins at column `first`: what a thread brings into shared memory, of each row
 * and each token every THREADS-th column. Rows, tokens and columns that are not there are zeros. */
template <class F> struct adapt_piece {
    float a[A_ROWS][LOADS], x[TOKENS][LOADS];

    RAD_MEMBER void load_a(const uint8_t *matrix, uint32_t n_rows, uint32_t n_columns,
                           uint32_t first)
    {
        const uint32_t row = rad_block_x() * A_ROWS, column = first + rad_thread();
#pragma unroll
        for (uint32_t r = 0; r < A_ROWS; r++) {
            const uint64_t begin = (uint64_t)(row + r) * n_columns + column;
#pragma unroll
            for (uint32_t i = 0; i < LOADS; i++)
                a[r][i] = row + r < n_rows && column + i * THREADS < n_columns
                              ? F::number(matrix, begin + i * THREADS)
                              : 0.0f;
        }
    }

    RAD_MEMBER void load_x(const adapt_inputs &in, uint32_t n_columns, uint32_t first)
    {
        const uint32_t column = first + rad_thread();
#pragma unroll
        for (uint32_t t = 0; t < TOKENS; t++) {
            const float *at = in.row(in.first + t) + column;
#pragma unroll
            for (uint32_t i = 0; i < LOADS; i++)
                x[t][i] = in.first + t < in.end && column + i * THREADS < n_columns
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

/* A thread's row of a block's, times its token's input. */
template <class F>
RAD_DEVICE float adapt_down_sum(const uint8_t *matrix, uint32_t n_rows, uint32_t n_columns,
                                const adapt_inputs &in, float *shared_a, float *shared_x)
{
    const uint32_t local_row = rad_thread() / 4 % A_ROWS, local_token = rad_thread() / 4 / A_ROWS;
    float sums[4] = {};
    adapt_piece<F> next;
    next.load_a(matrix, n_rows, n_columns, 0);
    rad_wait_for_earlier();
    next.load_x(in, n_columns, 0);
    for (uint32_t first = 0; first < n_columns; first += PIECE) {
        const uint32_t n = n_columns - first < PIECE ? n_columns - first : (uint32_t)PIECE;
        next.store(shared_a, shared_x);
        rad_barrier();
        if (n == PIECE) {
            next.load_a(matrix, n_rows, n_columns, first + PIECE);
            next.load_x(in, n_columns, first + PIECE);
        }
        adapt_add(sums, shared_a + local_row * STRIDE, shared_x + local_token * STRIDE, n);
        rad_barrier();
    }
    return adapt_sum(sums);
}

template <class F>
RAD_DEVICE void adapt_down(const rad_cuda_adapt_arguments &p, float *shared_a, float *shared_x)
{
    const adapt_inputs in = {p.x, p.x_stride, nullptr, 1, rad_block_y() * TOKENS, p.n_tokens};
    const uint32_t row = rad_block_x() * A_ROWS + rad_thread() / 4 % A_ROWS;
    const uint32_t token = in.first + rad_thread() / 4 / A_ROWS;
    const float y = adapt_down_sum<F>(p.matrix, p.n_rows, p.n_columns, in, shared_a, shared_x);
    if (rad_lane() % 4 == 0 && row < p.n_rows && token < p.n_tokens)
        p.y[token * p.y_stride + row] = y;
}

/* Tokens first to end. The four lanes of a row that is not there take the last one's, and write
 * nothing. */
template <class F>
RAD_DEVICE void adapt_up(const rad_cuda_adapt_arguments &p, uint32_t first, uint32_t end)
{
    const uint32_t row = rad_block_x() * B_ROWS + rad_thread() / 4, q = rad_lane() % 4 * 4;
    const uint64_t begin = (uint64_t)(row < p.n_rows ? row : p.n_rows - 1) * p.n_columns;
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

template <class F> RAD_DEVICE void adapt_up(const rad_cuda_adapt_arguments &p)
{
    const uint32_t first = rad_block_y() * TOKENS;
    adapt_up<F>(p, first, p.n_tokens - first < TOKENS ? p.n_tokens : first + TOKENS);
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

/* ---- of experts ---------------------------------------------------------------------------------
 *
 * A slot is a token's choice of an expert. A block has some that stand together, and takes those of
 * one expert at a time. */

/* Slots of one expert, which has a pair. */
struct adapt_slots {
    uint32_t first, end;
    const rad_cuda_expert_pair *pair;
};

RAD_DEVICE bool is_slot_of_run(const rad_cuda_adapt_experts_arguments &a, uint32_t slot)
{
    const uint32_t token = a.token_of != nullptr ? a.token_of[slot] : slot / a.n_used;
    return token - a.first_token < a.n_tokens;
}

/* The block's next ones, from `at` on; false: there are no more. */
RAD_DEVICE bool find_slots(const rad_cuda_adapt_experts_arguments &a, uint32_t at, adapt_slots &s)
{
    const uint32_t last = rad_block_y() * a.slots_per_block + a.slots_per_block;
    const uint32_t end = last < a.n_slots ? last : a.n_slots;
    while (at < end && (!is_slot_of_run(a, at) || a.places[a.experts[at]] == 0))
        at++;
    if (at >= end)
        return false;
    const uint32_t expert = a.experts[at];
    s.pair = &a.pairs[a.places[expert] - 1];
    s.first = at;
    while (at < end && a.experts[at] == expert && is_slot_of_run(a, at))
        at++;
    s.end = at;
    return true;
}

template <class F>
RAD_DEVICE void adapt_experts_down(const rad_cuda_adapt_experts_arguments &a, const adapt_slots &s,
                                   float *shared_a, float *shared_x)
{
    const bool by_token = !a.by_slot;
    const adapt_inputs in = {
        a.x, a.n_columns, by_token ? a.token_of : nullptr, by_token ? a.n_used : 1, s.first, s.end};
    const uint32_t row = rad_block_x() * A_ROWS + rad_thread() / 4 % A_ROWS;
    const uint32_t slot = s.first + rad_thread() / 4 / A_ROWS;
    const float y =
        adapt_down_sum<F>(a.data + s.pair->a, s.pair->rank, a.n_columns, in, shared_a, shared_x);
    if (rad_lane() % 4 == 0 && row < s.pair->rank && slot < s.end)
        a.hidden[(uint64_t)slot * a.hidden_stride + row] = y;
}

RAD_CUDA_KERNEL(adapt_experts_down, THREADS, rad_cuda_adapt_experts_arguments, a)
{
    RAD_SHARED(float, shared_a, A_ROWS *STRIDE);
    RAD_SHARED(float, shared_x, TOKENS *STRIDE);
    adapt_slots s = {0, rad_block_y() * a.slots_per_block, nullptr};
    while (find_slots(a, s.end, s)) {
        if (rad_block_x() * A_ROWS >= s.pair->rank)
            continue;
        switch (s.pair->a_type) {
        case RAD_CUDA_ADAPT_F16:
            adapt_experts_down<adapt_f16>(a, s, shared_a, shared_x);
            break;
        case RAD_CUDA_ADAPT_BF16:
            adapt_experts_down<adapt_bf16>(a, s, shared_a, shared_x);
            break;
        default:
            adapt_experts_down<adapt_f32>(a, s, shared_a, shared_x);
        }
    }
}

RAD_CUDA_KERNEL(adapt_experts_up, THREADS, rad_cuda_adapt_experts_arguments, a)
{
    adapt_slots s = {0, rad_block_y() * a.slots_per_block, nullptr};
    while (find_slots(a, s.end, s)) {
        const rad_cuda_expert_pair &pair = *s.pair;
        const uint32_t number = pair.b_type == RAD_CUDA_ADAPT_F32 ? 4 : 2;
        const uint64_t first = pair.b_rows > a.n_rows ? a.first_row : 0; /* of a pair for several */
        const rad_cuda_adapt_arguments p = {
            a.data + pair.b + first * pair.rank * number,
            a.hidden,
            a.y,
            a.hidden_stride,
            a.n_rows,
            a.n_rows,
            pair.rank,
            s.end,
            (float)(pair.scale * (double)a.scale * (double)a.number)};
        switch (pair.b_type) {
        case RAD_CUDA_ADAPT_F16:
            adapt_up<adapt_f16>(p, s.first, s.end);
            break;
        case RAD_CUDA_ADAPT_BF16:
            adapt_up<adapt_bf16>(p, s.first, s.end);
            break;
        default:
            adapt_up<adapt_f32>(p, s.first, s.end);
        }
    }
}

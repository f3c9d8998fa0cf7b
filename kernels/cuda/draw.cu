/* A token drawn from all of a row of logits: sums of weights by parts of the row, then the part and
 * the token in it at which the running sum reaches what was drawn. The sampler adds weight by
 * weight; sums in another order are others in their last bits, so a token is given only where the
 * difference is too small to matter. */
#include "kernels/cuda/block_sums.h"
#include "base/numeric_f64.h"
#include "kernels/cuda/kernels_layer.h"

#define THREADS 256

/* The sampler's, bit for bit. */
RAD_DEVICE double weight_of(float logit, float greatest, double temperature)
{
    return rad_exp_below_one(((double)logit - (double)greatest) / temperature);
}

/* Sums of n numbers that are not negative, in whatever order, are off by n 2^-53 of themselves at
 * most; so are, of all, the running sum and the target, here and by the sampler. Of these four,
 * twice as much. */
RAD_DEVICE double doubt(uint32_t n, double sum)
{
    return (double)(n + 4u) * 0x1p-50 * sum;
}

RAD_DEVICE bool is_drawn(const rad_cuda_draw_arguments &a, uint32_t row)
{
    return a.draws[row].temperature > 0.0 && a.parts[(uint64_t)row * a.n_parts].failed == 0;
}

RAD_CUDA_KERNEL(draw_sums, THREADS, rad_cuda_draw_arguments, a)
{
    RAD_SHARED(double, sums, THREADS);
    uint32_t size = (a.n + a.n_parts - 1) / a.n_parts;
    uint32_t first = rad_block_x() * size, end = a.n - first < size ? a.n : first + size;
    for (uint32_t row = rad_block_y(); row < a.n_rows; row += rad_grid_y()) {
        if (!is_drawn(a, row))
            continue;
        const float *logits = a.logits + row * a.stride;
        float greatest = a.parts[(uint64_t)row * a.n_parts].value;
        double temperature = a.draws[row].temperature, sum = 0.0;
        for (uint32_t i = first + rad_thread(); first < a.n && i < end; i += THREADS)
            sum += weight_of(logits[i], greatest, temperature);
        sum = sum_of_block<THREADS>(sum, sums);
        if (rad_thread() == 0)
            a.sums[(uint64_t)row * a.n_parts + rad_block_x()] = sum;
    }
}

/* How many of the block's running sums do not reach the target. */
RAD_DEVICE uint32_t count_below(bool below, uint32_t *count)
{
    if (rad_thread() == 0)
        *count = 0;
    rad_barrier();
    if (below)
        rad_atomic_add_u32(count, 1);
    rad_barrier();
    return *count;
}

RAD_CUDA_KERNEL(draw, THREADS, rad_cuda_draw_arguments, a)
{
    RAD_SHARED(double, sums, THREADS);
    RAD_SHARED(uint32_t, n_parts_below, 1);
    RAD_SHARED(uint32_t, n_threads_below, 1);
    uint32_t thread = rad_thread(), size = (a.n + a.n_parts - 1) / a.n_parts;
    for (uint32_t row = rad_block_x(); row < a.n_rows; row += rad_grid_x()) {
        if (thread == 0)
            a.out[row] = {0, 0};
        if (!is_drawn(a, row))
            continue;
        const float *logits = a.logits + row * a.stride;
        float greatest = a.parts[(uint64_t)row * a.n_parts].value;
        double temperature = a.draws[row].temperature;
        double sum = thread < a.n_parts ? a.sums[(uint64_t)row * a.n_parts + thread] : 0.0;
        double upto = sum_up_to<THREADS>(sum, sums), all = sums[THREADS - 1];
        double target = a.draws[row].unit * all, margin = doubt(a.n, all);
        uint32_t part = count_below(upto <= target, n_parts_below);
        double before = part > 0 ? sums[part - 1] : 0.0;
        rad_barrier();
        /* The part's tokens: some that follow each other for each thread. */
        uint32_t some = (size + THREADS - 1) / THREADS;
        uint32_t first = part * size, end = first < a.n && a.n - first > size ? first + size : a.n;
        uint32_t from = first + thread * some,
                 to = from < end && end - from > some ? from + some : end;
        sum = 0.0;
        for (uint32_t i = from; i < to; i++)
            sum += weight_of(logits[i], greatest, temperature);
        upto = sum_up_to<THREADS>(sum, sums);
        uint32_t mine = count_below(before + upto <= target, n_threads_below);
        double inside = thread > 0 ? sums[thread - 1] : 0.0;
        for (uint32_t i = from; thread == mine && i < to; i++) {
            double low = before + inside;
            inside += weight_of(logits[i], greatest, temperature);
            double high = before + inside;
            if (high <= target)
                continue;
            /* What weighs nothing in front of a token is nothing for everyone. */
            bool decided = (low == 0.0 || target - low >= margin) && high - target >= margin;
            a.out[row] = {i, decided ? 1u : 0u};
            break;
        }
        rad_barrier();
    }
}

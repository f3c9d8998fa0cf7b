/* The best tokens of a row of logits, for choices from a few of them: a histogram of how far logits
 * are below the greatest says which can be among the best; these are put in order. What all tokens
 * weigh together says which share of it they have. */
#include "kernels/cuda/block_sums.h"
#include "kernels/cuda/kernels_layer.h"

#define THREADS 256
#define BUCKETS RAD_CUDA_CANDIDATE_BUCKETS
#define ROOM    RAD_CUDA_CANDIDATE_ROOM
#define MOST    RAD_CUDA_CANDIDATES
#define REST    (BUCKETS - 1) /* too far below the greatest */

static_assert(BUCKETS == 4 * THREADS, "each thread sums four");

RAD_DEVICE bool is_finite(float logit)
{
    return (rad_bits(logit) & 0x7fffffffu) < 0x7f800000u;
}

/* Rises as logits fall, so that who is in a higher bucket has the lower logit. */
RAD_DEVICE uint32_t bucket_of(float greatest, float logit)
{
    float distance = (greatest - logit) * 16.0f;
    return distance < (float)REST ? (uint32_t)distance : REST;
}

/* Falling logits, then rising ids. Both zeros are one number. */
RAD_DEVICE uint64_t key_of(float logit, uint32_t token)
{
    uint32_t bits = rad_bits(logit + 0.0f);
    bits = (bits & 0x80000000u) != 0 ? bits : ~bits & 0x7fffffffu;
    return (uint64_t)bits << 32 | token;
}

RAD_DEVICE float logit_of(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    return rad_float((bits & 0x80000000u) != 0 ? bits : ~bits & 0x7fffffffu);
}

/* e^(logit - greatest), with an error of e^x in single precision alone: what its argument lacks
 * comes behind. */
RAD_DEVICE double weight_of(float greatest, float logit)
{
    double distance = (double)logit - (double)greatest;
    float near = (float)distance;
    double weight = (double)rad_expf(near);
    return weight > 0.0 ? weight + weight * (distance - (double)near) : 0.0;
}

RAD_DEVICE const rad_cuda_greatest &greatest_of(const rad_cuda_candidates_arguments &a,
                                                uint32_t row)
{
    return a.parts[(uint64_t)row * a.n_parts];
}

RAD_CUDA_KERNEL(candidate_counts, THREADS, rad_cuda_candidates_arguments, a)
{
    RAD_SHARED(uint32_t, counts, BUCKETS);
    RAD_SHARED(double, sums, THREADS);
    uint32_t size = (a.n + a.n_parts - 1) / a.n_parts;
    uint32_t first = rad_block_x() * size, end = a.n - first < size ? a.n : first + size;
    for (uint32_t row = rad_block_y(); row < a.n_rows; row += rad_grid_y()) {
        const float *logits = a.logits + row * a.stride;
        rad_cuda_greatest best = greatest_of(a, row);
        double mass = 0.0;
        for (uint32_t i = rad_thread(); i < BUCKETS; i += THREADS)
            counts[i] = 0;
        rad_barrier();
        for (uint32_t i = first + rad_thread(); best.failed == 0 && first < a.n && i < end;
             i += THREADS) {
            if (!is_finite(logits[i]))
                continue;
            rad_atomic_add_u32(&counts[bucket_of(best.value, logits[i])], 1);
            mass += weight_of(best.value, logits[i]);
        }
        mass = sum_of_block<THREADS>(mass, sums);
        if (rad_thread() == 0)
            a.masses[(uint64_t)row * a.n_parts + rad_block_x()] = mass;
        for (uint32_t i = rad_thread(); i < BUCKETS; i += THREADS)
            if (counts[i] > 0)
                rad_atomic_add_u32(&a.counts[(uint64_t)row * BUCKETS + i], counts[i]);
    }
}

/* The last bucket that is needed for the best ones. */
RAD_DEVICE uint32_t last_bucket(const uint32_t *counts, uint32_t *sums, uint32_t *last)
{
    uint32_t mine[4], sum = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t bucket = 4 * rad_thread() + i;
        mine[i] = bucket < REST ? counts[bucket] : 0;
        sum += mine[i];
    }
    uint32_t upto = sum_up_to<THREADS>(sum, sums), before = upto - sum;
    if (rad_thread() == 0)
        *last = REST - 1;
    rad_barrier();
    if (before < MOST && upto >= MOST) {
        uint32_t i = 0;
        for (before += mine[0]; before < MOST; before += mine[i])
            i++;
        *last = 4 * rad_thread() + i;
    }
    rad_barrier();
    return *last;
}

RAD_CUDA_KERNEL(candidate_keys, THREADS, rad_cuda_candidates_arguments, a)
{
    RAD_SHARED(uint32_t, sums, THREADS);
    RAD_SHARED(uint32_t, shared_last, 1);
    uint32_t size = (a.n + a.n_parts - 1) / a.n_parts;
    uint32_t first = rad_block_x() * size, end = a.n - first < size ? a.n : first + size;
    for (uint32_t row = rad_block_y(); row < a.n_rows; row += rad_grid_y()) {
        const float *logits = a.logits + row * a.stride;
        rad_cuda_greatest best = greatest_of(a, row);
        uint32_t last = last_bucket(a.counts + (uint64_t)row * BUCKETS, sums, shared_last);
        for (uint32_t i = first + rad_thread(); best.failed == 0 && first < a.n && i < end;
             i += THREADS) {
            if (!is_finite(logits[i]) || bucket_of(best.value, logits[i]) > last)
                continue;
            uint32_t at = rad_atomic_add_u32(&a.n_keys[row], 1);
            if (at < ROOM)
                a.keys[(uint64_t)row * ROOM + at] = key_of(logits[i], i);
        }
    }
}

/* Sorts 2^m keys. */
RAD_DEVICE void sort(uint64_t *keys, uint32_t n)
{
    for (uint32_t run = 2; run <= n; run *= 2) {
        for (uint32_t step = run / 2; step > 0; step /= 2) {
            for (uint32_t pair = rad_thread(); pair < n / 2; pair += THREADS) {
                uint32_t i = 2 * pair - (pair & (step - 1));
                uint64_t x = keys[i], y = keys[i + step];
                if ((x > y) == ((i & run) == 0)) {
                    keys[i] = y;
                    keys[i + step] = x;
                }
            }
            rad_barrier();
        }
    }
}

/* Those behind the n-th are none, up to a power of two. */
RAD_DEVICE uint32_t fill_up(uint64_t *keys, uint32_t n)
{
    uint32_t size = 2;
    while (size < n)
        size *= 2;
    for (uint32_t i = n + rad_thread(); i < size; i += THREADS)
        keys[i] = ~(uint64_t)0;
    rad_barrier();
    return size;
}

RAD_DEVICE uint64_t halves_swapped(uint64_t key)
{
    return key << 32 | key >> 32;
}

RAD_CUDA_KERNEL(candidates, THREADS, rad_cuda_candidates_arguments, a)
{
    RAD_SHARED(uint64_t, keys, ROOM);
    RAD_SHARED(uint32_t, sums, THREADS);
    RAD_SHARED(double, masses, THREADS);
    for (uint32_t row = rad_block_x(); row < a.n_rows; row += rad_grid_x()) {
        uint32_t *counts = a.counts + (uint64_t)row * BUCKETS, sum = 0;
        uint32_t n = a.n_keys[row], kept = n < MOST ? n : MOST;
        bool fits = n <= ROOM && greatest_of(a, row).failed == 0;
        for (uint32_t i = 0; i < 4; i++) {
            sum += counts[4 * rad_thread() + i];
            counts[4 * rad_thread() + i] = 0; /* for the next step */
        }
        sum_up_to<THREADS>(sum, sums);
        uint32_t all = sums[THREADS - 1];
        for (uint32_t i = rad_thread(); fits && i < n; i += THREADS)
            keys[i] = a.keys[(uint64_t)row * ROOM + i];
        uint32_t size = fill_up(keys, fits ? n : 0);
        sort(keys, size);
        for (uint32_t i = rad_thread(); fits && i < kept; i += THREADS)
            keys[i] = halves_swapped(keys[i]); /* by id */
        size = fill_up(keys, fits ? kept : 0);
        sort(keys, size);
        rad_cuda_candidates *out = &a.out[row];
        double mass = 0.0;
        if (rad_thread() < a.n_parts)
            mass = a.masses[(uint64_t)row * a.n_parts + rad_thread()];
        mass = sum_of_block<THREADS>(mass, masses);
        for (uint32_t i = rad_thread(); fits && i < kept; i += THREADS) {
            uint64_t key = halves_swapped(keys[i]);
            out->list[i] = {logit_of(key), (uint32_t)key};
        }
        if (rad_thread() == 0) {
            out->n = fits ? kept : 0;
            out->all = fits && all == kept;
            out->mass = mass;
            a.n_keys[row] = 0;
        }
    }
}

/* A mixture of experts: routing (the text of kernels/route.c, a warp for each token) and the
 * sorting of choices by expert, all on the device. Sums are by one lane, in the CPU's order. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels_layer.h"
#include "kernels/route.h"

#define WARP           32
#define GROUP_THREADS  256
#define MINUS_INFINITY rad_float(0xff800000u)
#define NOT_A_NUMBER   rad_float(0x7fc00000u)

/* The greatest of n numbers, NaN left out; -infinity when there are none. */
RAD_DEVICE float greatest(const float *x, uint32_t n)
{
    float most = MINUS_INFINITY;
    for (uint32_t i = rad_lane(); i < n; i += WARP)
        most = x[i] > most ? x[i] : most;
    for (uint32_t mask = 16; mask > 0; mask /= 2) {
        float other = rad_shuffle_xor(most, mask);
        most = other > most ? other : most;
    }
    return most;
}

/* The sum of n numbers in order, by each lane. */
RAD_DEVICE float sum_in_order(const float *x, uint32_t n)
{
    float sum = 0.0f;
    for (uint32_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

/* y = softmax(x) in shared memory; y may be x. */
RAD_DEVICE void softmax(const float *x, uint32_t n, float *y)
{
    float most = greatest(x, n);
    rad_warp_barrier();
    for (uint32_t i = rad_lane(); i < n; i += WARP)
        y[i] = rad_expf(x[i] - most);
    rad_warp_barrier();
    float sum = sum_in_order(y, n);
    rad_warp_barrier();
    for (uint32_t i = rad_lane(); i < n; i += WARP)
        y[i] /= sum;
    rad_warp_barrier();
}

/* The best of n that are not taken yet, by the whole warp; ties go to the lower one. It is taken.
 */
RAD_DEVICE uint32_t take_best(const float *ranks, uint32_t n, uint32_t *taken)
{
    uint32_t best = n;
    float rank = MINUS_INFINITY;
    for (uint32_t i = rad_lane(); i < n; i += WARP) {
        if (!taken[i] && (best == n || ranks[i] > rank)) {
            best = i;
            rank = ranks[i];
        }
    }
    for (uint32_t mask = 16; mask > 0; mask /= 2) {
        uint32_t other = rad_shuffle_xor(best, mask);
        float other_rank = rad_shuffle_xor(rank, mask);
        bool better = other_rank > rank || (other_rank == rank && other < best);
        if (other != n && (best == n || better)) {
            best = other;
            rank = other_rank;
        }
    }
    rad_warp_barrier();
    if (best < n && rad_lane() == 0)
        taken[best] = 1;
    rad_warp_barrier();
    return best;
}

/* What a group is worth: the sum of its best, by one lane. */
RAD_DEVICE float worth_of_group(const float *ranks, uint32_t size, uint32_t n_best, uint32_t *taken)
{
    float sum = 0.0f;
    for (uint32_t k = 0; k < n_best && k < size; k++) {
        uint32_t best = size;
        for (uint32_t i = 0; i < size; i++) {
            if (!taken[i] && (best == size || ranks[i] > ranks[best]))
                best = i;
        }
        taken[best] = 1;
        sum += ranks[best];
    }
    return sum == sum ? sum : MINUS_INFINITY; /* infinities of both signs */
}

/* Marks the experts of the groups that are not looked at as taken. */
RAD_DEVICE void take_groups(const rad_cuda_route_arguments &a, const float *ranks, uint32_t *taken,
                            float *groups, uint32_t *used)
{
    uint32_t size = a.n_experts / a.n_groups;
    for (uint32_t g = rad_lane(); g < a.n_groups; g += WARP) {
        groups[g] = worth_of_group(ranks + g * size, size, a.group_best, taken + g * size);
        used[g] = 0;
    }
    rad_warp_barrier();
    for (uint32_t i = 0; i < a.n_groups_used; i++)
        take_best(groups, a.n_groups, used);
    for (uint32_t e = rad_lane(); e < a.n_experts; e += WARP)
        taken[e] = !used[e / size];
    rad_warp_barrier();
}

/* A softmax over all, divided by the sum of the chosen, is computed as the softmax of the chosen.
 */
RAD_DEVICE bool is_simple(const rad_cuda_route_arguments &a)
{
    return a.gating == RAD_GATING_SOFTMAX && a.normalise && a.bias == NULL;
}

RAD_DEVICE void make_scores(const rad_cuda_route_arguments &a, uint32_t gating, const float *logits,
                            float *scores)
{
    for (uint32_t i = rad_lane(); i < a.n_experts; i += WARP)
        scores[i] = gating == RAD_GATING_SIGMOID ? rad_sigmoidf(logits[i]) : logits[i];
    rad_warp_barrier();
    if (gating == RAD_GATING_SOFTMAX)
        softmax(scores, a.n_experts, scores);
}

/* Scores, with the bias, as ranks; true when all are numbers. */
RAD_DEVICE bool make_ranks(const rad_cuda_route_arguments &a, const float *scores, float *ranks,
                           uint32_t *taken)
{
    bool numbers = true;
    for (uint32_t i = rad_lane(); i < a.n_experts; i += WARP) {
        float rank = a.bias != NULL ? scores[i] + a.bias[i] : scores[i];
        if (!(rank == rank)) {
            numbers = false;
            rank = MINUS_INFINITY;
        }
        ranks[i] = rank;
        taken[i] = 0;
    }
    numbers = rad_all(numbers);
    rad_warp_barrier();
    return numbers;
}

RAD_DEVICE void weigh(const rad_cuda_route_arguments &a, uint32_t gating, bool normalise,
                      float *weights)
{
    if (gating == RAD_GATING_CHOSEN)
        softmax(weights, a.n_used, weights);
    if (normalise) {
        float sum = sum_in_order(weights, a.n_used);
        rad_warp_barrier();
        for (uint32_t i = rad_lane(); i < a.n_used; i += WARP)
            weights[i] /= sum + 1e-20f;
        rad_warp_barrier();
    }
    for (uint32_t i = rad_lane(); a.scale != 1.0f && i < a.n_used; i += WARP)
        weights[i] *= a.scale;
}

RAD_CUDA_KERNEL(route, WARP, rad_cuda_route_arguments, a)
{
    RAD_SHARED(float, groups, RAD_MAX_EXPERTS);
    float *scores = (float *)rad_dynamic_shared(), *ranks = scores + a.n_experts;
    uint32_t *taken = (uint32_t *)(ranks + a.n_experts), *used = taken + a.n_experts;
    float *weights = (float *)(used + a.n_experts);
    uint32_t gating = is_simple(a) ? (uint32_t)RAD_GATING_CHOSEN : a.gating;
    bool normalise = a.normalise && !is_simple(a);
    for (uint32_t row = rad_block_x(); row < a.n_rows; row += rad_grid_x()) {
        uint32_t *routes = a.routes + (uint64_t)row * 2 * a.n_used;
        make_scores(a, gating, a.logits + (uint64_t)row * a.n_experts, scores);
        bool numbers = make_ranks(a, scores, ranks, taken);
        if (a.n_groups > 1)
            take_groups(a, ranks, taken, groups, used);
        for (uint32_t i = 0; i < a.n_used; i++) {
            uint32_t best = take_best(ranks, a.n_experts, taken);
            if (rad_lane() == 0) {
                routes[i] = best;
                weights[i] = scores[best];
            }
        }
        rad_warp_barrier();
        weigh(a, gating, normalise, weights);
        for (uint32_t i = rad_lane(); i < a.n_used; i += WARP)
            routes[a.n_used + i] = rad_bits(numbers ? weights[i] : NOT_A_NUMBER);
        rad_warp_barrier();
    }
}

/* ---- sorting --------------------------------------------------------------------------------- */

/* The sum over the block, which all threads receive. */
RAD_DEVICE uint32_t sum_of_block(uint32_t value, uint32_t *sums)
{
    for (uint32_t mask = 16; mask > 0; mask /= 2)
        value += rad_shuffle_xor(value, mask);
    rad_barrier();
    if (rad_lane() == 0)
        sums[rad_warp()] = value;
    rad_barrier();
    uint32_t sum = 0;
    for (uint32_t w = 0; w < GROUP_THREADS / WARP; w++)
        sum += sums[w];
    return sum;
}

/* The expert of a choice; a choice's number is row * n_used + rank. */
RAD_DEVICE uint32_t expert_of_choice(const rad_cuda_group_arguments &a, uint32_t choice)
{
    uint32_t row = choice / a.n_used;
    return a.routes[(uint64_t)row * 2 * a.n_used + (choice - row * a.n_used)];
}

RAD_DEVICE uint32_t count_bits(uint32_t x)
{
    x = x - (x >> 1 & 0x55555555u);
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    return ((x + (x >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24;
}

/* Numbers this expert's choices from `start` on, in their order. */
RAD_DEVICE void place_choices(const rad_cuda_group_arguments &a, uint32_t expert, uint32_t start,
                              uint32_t *sums)
{
    uint32_t n_choices = a.n_rows * a.n_used;
    for (uint32_t first = 0; first < n_choices; first += GROUP_THREADS) {
        uint32_t choice = first + rad_thread();
        bool mine = choice < n_choices && expert_of_choice(a, choice) == expert;
        uint32_t ballot = rad_ballot(mine), before = 0, all = 0;
        rad_barrier();
        if (rad_lane() == 0)
            sums[rad_warp()] = ballot;
        rad_barrier();
        for (uint32_t w = 0; w < GROUP_THREADS / WARP; w++) {
            uint32_t n = count_bits(sums[w]);
            before += w < rad_warp() ? n : 0;
            all += n;
        }
        if (mine) {
            uint32_t row = start + before + count_bits(ballot & ((1u << rad_lane()) - 1u));
            a.token_of[row] = choice / a.n_used;
            a.row_of[choice] = row;
            if (a.expert_of != NULL)
                a.expert_of[row] = expert;
        }
        start += all;
    }
}

/* A block for each expert. All count all choices, which is quick, and so need not wait for others.
 */
RAD_CUDA_KERNEL(group, GROUP_THREADS, rad_cuda_group_arguments, a)
{
    RAD_SHARED(uint32_t, sums, GROUP_THREADS / WARP);
    uint32_t *counts = (uint32_t *)rad_dynamic_shared();
    uint32_t expert = rad_block_x(), n_choices = a.n_rows * a.n_used;
    for (uint32_t e = rad_thread(); e < a.n_experts; e += GROUP_THREADS)
        counts[e] = 0;
    rad_barrier();
    for (uint32_t i = rad_thread(); i < n_choices; i += GROUP_THREADS)
        rad_atomic_add_u32(&counts[expert_of_choice(a, i)], 1);
    rad_barrier();
    uint32_t before = 0, tiles = 0, all_tiles = 0;
    for (uint32_t e = rad_thread(); e < a.n_experts; e += GROUP_THREADS) {
        uint32_t of_expert = (counts[e] + a.tile_rows - 1) / a.tile_rows;
        before += e < expert ? counts[e] : 0;
        tiles += e < expert ? of_expert : 0;
        all_tiles += of_expert;
    }
    uint32_t start = sum_of_block(before, sums), n = counts[expert];
    if (rad_thread() == 0) {
        a.starts[expert] = start;
        if (expert + 1 == a.n_experts)
            a.starts[a.n_experts] = start + n;
        if (a.counts != NULL && n > 0)
            rad_atomic_add_u64(&a.counts[expert], n);
    }
    if (a.tile_expert != NULL) {
        uint32_t first = sum_of_block(tiles, sums);
        all_tiles = sum_of_block(all_tiles, sums);
        if (expert == 0 && rad_thread() == 0)
            *a.n_tiles = all_tiles;
        for (uint32_t i = rad_thread(); i * a.tile_rows < n; i += GROUP_THREADS) {
            a.tile_expert[first + i] = expert;
            a.tile_first[first + i] = start + i * a.tile_rows;
        }
    }
    place_choices(a, expert, start, sums);
}

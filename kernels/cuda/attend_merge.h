/* States of attention and how they merge, by a warp: kernels/cpu/layer.h has the formulas. A state
 * is value_dim outputs, then maximum and sum; that of a tile has steps behind them. */
#ifndef RAD_CUDA_ATTEND_MERGE_H
#define RAD_CUDA_ATTEND_MERGE_H

#include "kernels/cuda/attend_tile.h"

#define NO_HEAD 0xffffffffu
#define AT_ONCE 4 /* outputs of a lane that are merged together */

/* Tiles that may hold sinks, and those of them that a sequence has. */
RAD_DEVICE uint32_t tiles_of_sinks(const rad_cuda_attend_arguments &a)
{
    return (uint32_t)(((uint64_t)a.sinks + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS);
}

RAD_DEVICE uint32_t sink_tiles(const rad_cuda_attend_arguments &a, uint32_t end_tile)
{
    uint32_t n = tiles_of_sinks(a);
    return n < end_tile ? n : end_tile;
}

/* The first range behind range 0 that is seen. */
RAD_DEVICE uint32_t first_range(uint32_t first_tile)
{
    uint32_t range = first_tile / RAD_CUDA_ATTEND_RANGE_TILES;
    return range > 0 ? range : 1;
}

/* The states of a query of the kernel's block: those of one block stand side by side. */
RAD_DEVICE float *states_of(const rad_cuda_attend_arguments &a, uint32_t block, uint32_t head,
                            uint32_t token)
{
    uint32_t group = a.n_heads / a.n_kv_heads, kv_head = head / group, of_group = head % group;
    uint32_t chunk = of_group / a.heads_per_block, first = chunk * a.heads_per_block;
    uint32_t n_heads = group - first < a.heads_per_block ? group - first : a.heads_per_block;
    uint64_t of_block = ((uint64_t)block * a.n_kv_heads + kv_head) * a.head_blocks + chunk;
    uint64_t query =
        of_block * a.heads_per_block * a.tokens_per_block + token * n_heads + (of_group - first);
    return a.states + query * a.n_units * rad_cuda_attend_state(a.value_dim);
}

RAD_DEVICE float greater(float a, float b)
{
    return a > b ? a : b;
}

RAD_DEVICE bool is_empty_state(float most, float sum)
{
    return most == MINUS_INFINITY && sum == 0.0f;
}

/* Nothing, or a head's learned sink: one score, whose value is nothing. */
RAD_DEVICE void clear_state(const rad_cuda_attend_arguments &a, float *state, uint32_t head)
{
    bool learned = head != NO_HEAD && a.learned_sinks != NULL;
    for (uint32_t d = rad_lane(); d < a.value_dim; d += 32)
        state[d] = 0.0f;
    if (rad_lane() == 0) {
        state[a.value_dim] = learned ? a.learned_sinks[head] : MINUS_INFINITY;
        state[a.value_dim + 1] = learned ? 1.0f : 0.0f;
    }
    rad_warp_barrier();
}

/* A number of a state, and that of a tile: in halves most factors are 1. */
RAD_DEVICE float merged_number(bool halves, float before, float factor, float other, float weight)
{
    return halves ? rad_fma(other, weight, before * factor)
                  : rad_fma(before, factor, other * weight);
}

/* The greatest of what the first n lanes of each `width` have up to this one; of equal ones the
 * last. */
RAD_DEVICE float greatest_so_far(float x, uint32_t width, uint32_t n)
{
#pragma unroll
    for (uint32_t step = 1; step < 32; step *= 2) {
        if (step >= n)
            break;
        float before = rad_shuffle(x, (rad_lane() - step) & 31u);
        x = (rad_lane() & (width - 1)) >= step ? greater(before, x) : x;
    }
    return x;
}

/* What goes before a state of a query, as lanes have it for the states of some queries. */
struct merge_factors {
    float rescale, weight, sum; /* the lane's state's */
    float total, last;          /* the query's sum before, and its maximum behind all */
    uint32_t seen;              /* bits of states that there are, of all lanes */
    uint32_t replaces;          /* of queries that the first state replaces: of all their lanes */
};

/* A lane has state lane % width of query lane / width; width: 8 or 32. */
RAD_DEVICE merge_factors make_factors(uint32_t dim, const float *state, uint32_t next_state,
                                      const float *row, uint32_t next_row, uint32_t n_queries,
                                      uint32_t width, uint32_t stride, uint32_t n, bool of_ranges,
                                      bool halves)
{
    const uint32_t lane = rad_lane(), place = lane & (width - 1);
    const uint32_t query = width == 32 ? 0 : lane / 8, q = query < n_queries ? query : 0;
    const bool there = query < n_queries && place < n;
    const float *mine = row + q * next_row + (place < n ? place : 0) * stride + dim;
    state += q * next_state + dim;
    const float most = mine[0], sum = mine[1], merged = state[0], total = state[1];
    const bool has_some = there && !is_empty_state(most, sum);
    const float level = halves ? level_of(most) : most;
    const float behind =
        greater(merged, greatest_so_far(has_some ? level : MINUS_INFINITY, width, n));
    float before = rad_shuffle(behind, (lane - 1) & 31u);
    before = place == 0 ? merged : before;
    merge_factors f;
    if (halves) {
        f.rescale = before == behind ? 1.0f : halves_exp(before - behind);
        f.weight = halves_exp(most - behind);
    } else {
        f.rescale = rad_expf_below_one(before - behind);
        f.weight = rad_expf_below_one(most - behind);
    }
    f.sum = sum;
    f.total = total;
    f.last = rad_shuffle(behind, lane - place + n - 1);
    f.seen = rad_ballot(has_some);
    f.replaces = rad_ballot(of_ranges && is_empty_state(merged, total));
    return f;
}

/* n states, 1 to 32, `stride` apart, into that of each query, one by one: of tiles, or of ranges,
 * the first of which replaces nothing as it is. Of few states the factors of four queries are made
 * together. */
RAD_OUTLINE void merge_states_in_rows(uint32_t dim, float *state, uint32_t next_state,
                                      const float *row, uint32_t next_row, uint32_t n_queries,
                                      uint32_t stride, uint32_t n, bool of_ranges, bool steps,
                                      bool halves)
{
    const uint32_t lane = rad_lane(), width = n <= 8 ? 8 : 32;
    merge_factors f;
    for (uint32_t q = 0, from = 32; q < n_queries;
         q++, from += width, state += next_state, row += next_row) {
        if (from >= 32) {
            from = 0;
            f = make_factors(dim, state, next_state, row, next_row, n_queries - q, width, stride, n,
                             of_ranges, halves);
            rad_warp_barrier(); /* all have read maxima and sums */
        }
        const uint32_t seen = f.seen >> from & 0xffffffffu >> (32 - n);
        const uint32_t replacing =
            (f.replaces >> from & 1u) != 0 ? seen & (0u - seen) : 0u; /* its bit */
        const float total = rad_shuffle(f.total, from), last = rad_shuffle(f.last, from);
        float result = total;
        if (seen == 0)
            continue;
        for (uint32_t first = lane; first - lane < dim; first += 32 * AT_ONCE) {
            float out[AT_ONCE], all = total;
            uint32_t at[AT_ONCE]; /* lanes behind the end repeat the last output */
#pragma unroll
            for (uint32_t j = 0; j < AT_ONCE; j++) {
                at[j] = first + 32 * j < dim ? first + 32 * j : dim - 1;
                out[j] = state[at[j]];
            }
            const float *other = row;
#pragma unroll 4
            for (uint32_t i = 0; i < n; i++, other += stride) {
                float factor = rad_shuffle(f.rescale, from + i);
                float of_state = rad_shuffle(f.weight, from + i);
                float of_sum = rad_shuffle(f.sum, from + i);
                bool has_some = (seen >> i & 1u) != 0, is_all = (replacing >> i & 1u) != 0;
                float sums = is_all ? of_sum : merged_number(halves, all, factor, of_sum, of_state);
                all = has_some ? sums : all;
#pragma unroll
                for (uint32_t j = 0; j < AT_ONCE; j++) {
                    float part = other[at[j]];
                    float of_block = steps ? other[dim + 2 + at[j] / 32] * of_state : of_state;
                    float merged_part = merged_number(halves, out[j], factor, part, of_block);
                    float next = is_all ? part : merged_part;
                    out[j] = has_some ? next : out[j];
                }
            }
            rad_warp_barrier(); /* all have read what others repeat */
#pragma unroll
            for (uint32_t j = 0; j < AT_ONCE; j++)
                if (first + 32 * j < dim)
                    state[at[j]] = out[j];
            result = all;
        }
        if (lane == 0) {
            state[dim] = last;
            state[dim + 1] = result;
        }
        rad_warp_barrier();
    }
}

/* Of n_queries queries, whose states and whose first states to be merged are so far apart. */
RAD_DEVICE void merge_rows(const rad_cuda_attend_arguments &a, float *state, uint32_t next_state,
                           const float *row, uint32_t next_row, uint32_t n_queries, uint32_t stride,
                           uint32_t n, bool of_ranges)
{
    bool steps = !of_ranges && rad_is_integer_cache(a.value_type);
    bool halves = !of_ranges && rad_cuda_attend_by_halves(&a);
    if (n > 0)
        merge_states_in_rows(a.value_dim, state, next_state, row, next_row, n_queries, stride, n,
                             of_ranges, steps, halves);
}

RAD_DEVICE void merge_row(const rad_cuda_attend_arguments &a, float *state, const float *row,
                          uint32_t stride, uint32_t n, bool of_ranges)
{
    merge_rows(a, state, 0, row, 0, 1, stride, n, of_ranges);
}

/* The state of a range into that of what precedes it. */
RAD_DEVICE void merge_states(const rad_cuda_attend_arguments &a, float *state, const float *part)
{
    const uint32_t dim = a.value_dim;
    float before = state[dim], total = state[dim + 1], most = part[dim], sum = part[dim + 1];
    bool replaced = is_empty_state(before, total);
    if (is_empty_state(most, sum))
        return;
    float merged = greater(before, most);
    float rescale = rad_expf_below_one(before - merged);
    float weight = rad_expf_below_one(most - merged);
    for (uint32_t d = rad_lane(); d < dim; d += 32)
        state[d] = replaced ? part[d] : rad_fma(state[d], rescale, part[d] * weight);
    rad_warp_barrier();
    if (rad_lane() == 0) {
        state[dim] = replaced ? most : merged;
        state[dim + 1] = replaced ? sum : rad_fma(total, rescale, sum * weight);
    }
    rad_warp_barrier();
}

RAD_DEVICE void finish(const rad_cuda_attend_arguments &a, const float *state, uint32_t row,
                       uint32_t head)
{
    float *out = a.out + ((uint64_t)row * a.n_heads + head) * a.value_dim;
    float sum = state[a.value_dim + 1];
    for (uint32_t d = rad_lane(); d < a.value_dim; d += 32)
        out[d] = state[d] / sum;
}

#endif

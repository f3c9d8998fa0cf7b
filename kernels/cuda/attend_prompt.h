/* Attention of many tokens to keys and values in F16: a block of 4 warps has up to 128 queries that
 * share keys, a warp 32 of them, whose states stay in registers, so that what is read of keys and
 * values serves two products. Two tiles of keys at a time, which arrive while values are
 * multiplied; the values arrive while keys are. The bits of a query are those of attend_few and
 * attend_merge: each tile begins with zeros and merges by itself. */
#ifndef RAD_CUDA_ATTEND_PROMPT_H
#define RAD_CUDA_ATTEND_PROMPT_H

#include "kernels/cuda/attend_halves.h"
#include "kernels/cuda/attend_parts.h"

#define PROMPT_WARPS   RAD_CUDA_ATTEND_HALF_WARPS
#define PROMPT_THREADS (PROMPT_WARPS * 32)
#define PROMPT_ROWS    RAD_CUDA_ATTEND_MANY_ROWS
#define PROMPT_TILES   2                                 /* at a time */
#define PROMPT_PARTS   (RAD_CUDA_ATTEND_HALF_VALUES / 8) /* eight dimensions each */
#define LANE_ROWS      4 /* queries of a lane: lane / 4 + 8 k of the warp's 32 */

/* Keys low .. high - 1. */
struct prompt_view {
    uint32_t low, high;
};

/* What a block knows of its work, in shared memory: registers are for states. */
struct prompt_task {
    uint32_t block, n_live, first_row, n_heads, head, kv_head, sequence;
    uint32_t first_position, last_end; /* of its first and last token */
    uint32_t first_tile, end_tile;
    uint32_t step, begin, end; /* tiles of the part that is taken */
    bool of_sinks, begins, prepared, in_memory;
    uint32_t pages[RAD_CUDA_ATTEND_RANGE_TILES];       /* of so many tiles, by their numbers */
    prompt_view seen;                                  /* by any token of the block */
    prompt_view some[PROMPT_WARPS], all[PROMPT_WARPS]; /* by any and by all tokens of a warp */
};

/* DIMS: of keys and of values, where they are known at compile time, scores are but scaled and
 * the policy has no sinks; 0: as the arguments say. */
template <uint32_t DIMS> struct prompt {
    const rad_cuda_attend_arguments &a;

    RAD_MEMBER uint32_t key_dim() const
    {
        return DIMS != 0 ? DIMS : a.key_dim;
    }

    RAD_MEMBER uint32_t value_dim() const
    {
        return DIMS != 0 ? DIMS : a.value_dim;
    }

    RAD_MEMBER uint32_t query_pitch() const
    {
        return rad_cuda_attend_value_pitch(key_dim());
    }

    RAD_MEMBER uint32_t value_pitch() const
    {
        return rad_cuda_attend_value_pitch(value_dim());
    }

    /* Where things stand in shared memory: queries, and behind them what their rounding left; keys
     * and values of two tiles; what belongs to each query; the task. */
    RAD_MEMBER uint8_t *queries() const
    {
        return rad_dynamic_shared();
    }

    RAD_MEMBER uint8_t *low_queries() const
    {
        return queries() + PROMPT_ROWS * query_pitch();
    }

    RAD_MEMBER uint8_t *keys() const
    {
        return low_queries() + PROMPT_ROWS * query_pitch();
    }

    RAD_MEMBER uint8_t *values() const
    {
        return keys() + PROMPT_TILES * key_dim() * 64;
    }

    RAD_MEMBER uint32_t *positions() const
    {
        return (uint32_t *)(values() + PROMPT_TILES * RAD_TILE_KEYS * value_pitch());
    }

    RAD_MEMBER uint32_t *ends() const
    {
        return positions() + PROMPT_ROWS;
    }

    RAD_MEMBER float *slopes() const
    {
        return (float *)(positions() + 2 * PROMPT_ROWS);
    }

    RAD_MEMBER float *total_most() const
    {
        return (float *)(positions() + 3 * PROMPT_ROWS);
    }

    RAD_MEMBER float *total_sum() const
    {
        return (float *)(positions() + 4 * PROMPT_ROWS);
    }

    RAD_MEMBER prompt_task &task() const
    {
        return *(prompt_task *)(positions() + 5 * PROMPT_ROWS);
    }

    RAD_MEMBER uint32_t row_of(uint32_t r) const
    {
        return task().first_row + r / task().n_heads;
    }

    RAD_MEMBER uint32_t head_of(uint32_t r) const
    {
        return task().head + r % task().n_heads;
    }

    /* Queries that there are not are like the first one. */
    RAD_MEMBER uint32_t live(uint32_t r) const
    {
        return r < task().n_live ? r : 0;
    }

    RAD_MEMBER float *out_of(uint32_t r) const
    {
        return a.out + ((uint64_t)row_of(r) * a.n_heads + head_of(r)) * value_dim();
    }

    RAD_MEMBER uint32_t warp_row() const
    {
        return rad_warp() * 32;
    }

    /* A lane's query k. */
    RAD_MEMBER uint32_t row(uint32_t k) const
    {
        return warp_row() + k * 8 + rad_lane() / 4;
    }
};

/* Of a lane's four queries: the maximum that they are scaled by, sum, and of 8 dimensions each two
 * outputs; queries 0 and 1 in out[0], 2 and 3 in out[1]. */
struct prompt_state {
    float most[LANE_ROWS], sum[LANE_ROWS];
    float out[2][PROMPT_PARTS][4];
};

/* A tile of a warp's queries. */
struct prompt_tile {
    uint32_t p[2][2][4]; /* probabilities of 16 queries, as the first operand of 16 slots each */
    float most[LANE_ROWS];
    bool seen, plain; /* by any query; by all, and nothing is to be hidden */
    uint32_t empty;   /* bit k: a lane's query k sees nothing of it */
};

/* The longest blocks of the grid first: the last tokens of each head. By one thread. */
RAD_DEVICE void make_prompt(const rad_cuda_attend_arguments &a, prompt_task *task)
{
    const uint32_t number = rad_block_y() * rad_grid_x() + rad_block_x();
    const uint32_t y = number % rad_grid_y(), group = a.n_heads / a.n_kv_heads;
    task->block = rad_grid_x() - 1 - number / rad_grid_y();
    rad_cuda_attend_block block = a.blocks[task->block];
    uint32_t first = y % a.head_blocks * a.heads_per_block;
    task->kv_head = y / a.head_blocks;
    task->head = task->kv_head * group + first;
    task->n_heads = group - first < a.heads_per_block ? group - first : a.heads_per_block;
    task->first_row = block.first_row;
    task->n_live = block.n_rows * task->n_heads;
    if (block.n_rows == 0)
        return;
    task->sequence = a.rows[block.first_row].sequence;
    task->first_position = a.rows[block.first_row].position;
    task->last_end = a.rows[block.first_row + block.n_rows - 1].end;
    uint32_t visible = first_visible(a, task->first_position);
    task->first_tile = (visible > a.sinks ? visible : a.sinks) / RAD_TILE_KEYS;
    task->end_tile = (task->last_end + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS;
}

/* ---- shared memory --------------------------------------------------------------------------- */

/* What a token sees of the sinks, or of its window, which begins behind the sinks. */
RAD_DEVICE prompt_view view_of(const rad_cuda_attend_arguments &a, uint32_t position, uint32_t end,
                               bool of_sinks)
{
    uint32_t low = first_visible(a, position);
    if (of_sinks)
        return {0, end < a.sinks ? end : a.sinks};
    return {low < a.sinks ? a.sinks : low, end};
}

/* The queries, by all threads, four numbers at a time. */
template <uint32_t DIMS> RAD_DEVICE void prepare_prompt(const prompt<DIMS> &p, const float *queries)
{
    const uint32_t fours = p.key_dim() / 4, n = (p.task().n_live + 31) / 32 * 32 * fours;
#pragma unroll 8
    for (uint32_t i = rad_thread(); i < n; i += PROMPT_THREADS) {
        uint32_t r = i / fours, four = i - r * fours, of = p.live(r);
        rad_f4 x = rad_floats(rad_load16(
            queries + ((uint64_t)p.row_of(of) * p.a.n_heads + p.head_of(of)) * p.key_dim() +
            four * 4));
        uint32_t at = staged_value(r, four / 2, p.query_pitch()) + four % 2 * 8;
        rad_u2 high = {rad_two_halves(x.x, x.y), rad_two_halves(x.z, x.w)};
        rad_store8(p.queries() + at, high);
        rad_store8(p.low_queries() + at,
                   {left_by_halves(x.x, x.y, high.x), left_by_halves(x.z, x.w, high.y)});
    }
    const uint32_t r = rad_thread();
    rad_cuda_row row = p.a.rows[p.row_of(p.live(r))];
    p.positions()[r] = row.position;
    p.ends()[r] = row.end;
    p.slopes()[r] = p.a.slopes != NULL ? p.a.slopes[p.head_of(p.live(r))] : 0.0f;
    uint32_t least[2] = {row.position, row.end}, most[2] = {row.position, row.end};
#pragma unroll
    for (uint32_t i = 0; i < 10; i++) {
        uint32_t smaller = rad_shuffle_xor(least[i % 2], 1u << i / 2);
        uint32_t larger = rad_shuffle_xor(most[i % 2], 1u << i / 2);
        least[i % 2] = smaller < least[i % 2] ? smaller : least[i % 2];
        most[i % 2] = larger > most[i % 2] ? larger : most[i % 2];
    }
    if (rad_lane() == 0) {
        p.task().some[rad_warp()] = view_of(p.a, least[0], most[1], p.task().of_sinks);
        p.task().all[rad_warp()] = {view_of(p.a, most[0], most[1], p.task().of_sinks).low,
                                    view_of(p.a, least[0], least[1], p.task().of_sinks).high};
    }
}

/* Numbers of the pages of the part's tiles `first` and on. */
template <uint32_t DIMS> RAD_DEVICE void find_pages(const prompt<DIMS> &p, uint32_t first)
{
    const rad_cuda_pages &all = p.a.pages;
    const uint32_t tile = first + rad_thread();
    if (rad_thread() < RAD_CUDA_ATTEND_RANGE_TILES && tile < p.task().end) {
        uint32_t slot = tile < all.n_sinks ? tile : all.n_sinks + tile % all.n_slots;
        p.task().pages[tile % RAD_CUDA_ATTEND_RANGE_TILES] =
            all.tables[(uint64_t)p.task().sequence * all.table_stride + slot];
    }
}

template <uint32_t DIMS>
RAD_DEVICE const uint8_t *keys_of_prompt(const prompt<DIMS> &p, uint32_t tile)
{
    const uint32_t page = p.task().pages[tile % RAD_CUDA_ATTEND_RANGE_TILES];
    return p.a.pages.pool + page * p.a.pages.page_bytes + p.a.first +
           (uint64_t)p.task().kv_head * (p.a.key_bytes + p.a.value_bytes);
}

/* Begins to copy keys of two tiles before `end`. A thread has the same 8 slots of every 32nd
 * dimension. */
template <uint32_t DIMS>
RAD_DEVICE void stage_prompt_keys(const prompt<DIMS> &p, uint32_t tile, uint32_t end)
{
    const uint32_t first = rad_thread() / KEY_PARTS, part = rad_thread() % KEY_PARTS;
#pragma unroll
    for (uint32_t t = 0; t < PROMPT_TILES; t++) {
        if (tile + t >= end)
            break;
        const uint8_t *from = keys_of_prompt(p, tile + t) + rad_thread() * 16;
        uint8_t *to = p.keys() + t * p.key_dim() * 64 + staged_key(first, part);
#pragma unroll
        for (uint32_t dim = 0; dim < p.key_dim(); dim += PROMPT_THREADS / KEY_PARTS)
            if (DIMS != 0 || dim + first < p.key_dim())
                rad_copy_async16(to + dim * 64, from + dim * 64);
    }
}

/* The same of their values. Those of slots that nobody sees become zeros: they are multiplied with
 * 0, which must give 0. */
template <uint32_t DIMS>
RAD_DEVICE void stage_prompt_values(const prompt<DIMS> &p, uint32_t tile, uint32_t end)
{
    constexpr uint32_t slots = DIMS != 0 ? PROMPT_THREADS * 8 / DIMS : 8; /* at a time */
    const uint32_t parts = p.value_dim() / 8, pitch = p.value_pitch();
    const prompt_view seen = p.task().seen;
#pragma unroll
    for (uint32_t t = 0; t < PROMPT_TILES; t++) {
        const uint32_t start = (tile + t) * RAD_TILE_KEYS;
        if (tile + t >= end)
            break;
        const uint8_t *from = keys_of_prompt(p, tile + t) + p.a.key_bytes;
        uint8_t *to = p.values() + t * RAD_TILE_KEYS * pitch;
        if (DIMS != 0 && seen.low <= start && seen.high >= start + RAD_TILE_KEYS) {
            from += rad_thread() * 16;
            to += staged_value(rad_thread() / parts, rad_thread() % parts, pitch);
#pragma unroll
            for (uint32_t slot = 0; slot < RAD_TILE_KEYS; slot += slots) /* slots % 8 == 0 */
                rad_copy_async16(to + slot * pitch, from + slot * parts * 16);
            continue;
        }
#pragma unroll 1
        for (uint32_t i = rad_thread(); i < RAD_TILE_KEYS * parts; i += PROMPT_THREADS) {
            uint32_t slot = i / parts, at = staged_value(slot, i % parts, pitch);
            if (start + slot >= seen.low && start + slot < seen.high)
                rad_copy_async16(to + at, from + i * 16);
            else
                rad_store16(to + at, {0, 0, 0, 0});
        }
    }
}

/* ---- a tile ---------------------------------------------------------------------------------- */

/* What the warp's queries see of a tile before `end`. Votes: the compiler knows that they are the
 * same in all lanes. */
template <uint32_t DIMS>
RAD_DEVICE void look_at_prompt_tile(const prompt<DIMS> &p, uint32_t tile, uint32_t end,
                                    prompt_tile *out)
{
    const uint32_t start = tile * RAD_TILE_KEYS, behind = start + RAD_TILE_KEYS;
    const prompt_view some = p.task().some[rad_warp()], all = p.task().all[rad_warp()];
    out->seen = rad_any(tile < end && some.low < behind && some.high > start);
    out->plain = rad_any(all.low <= start && all.high >= behind) &&
                 (DIMS != 0 || (p.a.cap <= 0.0f && p.a.slopes == NULL));
    out->empty = 0;
}

/* Scores of two tiles: the products of score_halves(), in its order. */
template <uint32_t DIMS>
RAD_DEVICE void score_prompt(const prompt<DIMS> &p, float scores[2][PROMPT_TILES][KEY_PARTS][4])
{
    const uint32_t lane = rad_lane(), pitch = p.query_pitch();
    const uint32_t query_at = staged_value(p.warp_row() + lane % 16, lane / 16, pitch);
    const uint8_t *keys = p.keys() + staged_key(lane % 16, lane / 16);
    const uint8_t *more_keys = p.keys() + staged_key(lane % 16, lane / 16 + 2);
#pragma unroll
    for (int i = 0; i < 2 * PROMPT_TILES * KEY_PARTS; i++) {
        float *c =
            scores[i / (PROMPT_TILES * KEY_PARTS)][i / KEY_PARTS % PROMPT_TILES][i % KEY_PARTS];
        c[0] = c[1] = c[2] = c[3] = 0.0f;
    }
#pragma unroll 2
    for (uint32_t d = 0; d < p.key_dim(); d += 16) {
        uint32_t key[PROMPT_TILES][2][4];
#pragma unroll
        for (uint32_t t = 0; t < PROMPT_TILES; t++) {
            rad_ldmatrix_x4_trans(key[t][0], keys + (t * p.key_dim() + d) * 64);
            rad_ldmatrix_x4_trans(key[t][1], more_keys + (t * p.key_dim() + d) * 64);
        }
#pragma unroll
        for (uint32_t half = 0; half < 2; half++) {
            const uint8_t *from = half == 0 ? p.low_queries() : p.queries();
#pragma unroll
            for (uint32_t m = 0; m < 2; m++) {
                uint32_t query[4];
                rad_ldmatrix_x4(query, from + m * 16 * pitch + moved_part(query_at, d / 8));
#pragma unroll
                for (uint32_t i = 0; i < PROMPT_TILES * KEY_PARTS; i++) {
                    uint32_t t = i / KEY_PARTS, part = i % KEY_PARTS;
                    rad_mma_f16(scores[m][t][part], query, key[t][part / 2] + part % 2 * 2);
                }
            }
        }
    }
}

/* Scores of a tile to probabilities. */
template <uint32_t DIMS>
RAD_DEVICE void weigh_prompt(const prompt<DIMS> &p, uint32_t tile,
                             float scores[2][PROMPT_TILES][KEY_PARTS][4], uint32_t t,
                             prompt_tile *out)
{
    if (!out->seen)
        return;
#pragma unroll
    for (uint32_t m = 0; m < 2; m++)
        scale_scores(p.a, scores[m][t]);
    if (!out->plain) {
        const bool of_sinks = p.task().of_sinks;
#pragma unroll
        for (uint32_t k = 0; k < LANE_ROWS; k++) {
            uint32_t r = p.row(k), position = p.positions()[r];
            half_view view = {visible_slots(p.a, position, p.ends()[r], tile, of_sinks),
                              distance_of(p.a, position, tile, of_sinks), p.slopes()[r]};
            hide_scores<DIMS == 0>(p.a, view, (int)(k % 2), scores[k / 2][t]);
            out->empty |= view.seen.first >= view.seen.last ? 1u << k : 0u;
        }
    }
#pragma unroll
    for (uint32_t k = 0; k < LANE_ROWS; k++)
        out->most[k] = weigh_scores((int)(k % 2), (out->empty >> k & 1u) != 0, scores[k / 2][t],
                                    out->p[k / 2]);
}

/* The outputs of a tile times the weights added to those of the state; SOME: but not of queries
 * that see nothing of it. */
template <bool SOME, uint32_t DIMS>
RAD_DEVICE void add_outputs(const prompt<DIMS> &p, uint32_t t, const prompt_tile &tile,
                            const float weight[LANE_ROWS], prompt_state *state)
{
    const uint32_t lane = rad_lane(), pitch = p.value_pitch();
    const float zeros[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    const uint8_t *values = p.values() + t * RAD_TILE_KEYS * pitch;
    const uint32_t at = staged_value(lane % 16, lane / 16, pitch);
#pragma unroll
    for (uint32_t i = 0; i < PROMPT_PARTS; i += 2) {
        if (i * 8 >= p.value_dim())
            break;
        uint32_t v[2][4];
        float out[2][2][4];
        rad_ldmatrix_x4_trans(v[0], values + moved_part(at, i));
        rad_ldmatrix_x4_trans(v[1], values + 16 * pitch + moved_part(at, i));
#pragma unroll
        for (uint32_t j = 0; j < 4; j++)
            rad_mma_f16_to(out[j / 2][j % 2], zeros, tile.p[j / 2][0], v[0] + j % 2 * 2);
#pragma unroll
        for (uint32_t j = 0; j < 4; j++)
            rad_mma_f16(out[j / 2][j % 2], tile.p[j / 2][1], v[1] + j % 2 * 2);
#pragma unroll
        for (uint32_t j = 0; j < 16; j++) {
            uint32_t m = j / 8, n = j / 4 % 2, c = j % 4, k = m * 2 + c / 2;
            float *sum = &state->out[m][i + n][c];
            float next = rad_fma(out[m][n][c], weight[k], *sum);
            *sum = SOME && (tile.empty >> k & 1u) != 0 ? *sum : next;
        }
    }
}

/* A tile into the state, by the formulas of merge_tiles(). */
template <uint32_t DIMS>
RAD_DEVICE void merge_prompt(const prompt<DIMS> &p, uint32_t t, const prompt_tile &tile,
                             prompt_state *state)
{
    float weight[LANE_ROWS], rescale[LANE_ROWS];
    bool scaled = false;
    if (!tile.seen)
        return;
#pragma unroll
    for (uint32_t k = 0; k < LANE_ROWS; k++) {
        bool empty = (tile.empty >> k & 1u) != 0;
        float before = state->most[k];
        float merged = empty ? before : greater(before, level_of(tile.most[k]));
        rescale[k] = merged == before ? 1.0f : halves_exp(before - merged);
        weight[k] = halves_exp(tile.most[k] - merged);
        scaled = scaled || rescale[k] != 1.0f;
        state->most[k] = merged;
    }
    if (rad_any(scaled)) {
#pragma unroll
        for (uint32_t k = 0; k < LANE_ROWS; k++) {
            state->sum[k] *= rescale[k];
#pragma unroll
            for (uint32_t i = 0; i < PROMPT_PARTS; i++) {
                state->out[k / 2][i][k % 2 * 2] *= rescale[k];
                state->out[k / 2][i][k % 2 * 2 + 1] *= rescale[k];
            }
        }
    }
#pragma unroll
    for (uint32_t m = 0; m < 2; m++) {
        float sums[2];
        sum_halves(tile.p[m], sums);
#pragma unroll
        for (uint32_t of = 0; of < 2; of++) {
            uint32_t k = m * 2 + of;
            float next = rad_fma(sums[of], weight[k], state->sum[k]);
            state->sum[k] = (tile.empty >> k & 1u) != 0 ? state->sum[k] : next;
        }
    }
    if (tile.plain)
        add_outputs<false>(p, t, tile, weight, state);
    else
        add_outputs<true>(p, t, tile, weight, state);
}

/* ---- states ---------------------------------------------------------------------------------- */

template <uint32_t DIMS>
RAD_DEVICE void clear_prompt(const prompt<DIMS> &p, bool learned, prompt_state *state)
{
#pragma unroll
    for (uint32_t k = 0; k < LANE_ROWS; k++) {
        uint32_t r = p.row(k);
        bool has_sink = learned && p.a.learned_sinks != NULL && r < p.task().n_live;
        state->most[k] = has_sink ? p.a.learned_sinks[p.head_of(r)] : MINUS_INFINITY;
        state->sum[k] = has_sink ? 1.0f : 0.0f;
    }
#pragma unroll
    for (uint32_t i = 0; i < 2 * PROMPT_PARTS; i++) {
        float *out = state->out[i % 2][i / 2];
        out[0] = out[1] = out[2] = out[3] = 0.0f;
    }
}

/* A range's state into the total, whose outputs stand in memory: merge_states(). `first`: there is
 * no total yet. */
template <uint32_t DIMS>
RAD_DEVICE void merge_prompt_range(const prompt<DIMS> &p, bool first, const prompt_state &state)
{
#pragma unroll
    for (uint32_t k = 0; k < LANE_ROWS; k++) {
        uint32_t r = p.row(k);
        float total_most = first ? MINUS_INFINITY : p.total_most()[r];
        float total_sum = first ? 0.0f : p.total_sum()[r];
        float most = state.most[k], sum = state.sum[k];
        rad_warp_barrier(); /* the four lanes of a query have read */
        bool replaced = first || is_empty_state(total_most, total_sum);
        if ((is_empty_state(most, sum) && !first) || r >= p.task().n_live)
            continue;
        float merged = replaced ? most : greater(total_most, most);
        float rescale = rad_expf_below_one(total_most - merged);
        float weight = rad_expf_below_one(most - merged);
        float *out = p.out_of(r) + rad_lane() % 4 * 2;
        if (rad_lane() % 4 == 0) {
            p.total_most()[r] = merged;
            p.total_sum()[r] = replaced ? sum : rad_fma(total_sum, rescale, sum * weight);
        }
#pragma unroll
        for (uint32_t i = 0; i < PROMPT_PARTS; i++) {
            if (i * 8 >= p.value_dim())
                break;
            rad_u2 *at = (rad_u2 *)(out + i * 8);
            float x = state.out[k / 2][i][k % 2 * 2], y = state.out[k / 2][i][k % 2 * 2 + 1];
            if (!replaced) {
                rad_u2 before = rad_load8(at);
                x = rad_fma(rad_float(before.x), rescale, x * weight);
                y = rad_fma(rad_float(before.y), rescale, y * weight);
            }
            rad_store8(at, {rad_bits(x), rad_bits(y)});
        }
    }
    rad_warp_barrier();
}

/* The result of a block of the grid: outputs, or the state of a part. `in_memory`: of a total. */
template <uint32_t DIMS>
RAD_DEVICE void write_prompt(const prompt<DIMS> &p, bool in_memory, const prompt_state &state)
{
    const bool whole = p.a.division == RAD_CUDA_ATTEND_WHOLE;
    const uint32_t size = rad_cuda_attend_state(p.value_dim()), column = rad_lane() % 4 * 2;
#pragma unroll
    for (uint32_t k = 0; k < LANE_ROWS; k++) {
        uint32_t r = p.row(k);
        if (r >= p.task().n_live)
            continue;
        float *apart = states_of(p.a, p.task().block, p.task().head, 0) +
                       (r * (uint64_t)p.a.n_units + rad_block_z()) * size;
        float *out = whole ? p.out_of(r) : apart;
        float total = in_memory ? p.total_sum()[r] : state.sum[k];
#pragma unroll
        for (uint32_t i = 0; i < PROMPT_PARTS; i++) {
            if (i * 8 >= p.value_dim())
                break;
            rad_u2 *at = (rad_u2 *)(out + i * 8 + column);
            float x = state.out[k / 2][i][k % 2 * 2], y = state.out[k / 2][i][k % 2 * 2 + 1];
            if (in_memory) {
                rad_u2 stored = rad_load8(at);
                x = rad_float(stored.x);
                y = rad_float(stored.y);
            }
            rad_store8(at, {rad_bits(whole ? x / total : x), rad_bits(whole ? y / total : y)});
        }
        if (!whole && column == 0) {
            out[p.value_dim()] = state.most[k];
            out[p.value_dim() + 1] = total;
        }
    }
}

/* Zeros for what is only there to fill up a batch. */
template <uint32_t DIMS> RAD_DEVICE void write_prompt_zeros(const prompt<DIMS> &p)
{
    for (uint32_t r = rad_warp(); r < p.task().n_live; r += PROMPT_WARPS)
        for (uint32_t d = rad_lane(); d < p.value_dim(); d += 32)
            p.out_of(r)[d] = 0.0f;
}

/* Tiles first .. end - 1 of the part, whose pages are found, into the state. */
template <uint32_t DIMS>
RAD_DEVICE void attend_tiles(const prompt<DIMS> &p, uint32_t first, uint32_t end,
                             prompt_state *state)
{
    stage_prompt_keys(p, first, end);
    rad_copy_async_commit();
#pragma unroll 1
    for (uint32_t tile = first; tile < end; tile += PROMPT_TILES) {
        prompt_tile tiles[PROMPT_TILES];
        rad_copy_async_wait(0);
        rad_barrier(); /* keys are there; values of the tiles before have been read */
        stage_prompt_values(p, tile, end);
        rad_copy_async_commit();
#pragma unroll
        for (uint32_t t = 0; t < PROMPT_TILES; t++)
            look_at_prompt_tile(p, tile + t, end, &tiles[t]);
        if (tiles[0].seen || tiles[1].seen) {
            float scores[2][PROMPT_TILES][KEY_PARTS][4];
            score_prompt(p, scores);
#pragma unroll
            for (uint32_t t = 0; t < PROMPT_TILES; t++)
                weigh_prompt(p, tile + t, scores, t, &tiles[t]);
        }
        rad_copy_async_wait(0);
        rad_barrier(); /* values are there; keys have been read */
        stage_prompt_keys(p, tile + PROMPT_TILES, end);
        rad_copy_async_commit();
#pragma unroll
        for (uint32_t t = 0; t < PROMPT_TILES; t++)
            merge_prompt(p, t, tiles[t], state);
    }
}

/* The tiles of a part into the state, by as many as pages are noted of. */
template <uint32_t DIMS> RAD_DEVICE void attend_part(const prompt<DIMS> &p, prompt_state *state)
{
    const uint32_t end = p.task().end;
    uint32_t tile = p.task().begin;
#pragma unroll 1
    while (tile < end) {
        uint32_t behind = (tile / RAD_CUDA_ATTEND_RANGE_TILES + 1) * RAD_CUDA_ATTEND_RANGE_TILES;
        behind = behind < end ? behind : end;
        rad_barrier(); /* the pages before have been read */
        find_pages(p, tile);
        rad_barrier();
        attend_tiles(p, tile, behind, state);
        tile = behind;
    }
}

/* Begins a step, by one thread: false where there is no part and no further one. */
RAD_DEVICE void take_part(const rad_cuda_attend_arguments &a, prompt_task *task)
{
    key_part part = part_of_step(a, task->step, task->first_tile, task->end_tile);
    task->begin = part.begin;
    task->end = part.end;
    task->of_sinks = part.of_sinks;
    task->begins = part.begins && a.division == RAD_CUDA_ATTEND_WHOLE;
    task->seen = view_of(a, task->first_position, task->last_end, part.of_sinks);
}

template <uint32_t DIMS> RAD_DEVICE void attend_prompt(const rad_cuda_attend_arguments &a)
{
    prompt<DIMS> p = {a};
    prompt_task &task = p.task();
    const uint32_t z = rad_block_z();
    if (rad_thread() == 0) {
        make_prompt(a, &task);
        task.step = z > 0 ? z + 1 : DIMS != 0 ? 1 : 0; /* behind the sinks, of which are none */
        task.prepared = task.in_memory = false;
        take_part(a, &task);
    }
    rad_barrier();
    if (task.n_live == 0)
        return;
    if (task.end_tile == 0) {
        if (z == 0)
            write_prompt_zeros(p);
        return;
    }
    if (z > 0 && task.begin == task.end)
        return;
    if (DIMS != 0) /* here states need no registers yet */
        prepare_prompt(p, a.queries);
    prompt_state state;
    clear_prompt(p, z == 0, &state);
#pragma unroll 1
    while (task.begin < task.end || task.step < 2) {
        if (task.begin < task.end) {
            if (DIMS == 0 && !task.prepared)
                prepare_prompt(p, task.of_sinks ? a.sink_queries : a.queries);
            if (task.begins) {
                if (!task.in_memory)
                    merge_prompt_range(p, true, state);
                clear_prompt(p, false, &state);
            }
            attend_part(p, &state);
            if (task.begins)
                merge_prompt_range(p, false, state);
        }
        if (a.division != RAD_CUDA_ATTEND_WHOLE && task.step >= 1)
            break;
        rad_barrier(); /* all have read the part */
        if (rad_thread() == 0) {
            task.prepared = task.prepared || (!task.of_sinks && task.begin < task.end);
            task.in_memory = task.in_memory || task.begins;
            task.step++;
            take_part(a, &task);
        }
        rad_barrier();
    }
    write_prompt(p, task.in_memory, state);
}

#endif

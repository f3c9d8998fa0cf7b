/* Attention of up to 16 queries that share keys, for few tokens: keys are divided among blocks, and
 * each warp of a block has a tile of its own. What precedes all keys with range 0, and each further
 * range, is a group, whose tiles are merged one by one: in the block that has all of them, or by
 * the last block to be done with its part. The last group of a query merges these. Kinds of keys
 * and values: attend_many.h. */
#ifndef RAD_CUDA_ATTEND_FEW_H
#define RAD_CUDA_ATTEND_FEW_H

#include "kernels/cuda/attend_many.h"
#include "kernels/cuda/last_block.h"
#include "kernels/cuda/quantize.h"

#define FEW_WORDS (3 * WARP_ROWS + 1)
#define NO_QUERY  0xffffffffu
#define OF_WARP   (WARP_ROWS / WARPS) /* queries that a warp prepares and merges, at most */

struct few_task {
    matrix_task of;
    uint32_t state;     /* floats */
    uint32_t n_queries; /* that there is room for */
    uint32_t n_groups, n_sinks;
    float *rounds; /* in shared memory: [WARPS][n_queries][state] */
    float *totals; /* [n_queries][state] */
    float *states; /* of the block's queries, a.n_units each */
    uint32_t *counters, *flag;
};

/* Tiles of a group behind the sinks. */
struct group_tiles {
    uint32_t begin, end;
};

RAD_DEVICE group_tiles tiles_of_group(const matrix_task &task, uint32_t group)
{
    uint32_t range = group == 0 ? 0 : first_range(task.first_tile) + group - 1;
    uint32_t begin = range * RAD_CUDA_ATTEND_RANGE_TILES, end = begin + RAD_CUDA_ATTEND_RANGE_TILES;
    begin = task.first_tile > begin ? task.first_tile : begin;
    end = task.end_tile < end ? task.end_tile : end;
    return {begin, begin < end ? end : begin};
}

RAD_DEVICE uint32_t group_of_tile(const matrix_task &task, uint32_t tile)
{
    uint32_t range = tile / RAD_CUDA_ATTEND_RANGE_TILES;
    return range == 0 ? 0 : range - first_range(task.first_tile) + 1;
}

/* How many parts a group is made of. */
RAD_DEVICE uint32_t parts_of_group(const rad_cuda_attend_arguments &a, const few_task &task,
                                   uint32_t group)
{
    group_tiles tiles = tiles_of_group(task.of, group);
    uint32_t n = group == 0 && task.n_sinks > 0 ? 1 : 0;
    if (tiles.begin < tiles.end)
        n += ((tiles.end - 1) >> a.part_log2) - (tiles.begin >> a.part_log2) + 1;
    return n;
}

template <typename KIND>
RAD_DEVICE few_task make_few_task(const rad_cuda_attend_arguments &a, rad_cuda_attend_block block,
                                  uint32_t *words)
{
    few_task task;
    task.of = make_task<KIND>(a, block, WARP_ROWS, words);
    task.of.queries.two = task.of.n_live > WARP_ROWS / 2;
    task.state = rad_cuda_attend_state(a.value_dim);
    task.n_queries = a.heads_per_block * a.tokens_per_block;
    task.n_sinks = sink_tiles(a, task.of.end_tile);
    task.rounds = (float *)(task.of.staged + WARPS * KIND::staged_bytes(a));
    task.totals = task.rounds + WARPS * task.n_queries * task.state;
    uint64_t of_block = (uint64_t)rad_block_x() * rad_grid_y() + rad_block_y();
    task.states = a.states + of_block * task.n_queries * a.n_units * task.state;
    uint32_t ranges =
        (task.of.end_tile + RAD_CUDA_ATTEND_RANGE_TILES - 1) / RAD_CUDA_ATTEND_RANGE_TILES;
    uint32_t first = first_range(task.of.first_tile);
    task.n_groups = ranges > first ? ranges - first : 0;
    task.n_groups += parts_of_group(a, task, 0) > 0 ? 1 : 0;
    task.counters = a.counters + of_block * (a.n_units - a.first_group);
    task.flag = words + 3 * WARP_ROWS;
    return task;
}

/* ---- a tile ---------------------------------------------------------------------------------- */

/* Of 32 tiles of a warp from `tile` on the page numbers, one for each lane. */
RAD_DEVICE uint32_t pages_of_lanes(const rad_cuda_attend_arguments &a, const matrix_task &task,
                                   uint32_t tile, uint32_t end)
{
    uint32_t mine = tile + rad_lane() * WARPS;
    return rad_cache_page_number(a.pages, task.sequence, mine < end ? mine : end - 1);
}

/* Whether no kernel of this step writes to the tile: it ends before the sequence's first token,
 * which is at most that many before the block's. */
RAD_DEVICE bool is_written(const matrix_task &task, uint32_t tile)
{
    return (uint64_t)(tile + 1) * RAD_TILE_KEYS + WARP_ROWS <= task.first_position;
}

/* Its states for the queries, `stride` apart. */
template <typename KIND>
RAD_DEVICE void write_tile(const rad_cuda_attend_arguments &a, const matrix_task &task,
                           typename KIND::tile &found, bool some, const uint8_t *staged,
                           float *states, uint64_t stride)
{
    const uint32_t row = rad_lane() / 4, column = rad_lane() % 4 * 2;
#pragma unroll
    for (int of = 0; of < 2; of++) {
        float *state = states + (row + 8 * of) * stride + a.value_dim;
        if (row + 8 * of < task.n_live && column == 0) {
            state[0] = some ? found.most[of] : MINUS_INFINITY;
            state[1] = some ? found.sum[of] : 0.0f;
        }
    }
#pragma unroll KIND::outputs_ahead
    for (uint32_t dim = 0; some && dim < a.value_dim; dim += 16) {
        float out[2][4];
        KIND::output(a, found, staged, dim, out);
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
            uint32_t r = row + j % 4 / 2 * 8, at = dim + j / 4 * 8 + column;
            if (r < task.n_live && at < a.value_dim)
                rad_store8(states + r * stride + at,
                           {rad_bits(out[j / 4][j % 4]), rad_bits(out[j / 4][j % 4 + 1])});
        }
        if (KIND::has_steps && dim % 32 == 0 && column == 0) {
#pragma unroll
            for (int of = 0; of < 2; of++)
                if (row + 8 * of < task.n_live)
                    states[(row + 8 * of) * stride + a.value_dim + 2 + dim / 32] = found.step[of];
        }
    }
}

/* What queries see, into shared memory. No kernel writes what it comes from. */
RAD_DEVICE void note_queries(const rad_cuda_attend_arguments &a, const matrix_task &task)
{
    const uint32_t mine = rad_thread(), r = mine < task.n_live ? mine : 0;
    if (mine >= WARP_ROWS)
        return;
    rad_cuda_row row = a.rows[row_of_query(task, r)];
    float slope = a.slopes != NULL ? a.slopes[head_of_query(task, r)] : 0.0f;
    task.queries.position[mine] = row.position;
    task.queries.end[mine] = row.end;
    task.queries.slope[mine] = slope;
}

/* Which of all queries the warp's are; NO_QUERY: there is none. */
RAD_DEVICE void find_queries(const rad_cuda_attend_arguments &a, const matrix_task &task,
                             uint32_t of_warp[OF_WARP])
{
#pragma unroll
    for (uint32_t i = 0; i < OF_WARP; i++) {
        const uint32_t r = rad_warp() + i * WARPS;
        of_warp[i] = NO_QUERY;
        if (r < task.n_live)
            of_warp[i] = row_of_query(task, r) * a.n_heads + head_of_query(task, r);
    }
}

/* 128 dimensions of them, all under way together. */
RAD_DEVICE void load_queries(const rad_cuda_attend_arguments &a, const float *queries,
                             const uint32_t of_warp[OF_WARP], uint32_t first, float x[OF_WARP][4])
{
#pragma unroll
    for (uint32_t i = 0; i < OF_WARP; i++)
        load_query(a, of_warp[i] != NO_QUERY ? queries + (uint64_t)of_warp[i] * a.key_dim : NULL,
                   first, x[i]);
}

/* The queries into shared memory. x: the first 128 dimensions of the warp's. */
template <typename KIND>
RAD_DEVICE void prepare_few(const rad_cuda_attend_arguments &a, const matrix_task &task,
                            const float *queries, const uint32_t of_warp[OF_WARP],
                            float x[OF_WARP][4])
{
    for (uint32_t first = 0; first < a.key_dim; first += 128) {
        if (first > 0)
            load_queries(a, queries, of_warp, first, x);
#pragma unroll
        for (uint32_t i = 0; i < OF_WARP; i++)
            KIND::prepare(a, x[i], first, task.queries, rad_warp() + i * WARPS);
    }
    rad_barrier();
}

/* ---- a part ---------------------------------------------------------------------------------- */

/* n states of each query, `stride` apart, into the totals: a warp has every fourth query. */
RAD_DEVICE void merge_few(const rad_cuda_attend_arguments &a, const few_task &task,
                          const float *states, uint32_t of_query, uint32_t stride, uint32_t n,
                          bool of_ranges)
{
    const uint32_t warp = rad_warp(), n_live = task.of.n_live;
    merge_rows(a, task.totals + warp * task.state, WARPS * task.state, states + warp * of_query,
               WARPS * of_query, n_live > warp ? (n_live - warp + WARPS - 1) / WARPS : 0, stride, n,
               of_ranges);
}

RAD_DEVICE void clear_totals(const rad_cuda_attend_arguments &a, const few_task &task,
                             uint32_t group)
{
    for (uint32_t q = rad_warp(); q < task.of.n_live; q += WARPS)
        clear_state(a, task.totals + q * task.state,
                    group == 0 ? head_of_query(task.of, q) : NO_HEAD);
}

/* The tiles of a part, into the totals where it is a whole group, else each to memory. While a tile
 * is computed the next one's keys, then its values, are on their way. What kernels of this step
 * write, queries and the last tiles, is waited for; all else is read before. */
template <typename KIND>
RAD_DEVICE void attend_part(const rad_cuda_attend_arguments &a, const few_task &task,
                            const key_part &part, bool whole, uint32_t group)
{
    uint8_t *staged = task.of.staged + rad_warp() * KIND::staged_bytes(a);
    const uint64_t head = a.first + (uint64_t)task.of.kv_head * (a.key_bytes + a.value_bytes);
    const uint8_t *keys = NULL;
    uint32_t pages = 0, mine = part.begin + rad_warp();
    const bool some = mine < part.end, early = some && is_written(task.of, mine);
    const float *queries = part.of_sinks ? a.sink_queries : a.queries;
    float x[OF_WARP][4] = {};
    uint32_t of_warp[OF_WARP];
    note_queries(a, task.of);
    find_queries(a, task.of, of_warp);
    if (whole)
        clear_totals(a, task, group);
    if (some) {
        pages = pages_of_lanes(a, task.of, mine, part.end);
        keys = a.pages.pool + rad_shuffle(pages, 0) * a.pages.page_bytes + head;
    }
#pragma unroll 1
    for (uint32_t late = 0; late < 2; late++) {
        if (late > 0) {
            rad_wait_for_earlier();
            load_queries(a, queries, of_warp, 0, x);
        }
        if (!some || early != (late == 0))
            continue;
        KIND::stage_keys(a, keys, staged, rad_lane(), 32);
        rad_copy_async_commit();
        KIND::stage_values(a, keys, seen_by_block(a, task.of, mine, part.of_sinks), staged,
                           rad_lane(), 32);
        rad_copy_async_commit();
    }
    prepare_few<KIND>(a, task.of, queries, of_warp, x);
    for (uint32_t round = 0, tile = part.begin; tile < part.end; tile += WARPS) {
        mine = tile + rad_warp();
        round++;
        if (mine < part.end) {
            const uint32_t next = mine + WARPS;
            rad_copy_async_wait(1);
            rad_warp_barrier();
            typename KIND::tile found;
            bool some = KIND::attend(a, task.of.queries, 0, staged, mine, part.of_sinks, &found);
            rad_warp_barrier();
            if (next < part.end) {
                if (round % 32 == 0)
                    pages = pages_of_lanes(a, task.of, next, part.end);
                keys = a.pages.pool + rad_shuffle(pages, round % 32) * a.pages.page_bytes + head;
                KIND::stage_keys(a, keys, staged, rad_lane(), 32);
            }
            rad_copy_async_commit();
            rad_copy_async_wait(1);
            rad_warp_barrier();
            float *to = whole ? task.rounds + rad_warp() * task.n_queries * task.state
                              : task.states + (part.unit + (mine - part.begin)) * task.state;
            write_tile<KIND>(a, task.of, found, some, staged, to,
                             (whole ? 1 : a.n_units) * (uint64_t)task.state);
            rad_warp_barrier();
            if (next < part.end)
                KIND::stage_values(a, keys, seen_by_block(a, task.of, next, part.of_sinks), staged,
                                   rad_lane(), 32);
            rad_copy_async_commit();
        }
        if (!whole)
            continue;
        const uint32_t left = part.end - tile;
        rad_barrier();
        merge_few(a, task, task.rounds, task.state, task.n_queries * task.state,
                  left < WARPS ? left : (uint32_t)WARPS, false);
        if (left > WARPS) /* else who goes on with a query has merged it */
            rad_barrier();
    }
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* n states of each query from `unit` on into the totals, one by one, by way of shared memory that
 * held queries and tiles. */
template <typename KIND>
RAD_DEVICE void merge_units(const rad_cuda_attend_arguments &a, const few_task &task, uint32_t unit,
                            uint32_t n, bool of_ranges)
{
    float *row = (float *)rad_dynamic_shared();
    uint32_t fit = (uint32_t)(task.totals - row) / (task.of.n_live * task.state);
    fit = fit < 32 ? fit : 32;
    uint32_t batches = (n + fit - 1) / fit, each = batches > 0 ? (n + batches - 1) / batches : 0;
    for (uint32_t first = 0; first < n; first += each) {
        uint32_t some = n - first < each ? n - first : each, parts = some * task.state / 4;
        rad_barrier();
        for (uint32_t q = 0; q < task.of.n_live; q++) {
            const float *from = task.states + ((uint64_t)q * a.n_units + unit + first) * task.state;
            for (uint32_t i = rad_thread(); i < parts; i += THREADS)
                rad_copy_async16(row + q * each * task.state + i * 4, from + i * 4);
        }
        rad_copy_async_commit();
        rad_copy_async_wait(0);
        rad_barrier();
        merge_few(a, task, row, each * task.state, task.state, some, of_ranges);
    }
}

/* All tiles of a group, which stand in memory. */
template <typename KIND>
RAD_DEVICE void merge_group(const rad_cuda_attend_arguments &a, const few_task &task,
                            uint32_t group)
{
    group_tiles tiles = tiles_of_group(task.of, group);
    clear_totals(a, task, group);
    if (group == 0)
        merge_units<KIND>(a, task, 0, task.n_sinks, false);
    uint32_t first = task.of.first_tile >> a.part_log2 << a.part_log2;
    merge_units<KIND>(a, task, tiles_of_sinks(a) + tiles.begin - first, tiles.end - tiles.begin,
                      false);
}

/* The totals of all groups but the last one are in memory. */
template <typename KIND>
RAD_DEVICE void merge_groups(const rad_cuda_attend_arguments &a, const few_task &task)
{
    const bool has_first = parts_of_group(a, task, 0) > 0;
    clear_totals(a, task, 0);
    if (has_first) {
        for (uint32_t q = rad_warp(); q < task.of.n_live; q += WARPS)
            for (uint32_t i = rad_lane() * 4; i < task.state; i += 128)
                rad_copy_async16(task.totals + q * task.state + i,
                                 task.states +
                                     ((uint64_t)q * a.n_units + a.first_group) * task.state + i);
        rad_copy_async_commit();
        rad_copy_async_wait(0);
    }
    merge_units<KIND>(a, task, a.first_group + 1, task.n_groups - (has_first ? 1 : 0), true);
}

/* ---- results --------------------------------------------------------------------------------- */

/* The columns of the block's heads in the tiles of its rows. The block of the last heads writes the
 * zeros behind them as well. outputs: in shared memory, task.n_heads to a row, `state` floats
 * apart; NULL: zeros. */
RAD_DEVICE void quantize_outputs(const rad_cuda_attend_arguments &a, const matrix_task &task,
                                 const float *outputs, uint32_t state)
{
    const uint32_t n_columns = a.n_heads * a.value_dim, begin = task.head * a.value_dim;
    const uint32_t end = begin + task.n_heads * a.value_dim;
    const uint32_t n_tiles = (n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
    const uint32_t behind = end == n_columns ? n_tiles * RAD_CUDA_CHUNK : end;
    const uint32_t first = begin / RAD_CUDA_CHUNK;
    const uint32_t of_row = (behind + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK - first;
    uint32_t tile = rad_warp(), row = 0;
    for (;; tile += WARPS) {
        for (; tile >= of_row && row * task.n_heads < task.n_live; row++)
            tile -= of_row;
        if (row * task.n_heads >= task.n_live)
            return;
        const uint32_t column = (first + tile) * RAD_CUDA_CHUNK + rad_lane() * 8;
        const uint32_t of_heads = column - begin, head = of_heads / a.value_dim;
        const bool mine = column >= begin && column < behind;
        const float *columns =
            outputs + (row * task.n_heads + head) * state + (of_heads - head * a.value_dim);
        quantize_columns(mine && column < end && outputs != NULL ? columns : NULL, mine,
                         a.tile_block,
                         a.tiles + ((uint64_t)(task.first_row + row) * n_tiles + first + tile) *
                                       RAD_CUDA_TILE_BYTES);
    }
}

/* Totals to outputs, by the warp that has merged a query. */
RAD_DEVICE void finish_few(const rad_cuda_attend_arguments &a, const few_task &task)
{
    for (uint32_t q = rad_warp(); q < task.of.n_live; q += WARPS) {
        float *state = task.totals + q * task.state, *out = out_of_query(a, task.of, q);
        const float sum = state[a.value_dim + 1];
        for (uint32_t d = rad_lane(); d < a.value_dim; d += 32) {
            const float x = state[d] / sum;
            out[d] = x;
            state[d] = x;
        }
    }
    if (a.tiles == NULL)
        return;
    rad_barrier();
    quantize_outputs(a, task.of, task.totals, task.state);
}

/* What rad_cuda_attend_is_usual() says, for the compiler: loops of known lengths, and no detours.
 */
RAD_DEVICE rad_cuda_attend_arguments usual_arguments(const rad_cuda_attend_arguments &a,
                                                     uint32_t dim)
{
    rad_cuda_attend_arguments usual = a;
    usual.key_dim = usual.value_dim = dim;
    usual.cap = 0.0f;
    usual.slopes = NULL;
    usual.head_blocks = 1;
    return usual;
}

template <typename KIND>
RAD_DEVICE void attend_few(const rad_cuda_attend_arguments &a, uint32_t *words)
{
    rad_u2 words_of_block = rad_load8(a.blocks + rad_block_x()); /* both at once */
    rad_cuda_attend_block block = {words_of_block.x, words_of_block.y};
    if (block.n_rows == 0) {
        rad_wait_for_earlier();
        return;
    }
    few_task task = make_few_task<KIND>(a, block, words);
    key_part part = part_of_slice(a, rad_block_z(), task.of.first_tile, task.of.end_tile);
    if (task.of.end_tile == 0 || part.begin == part.end) {
        rad_wait_for_earlier();
        if (task.of.end_tile == 0 && rad_block_z() == 0) {
            write_zeros(a, task.of);
            if (a.tiles != NULL)
                quantize_outputs(a, task.of, NULL, 0);
        }
        return;
    }
    const uint32_t group = part.of_sinks ? 0 : group_of_tile(task.of, part.begin);
    const uint32_t n_parts = parts_of_group(a, task, group);
    attend_part<KIND>(a, task, part, n_parts == 1, group);
    if (n_parts > 1) {
        if (!is_last(task.counters + group, n_parts, task.flag))
            return;
        merge_group<KIND>(a, task, group);
    }
    if (task.n_groups > 1) {
        for (uint32_t q = rad_warp(); q < task.of.n_live; q += WARPS)
            for (uint32_t i = rad_lane(); i < task.state; i += 32)
                task.states[((uint64_t)q * a.n_units + a.first_group + group) * task.state + i] =
                    task.totals[q * task.state + i];
        if (!is_last(task.counters + a.n_units - a.first_group - 1, task.n_groups, task.flag))
            return;
        merge_groups<KIND>(a, task);
    }
    finish_few(a, task);
}

#endif

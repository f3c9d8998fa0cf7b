/* The kernels of attention by matrix instructions, for a kind of keys and values. attend_many()
 * takes up to 64 queries that share keys, whose states stay in registers; attend_few() of
 * attend_few.h up to 16. The bits of a query are the same in both.
 *
 * A kind has query_bytes(a), of a query in shared memory; prepare(), by a warp, of 128 of its
 * dimensions; staged_bytes(a), of a tile; stage_keys() and stage_values(), which begin to copy one;
 * attend(), from which a lane has the probabilities of its two queries in a `tile`; output(), the
 * outputs of 16 dimensions, which `step` of the tile is to be multiplied with (attend_few() makes
 * outputs_ahead such pieces together). A tile's `most` and `sum` are the maximum and sum of what is
 * seen (-infinity and 0: nothing). */
#ifndef RAD_CUDA_ATTEND_MANY_H
#define RAD_CUDA_ATTEND_MANY_H

#include "kernels/cuda/attend_matrix.h"
#include "kernels/cuda/attend_parts.h"

#define WARPS     RAD_CUDA_ATTEND_HALF_WARPS
#define THREADS   (WARPS * 32)
#define MANY_ROWS RAD_CUDA_ATTEND_MANY_BYTES_ROWS

/* A block's work. */
struct matrix_task {
    uint32_t n_live, first_row, n_heads, head, kv_head, sequence;
    uint32_t first_position, last_end; /* of its first and last token */
    uint32_t first_tile, end_tile;
    matrix_queries queries;
    uint8_t *staged;
};

RAD_DEVICE uint32_t row_of_query(const matrix_task &task, uint32_t r)
{
    return task.first_row + (r < task.n_heads ? 0 : r / task.n_heads);
}

RAD_DEVICE uint32_t head_of_query(const matrix_task &task, uint32_t r)
{
    return task.head + (r < task.n_heads ? r : r % task.n_heads);
}

template <typename KIND>
RAD_DEVICE matrix_task make_task(const rad_cuda_attend_arguments &a, rad_cuda_attend_block block,
                                 uint32_t rows, uint32_t *words)
{
    matrix_task task;
    task.kv_head = rad_block_y();
    task.head = task.kv_head * a.heads_per_block;
    task.n_heads = a.heads_per_block;
    if (a.head_blocks > 1) {
        uint32_t group = a.n_heads / a.n_kv_heads;
        uint32_t first = rad_block_y() % a.head_blocks * a.heads_per_block;
        task.kv_head = rad_block_y() / a.head_blocks;
        task.head = task.kv_head * group + first;
        task.n_heads = group - first < a.heads_per_block ? group - first : a.heads_per_block;
    }
    task.first_row = block.first_row;
    task.n_live = block.n_rows * task.n_heads;
    task.sequence = a.rows[block.first_row].sequence;
    task.first_position = a.rows[block.first_row].position;
    task.last_end = a.rows[block.first_row + block.n_rows - 1].end;
    uint32_t visible = first_visible(a, task.first_position);
    task.first_tile = (visible > a.sinks ? visible : a.sinks) / RAD_TILE_KEYS;
    task.end_tile = (task.last_end + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS;
    task.queries.numbers = rad_dynamic_shared();
    task.queries.rows = rows;
    task.queries.two = true;
    task.staged = task.queries.numbers + rows * KIND::query_bytes(a);
    task.queries.position = words;
    task.queries.end = words + rows;
    task.queries.slope = (float *)(words + 2 * rows);
    return task;
}

/* The queries into shared memory. Those that there are not are like the first one. */
template <typename KIND>
RAD_DEVICE void prepare(const rad_cuda_attend_arguments &a, const matrix_task &task,
                        const float *queries)
{
    uint32_t rows = (task.n_live + WARP_ROWS - 1) / WARP_ROWS * WARP_ROWS;
    rad_barrier();
    for (uint32_t r = rad_warp(); r < rows; r += WARPS) {
        uint32_t row = row_of_query(task, r < task.n_live ? r : 0);
        uint32_t head = head_of_query(task, r < task.n_live ? r : 0);
        const float *query = queries + ((uint64_t)row * a.n_heads + head) * a.key_dim;
        for (uint32_t first = 0; first < a.key_dim; first += 128) {
            float x[4];
            load_query(a, query, first, x);
            KIND::prepare(a, x, first, task.queries, r);
        }
        if (rad_lane() == 0) {
            task.queries.position[r] = a.rows[row].position;
            task.queries.end[r] = a.rows[row].end;
            task.queries.slope[r] = a.slopes != NULL ? a.slopes[head] : 0.0f;
        }
    }
    rad_barrier();
}

RAD_DEVICE const uint8_t *keys_of_tile(const rad_cuda_attend_arguments &a, const matrix_task &task,
                                       uint32_t tile)
{
    return rad_cache_page(a.pages, task.sequence, tile) + a.first +
           (uint64_t)task.kv_head * (a.key_bytes + a.value_bytes);
}

/* Slots of a tile that a query of the block sees. */
RAD_DEVICE slot_range seen_by_block(const rad_cuda_attend_arguments &a, const matrix_task &task,
                                    uint32_t tile, bool of_sinks)
{
    return visible_slots(a, task.first_position, task.last_end, tile, of_sinks);
}

/* Begins to copy a tile, by `threads` threads. */
template <typename KIND>
RAD_DEVICE void stage_tile(const rad_cuda_attend_arguments &a, const uint8_t *keys, slot_range seen,
                           uint8_t *staged, uint32_t thread, uint32_t threads)
{
    KIND::stage_keys(a, keys, staged, thread, threads);
    KIND::stage_values(a, keys, seen, staged, thread, threads);
}

/* Zeros for what is only there to fill up a batch. */
RAD_DEVICE void write_zeros(const rad_cuda_attend_arguments &a, const matrix_task &task)
{
    for (uint32_t r = rad_warp(); r < task.n_live; r += WARPS) {
        uint64_t query = (uint64_t)row_of_query(task, r) * a.n_heads + head_of_query(task, r);
        for (uint32_t d = rad_lane(); d < a.value_dim; d += 32)
            a.out[query * a.value_dim + d] = 0.0f;
    }
}

/* ---- states in registers --------------------------------------------------------------------- */

/* Of a lane's two queries: maximum, sum, and of 8 dimensions each two outputs. */
template <int PARTS> struct matrix_state {
    float most[2], sum[2];
    float out[PARTS][4];
};

template <int PARTS>
RAD_DEVICE void clear(const rad_cuda_attend_arguments &a, const matrix_task &task,
                      uint32_t first_row, bool learned, matrix_state<PARTS> *state)
{
#pragma unroll
    for (int of = 0; of < 2; of++) {
        uint32_t r = first_row + rad_lane() / 4 + 8 * of;
        bool has_sink = learned && a.learned_sinks != NULL && r < task.n_live;
        state->most[of] = has_sink ? a.learned_sinks[head_of_query(task, r)] : MINUS_INFINITY;
        state->sum[of] = has_sink ? 1.0f : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < PARTS; i++)
        state->out[i][0] = state->out[i][1] = state->out[i][2] = state->out[i][3] = 0.0f;
}

/* A tile into the state, as merge_row() does it. */
template <typename KIND, int PARTS>
RAD_DEVICE void merge_tile(const rad_cuda_attend_arguments &a, typename KIND::tile &tile,
                           const uint8_t *staged, matrix_state<PARTS> *state)
{
    float rescale[2], weight[2];
    bool seen[2];
#pragma unroll
    for (int of = 0; of < 2; of++) {
        seen[of] = !is_empty_state(tile.most[of], tile.sum[of]);
        float before = state->most[of];
        float merged = seen[of] ? greater(before, tile.most[of]) : before;
        rescale[of] = rad_expf_below_one(before - merged);
        weight[of] = rad_expf_below_one(tile.most[of] - merged);
        state->most[of] = merged;
        if (seen[of])
            state->sum[of] = rad_fma(state->sum[of], rescale[of], tile.sum[of] * weight[of]);
    }
#pragma unroll
    for (uint32_t i = 0; i < PARTS; i += 2) {
        if (i * 8 >= a.value_dim)
            break;
        float out[2][4];
        KIND::output(a, tile, staged, i * 8, out);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            int of = j % 4 / 2;
            float *sum = &state->out[i + j / 4][j % 4];
            float share = tile.step[of] * weight[of];
            float next = rad_fma(*sum, rescale[of], out[j / 4][j % 4] * share);
            *sum = seen[of] ? next : *sum;
        }
    }
}

/* Where the outputs of a lane's query stand between ranges, and at the end. */
RAD_DEVICE float *out_of_query(const rad_cuda_attend_arguments &a, const matrix_task &task,
                               uint32_t r)
{
    return a.out +
           ((uint64_t)row_of_query(task, r) * a.n_heads + head_of_query(task, r)) * a.value_dim;
}

/* A range's state into the total, whose outputs stand in memory: merge_states(). `first`: there is
 * no total yet. */
template <int PARTS>
RAD_DEVICE void merge_range(const rad_cuda_attend_arguments &a, const matrix_task &task,
                            uint32_t first_row, bool first, const matrix_state<PARTS> &state,
                            float most[2], float sum[2])
{
#pragma unroll
    for (int of = 0; of < 2; of++) {
        uint32_t r = first_row + rad_lane() / 4 + 8 * of;
        bool empty = is_empty_state(state.most[of], state.sum[of]) && !first;
        bool replaced = first || is_empty_state(most[of], sum[of]);
        if (empty || r >= task.n_live)
            continue;
        float merged = replaced ? state.most[of] : greater(most[of], state.most[of]);
        float rescale = rad_expf_below_one(most[of] - merged);
        float weight = rad_expf_below_one(state.most[of] - merged);
        float *out = out_of_query(a, task, r) + rad_lane() % 4 * 2;
        sum[of] = replaced ? state.sum[of] : rad_fma(sum[of], rescale, state.sum[of] * weight);
        most[of] = merged;
#pragma unroll
        for (uint32_t i = 0; i < PARTS; i++) {
            if (i * 8 >= a.value_dim)
                break;
#pragma unroll
            for (int j = 0; j < 2; j++) {
                float part = state.out[i][of * 2 + j];
                out[i * 8 + j] = replaced ? part : rad_fma(out[i * 8 + j], rescale, part * weight);
            }
        }
    }
}

/* The result of a block of the grid: outputs, or the state of a part. `in_memory`: of a total. */
template <int PARTS>
RAD_DEVICE void write_result(const rad_cuda_attend_arguments &a, const matrix_task &task,
                             uint32_t first_row, bool in_memory, const matrix_state<PARTS> &state,
                             const float sum[2])
{
    const bool whole = a.division == RAD_CUDA_ATTEND_WHOLE;
    const uint32_t size = rad_cuda_attend_state(a.value_dim), column = rad_lane() % 4 * 2;
#pragma unroll
    for (int of = 0; of < 2; of++) {
        uint32_t r = first_row + rad_lane() / 4 + 8 * of;
        if (r >= task.n_live)
            continue;
        float *apart = states_of(a, rad_block_x(), task.head, 0) +
                       (r * (uint64_t)a.n_units + rad_block_z()) * size;
        float *out = whole ? out_of_query(a, task, r) : apart;
        float total = in_memory ? sum[of] : state.sum[of];
#pragma unroll
        for (uint32_t i = 0; i < PARTS; i++) {
            if (i * 8 >= a.value_dim)
                break;
#pragma unroll
            for (int j = 0; j < 2; j++) {
                uint32_t at = i * 8 + column + j;
                float x = in_memory ? out[at] : state.out[i][of * 2 + j];
                out[at] = whole ? x / total : x;
            }
        }
        if (!whole && column == 0) {
            out[a.value_dim] = state.most[of];
            out[a.value_dim + 1] = total;
        }
    }
}

template <typename KIND, int PARTS>
RAD_DEVICE void attend_many(const rad_cuda_attend_arguments &a, uint32_t *words)
{
    rad_cuda_attend_block block = a.blocks[rad_block_x()];
    if (block.n_rows == 0)
        return;
    matrix_task task = make_task<KIND>(a, block, MANY_ROWS, words);
    if (task.end_tile == 0) {
        if (rad_block_z() == 0)
            write_zeros(a, task);
        return;
    }
    const bool whole = a.division == RAD_CUDA_ATTEND_WHOLE;
    const uint32_t z = rad_block_z(), first_row = rad_warp() * WARP_ROWS;
    const uint32_t size = KIND::staged_bytes(a);
    bool prepared = false, some = z == 0, in_memory = false;
    matrix_state<PARTS> state;
    float most[2] = {0.0f, 0.0f}, sum[2] = {0.0f, 0.0f};
    clear(a, task, first_row, z == 0, &state);
    uint32_t step = z == 0 ? 0 : z + 1, end = whole ? 0xffffffffu : z == 0 ? 2 : z + 2;
    for (; step < end; step++) {
        key_part part = part_of_step(a, step, task.first_tile, task.end_tile);
        if (part.begin == part.end && step < 2)
            continue;
        if (part.begin == part.end)
            break;
        some = true;
        if (!prepared)
            prepare<KIND>(a, task, part.of_sinks ? a.sink_queries : a.queries);
        prepared = !part.of_sinks;
        if (whole && part.begins) {
            if (!in_memory)
                merge_range(a, task, first_row, true, state, most, sum);
            in_memory = true;
            clear(a, task, first_row, false, &state);
        }
        uint32_t buffer = 0;
        stage_tile<KIND>(a, keys_of_tile(a, task, part.begin),
                         seen_by_block(a, task, part.begin, part.of_sinks), task.staged,
                         rad_thread(), THREADS);
        rad_copy_async_commit();
        for (uint32_t tile = part.begin; tile < part.end; tile++, buffer ^= size) {
            if (tile + 1 < part.end)
                stage_tile<KIND>(a, keys_of_tile(a, task, tile + 1),
                                 seen_by_block(a, task, tile + 1, part.of_sinks),
                                 task.staged + (buffer ^ size), rad_thread(), THREADS);
            rad_copy_async_commit();
            rad_copy_async_wait(1);
            rad_barrier();
            typename KIND::tile found;
            if (first_row < task.n_live &&
                KIND::attend(a, task.queries, first_row, task.staged + buffer, tile, part.of_sinks,
                             &found))
                merge_tile<KIND>(a, found, task.staged + buffer, &state);
            rad_barrier();
        }
        if (whole && part.begins)
            merge_range(a, task, first_row, false, state, most, sum);
    }
    if (some)
        write_result(a, task, first_row, in_memory, state, sum);
}

#endif

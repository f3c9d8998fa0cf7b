/* Merges what the blocks of a divided attention found, in order: a block for each head and block of
 * tokens; a warp takes a range of tiles. */
#include "kernels/cuda/attend_merge.h"

#define WARPS       RAD_CUDA_ATTEND_WARPS
#define RANGE_TILES RAD_CUDA_ATTEND_RANGE_TILES

struct merge_task {
    uint32_t first_tile, end_tile;
    const float *states; /* of the query */
    uint32_t state;      /* floats */
    float *total;        /* in shared memory */
    float *ranges;       /* [WARPS] states, the same */
};

/* Tiles begin .. end - 1 that are seen behind the sinks, into a state. */
RAD_DEVICE void merge_seen(const rad_cuda_attend_arguments &a, const merge_task &task,
                           uint32_t begin, uint32_t end, float *state)
{
    begin = task.first_tile > begin ? task.first_tile : begin;
    end = task.end_tile < end ? task.end_tile : end;
    if (begin >= end)
        return;
    uint64_t unit = tiles_of_sinks(a) + (begin - (task.first_tile >> a.part_log2 << a.part_log2));
    merge_row(a, state, task.states + unit * task.state, task.state, end - begin, false);
}

RAD_DEVICE void merge_all_tiles(const rad_cuda_attend_arguments &a, const merge_task &task)
{
    uint32_t n_sinks = sink_tiles(a, task.end_tile);
    if (rad_warp() == 0) {
        for (uint32_t tile = 0; tile < n_sinks; tile += 32)
            merge_row(a, task.total, task.states + (uint64_t)tile * task.state, task.state,
                      n_sinks - tile < 32 ? n_sinks - tile : 32, false);
        merge_seen(a, task, 0, RANGE_TILES, task.total);
    }
    for (uint32_t range = first_range(task.first_tile); range * RANGE_TILES < task.end_tile;
         range += WARPS) {
        uint32_t mine = range + rad_warp();
        float *state = task.ranges + (uint64_t)rad_warp() * task.state;
        clear_state(a, state, NO_HEAD);
        merge_seen(a, task, mine * RANGE_TILES, (mine + 1) * RANGE_TILES, state);
        rad_barrier();
        if (rad_warp() == 0)
            merge_row(a, task.total, task.ranges, task.state, WARPS, true);
        rad_barrier();
    }
}

RAD_DEVICE void merge_all_ranges(const rad_cuda_attend_arguments &a, const merge_task &task)
{
    uint32_t first = first_range(task.first_tile);
    uint32_t end = (task.end_tile + RANGE_TILES - 1) / RANGE_TILES;
    if (rad_warp() != 0)
        return;
    for (uint32_t d = rad_lane(); d < a.value_dim + 2; d += 32)
        task.total[d] = task.states[d];
    rad_warp_barrier();
    for (uint32_t range = first; range < end; range += 32)
        merge_row(a, task.total, task.states + (uint64_t)(range - first + 1) * task.state,
                  task.state, end - range < 32 ? end - range : 32, true);
}

RAD_CUDA_KERNEL_BLOCKS(attend_merge, WARPS * 32, 2, rad_cuda_attend_arguments, a)
{
    float *shared = (float *)rad_dynamic_shared();
    uint32_t head = rad_block_y();
    rad_cuda_attend_block block = a.blocks[rad_block_x()];
    if (block.n_rows == 0 || a.rows[block.first_row].end == 0)
        return;
    uint32_t visible = first_visible(a, a.rows[block.first_row].position);
    uint32_t end = a.rows[block.first_row + block.n_rows - 1].end;
    merge_task task;
    task.first_tile = (visible > a.sinks ? visible : a.sinks) / RAD_TILE_KEYS;
    task.end_tile = (end + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS;
    task.state = rad_cuda_attend_state(a.value_dim);
    task.total = shared;
    task.ranges = shared + task.state;
    for (uint32_t token = 0; token < block.n_rows; token++) {
        task.states = states_of(a, rad_block_x(), head, token);
        if (rad_warp() == 0)
            clear_state(a, task.total, head);
        if (a.division == RAD_CUDA_ATTEND_TILES)
            merge_all_tiles(a, task);
        else
            merge_all_ranges(a, task);
        if (rad_warp() == 0)
            finish(a, task.total, block.first_row + token, head);
        rad_barrier();
    }
}

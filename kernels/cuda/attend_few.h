/* Attention of up to 16 queries that share keys, with each tile written by itself for attend_merge:
 * for few tokens. Kinds of keys and values: attend_many.h. */
#ifndef RAD_CUDA_ATTEND_FEW_H
#define RAD_CUDA_ATTEND_FEW_H

#include "kernels/cuda/attend_many.h"

/* ---- each tile by itself --------------------------------------------------------------------- */

template <typename KIND>
RAD_DEVICE void write_tile(const rad_cuda_attend_arguments &a, const matrix_task &task,
                           typename KIND::tile &found, bool some, const uint8_t *staged,
                           float *states)
{
    const uint64_t stride = (uint64_t)a.n_units * rad_cuda_attend_state(a.value_dim);
    const uint32_t row = rad_lane() / 4, column = rad_lane() % 4 * 2;
#pragma unroll
    for (int of = 0; of < 2; of++) {
        float *state = states + (row + 8 * of) * stride + a.value_dim;
        if (row + 8 * of < task.n_live && column == 0) {
            state[0] = some ? found.most[of] : MINUS_INFINITY;
            state[1] = some ? found.sum[of] : 0.0f;
        }
    }
    for (uint32_t dim = 0; some && dim < a.value_dim; dim += 16) {
        float out[2][4];
        KIND::output(a, found, staged, dim, out);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            uint32_t r = row + j % 4 / 2 * 8, at = dim + j / 4 * 8 + column + j % 2;
            if (r < task.n_live && at < a.value_dim)
                states[r * stride + at] = out[j / 4][j % 4];
        }
        if (KIND::has_steps && dim % 32 == 0 && column == 0) {
#pragma unroll
            for (int of = 0; of < 2; of++)
                if (row + 8 * of < task.n_live)
                    states[(row + 8 * of) * stride + a.value_dim + 2 + dim / 32] = found.step[of];
        }
    }
}

template <typename KIND>
RAD_DEVICE void attend_few(const rad_cuda_attend_arguments &a, uint32_t *words)
{
    rad_cuda_attend_block block = a.blocks[rad_block_x()];
    if (block.n_rows == 0)
        return;
    matrix_task task = make_task<KIND>(a, block, WARP_ROWS, words);
    if (task.end_tile == 0) {
        if (rad_block_z() == 0)
            write_zeros(a, task);
        return;
    }
    key_part part = part_of_slice(a, rad_block_z(), task.first_tile, task.end_tile);
    if (part.begin == part.end)
        return;
    prepare<KIND>(a, task, part.of_sinks ? a.sink_queries : a.queries);
    uint8_t *staged = task.staged + rad_warp() * KIND::staged_bytes(a);
    float *states = states_of(a, rad_block_x(), task.head, 0);
    for (uint32_t tile = part.begin + rad_warp(); tile < part.end; tile += WARPS) {
        stage_tile<KIND>(a, keys_of_tile(a, task, tile),
                         seen_by_block(a, task, tile, part.of_sinks), staged, rad_lane(), 32);
        rad_copy_async_commit();
        rad_copy_async_wait(0);
        rad_warp_barrier();
        typename KIND::tile found;
        bool some = KIND::attend(a, task.queries, 0, staged, tile, part.of_sinks, &found);
        write_tile<KIND>(a, task, found, some, staged,
                         states + (part.unit + (tile - part.begin)) *
                                      rad_cuda_attend_state(a.value_dim));
        rad_warp_barrier();
    }
}

#endif

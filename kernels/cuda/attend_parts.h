/* How the keys that a block of queries sees are taken: in which parts, and which of them a block of
 * the grid has. */
#ifndef RAD_CUDA_ATTEND_PARTS_H
#define RAD_CUDA_ATTEND_PARTS_H

#include "kernels/cuda/attend_merge.h"

/* A part of the keys, with a state of its own or the one of the parts before it. */
struct key_part {
    uint32_t begin, end; /* tiles */
    bool of_sinks;
    bool begins;   /* its state begins empty */
    uint64_t unit; /* of its first tile, where each tile is written by itself */
};

/* Step 0: the sinks of the policy. Step 1: the tiles of range 0. From step 2 on: a range each. */
RAD_DEVICE key_part part_of_step(const rad_cuda_attend_arguments &a, uint32_t step,
                                 uint32_t first_tile, uint32_t end_tile)
{
    uint32_t range = step < 2 ? 0 : first_range(first_tile) + step - 2;
    uint32_t begin = range * RAD_CUDA_ATTEND_RANGE_TILES, end = begin + RAD_CUDA_ATTEND_RANGE_TILES;
    if (step == 0)
        return {0, sink_tiles(a, end_tile), true, false, 0};
    begin = first_tile > begin ? first_tile : begin;
    end = end_tile < end ? end_tile : end;
    return {begin, begin < end ? end : begin, false, step > 1, 0};
}

/* The same where each tile is written by itself: the sinks, if there are any, then parts of a grid.
 */
RAD_DEVICE key_part part_of_slice(const rad_cuda_attend_arguments &a, uint32_t part,
                                  uint32_t first_tile, uint32_t end_tile)
{
    if (a.sinks > 0 && part == 0)
        return {0, sink_tiles(a, end_tile), true, false, 0};
    uint32_t slice = part - (a.sinks > 0 ? 1 : 0);
    uint32_t start = ((first_tile >> a.part_log2) + slice) << a.part_log2;
    uint32_t end = start + (1u << a.part_log2);
    uint32_t begin = first_tile > start ? first_tile : start;
    end = end_tile < end ? end_tile : end;
    uint64_t unit = tiles_of_sinks(a) + (slice << a.part_log2) + (begin - start);
    return {begin, begin < end ? end : begin, false, false, unit};
}

#endif

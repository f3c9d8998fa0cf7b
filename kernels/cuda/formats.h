/* How each format of weights comes apart on the device: the 8 steps of 32 columns that a chunk of
 * 256 has, as words of four quants. The layout is that of lib/backend/cuda/layout.c: first
 * N_LANE sections of 16 bytes of which word i gives the words i and i + 4 of a step, then N_WHOLE
 * sections of which other words are needed as well, then a header with the scales, which is kept as
 * N_HEADER words.
 *
 * A format is a struct with these numbers and
 * - OFFSET: what is added to a code to make the quant;
 * - IN_TURN: 1 where a section of N_LANE is used by a few steps, of which last_step() gives the
 *   last, mostly long before the next chunk's first one; sections of N_WHOLE are all so, and have
 *   last_step_of_whole();
 * - load_header(): the words of the header;
 * - codes(): words i (low) and i + 4 (high) of a step from a view, which is
 *     lane(s): word i of section s; whole(s, j): word j of section N_LANE + s; i; header(j);
 * - scale(), minimum(): of a step (BLOCK, BLOCK_16: two of a step) or of the chunk (SUPER,
 *   TERNARY), as the CPU's unpack functions give them;
 * - sub_scale() (SUPER): of sub-block j of SUB columns; sub_minimum() the same;
 * - factors() (SUPER, where there are minima or an offset): sub-minima, or sub-scales, of 16
 * columns each: number 4 four + k in byte k. */
#ifndef RAD_CUDA_FORMATS_H
#define RAD_CUDA_FORMATS_H

#include "kernels/cuda/formats_bits.h"
#include "kernels/cuda/formats_blocks.h"
#include "kernels/cuda/formats_supers.h"
#include "kernels/cuda/formats_levels.h"
#include "kernels/cuda/formats_codebooks.h"
#include "kernels/cuda/formats_ternary.h"
#include "kernels/cuda/formats_folders.h"

/* Asks for n_rows rows of a chunk from first_row of the group on, multiples of 8: a lane for each
 * section of 16 bytes. What a block comes to late is then under way from the beginning. */
template <class F>
RAD_DEVICE void prefetch_rows(const uint8_t *chunk, uint32_t first_row, uint32_t n_rows)
{
    static_assert(F::CHUNK_BYTES / 16 <= 32, "a lane for each section");
    if (rad_lane() < F::CHUNK_BYTES / 16)
        rad_prefetch(section_at({chunk, first_row}, rad_lane() * 16, 16), n_rows * 16);
}

/* Of a tile of activations: the sum of 16 columns. */
RAD_DEVICE int32_t sum_of_16(const uint8_t *tile, int i)
{
    return ((const int16_t *)(tile + RAD_CUDA_TILE_SUMS))[i];
}

/* What comes behind a product. */
RAD_DEVICE float product_value(const rad_cuda_product_part &part, uint32_t expert, uint64_t output,
                               uint32_t row, float y)
{
    if (part.scales != nullptr) /* times one is the same bits */
        y *= part.scales[expert];
    if (part.bias != nullptr)
        y += part.bias[(uint64_t)expert * part.n_rows + row];
    if (part.add != nullptr)
        y = part.add[output * part.y_stride + row] + y;
    return y;
}

RAD_DEVICE void finish_product(const rad_cuda_product_part &part, uint32_t expert, uint64_t output,
                               uint32_t row, float y)
{
    part.y[output * part.y_stride + row] = product_value(part, expert, output, row, y);
}

#endif

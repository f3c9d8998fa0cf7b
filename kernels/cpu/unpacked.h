/* Products with every quantized format, block by block through the format's own unpack function:
 * plain C that each instruction set compiles for itself, so that the compiler's vectors do the dot
 * products. It is the scalar table's product, and the fast tables' for the formats that have no
 * kernels of their own. kernels.h defines the arithmetic. */
#ifndef RAD_UNPACKED_H
#define RAD_UNPACKED_H

#include <math.h>

#include "kernels/cpu/lane.h"
#include "kernels/kernels.h"

/* n is a multiple of 16, at most 256. */
static inline int32_t unpacked_dot(const int8_t *a, const int8_t *b, uint32_t n)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* One product in flight, with what follows from its types. */
typedef struct unpacked_job {
    const rad_matrix *w;
    const rad_activations *x;
    const rad_type_info *info;
    uint32_t n_blocks; /* of a row */
} unpacked_job;

/* The activations beside one block of one token. */
typedef struct unpacked_input {
    const int8_t *quants;
    const float *scales;
    const int16_t *sums;
} unpacked_input;

static inline unpacked_input unpacked_input_at(const unpacked_job *job, uint32_t token,
                                               uint32_t block)
{
    const rad_activations *x = job->x;
    size_t row = (size_t)token * job->w->n_columns;
    size_t column = (size_t)block * job->info->block_elements;
    unpacked_input in = {x->quants + row + column, x->scales + token,
                         x->sums + (row + column) / 16};
    if (x->kind == RAD_ACTIVATION_Q8_32)
        in.scales = x->scales + (row + column) / 32;
    else if (x->kind == RAD_ACTIVATION_Q8_256)
        in.scales = x->scales + (row + column) / RAD_SUPER_BLOCK;
    return in;
}

/* Blocks of 32, or of some times 32 with one scale: a step for each 32. */
static inline float unpacked_block(const unpacked_job *job, const rad_block *block,
                                   const unpacked_input *in, float sum)
{
    for (uint32_t i = 0; i < job->info->block_elements / 32; i++) {
        int32_t products = unpacked_dot(block->quants + 32 * i, in->quants + 32 * i, 32);
        sum = fmaf(block->scale * in->scales[i], (float)products, sum);
        if (job->info->has_minimum)
            sum = fmaf(block->minimum * in->scales[i],
                       (float)(in->sums[2 * i] + in->sums[2 * i + 1]), sum);
    }
    return sum;
}

static inline float unpacked_block_16(const unpacked_job *job, const rad_block *block,
                                      const unpacked_input *in, float sum)
{
    for (uint32_t i = 0; i < job->info->block_elements / 16; i++) {
        int32_t products = unpacked_dot(block->quants + 16 * i, in->quants + 16 * i, 16);
        sum = fmaf(block->scales_16[i] * in->scales[i / 2], (float)products, sum);
    }
    return sum;
}

static inline float unpacked_super(const rad_block *block, uint32_t sub_block, bool has_minimum,
                                   const unpacked_input *in, float sum)
{
    int32_t products = 0, minima = 0;
    for (uint32_t j = 0; j < RAD_SUPER_BLOCK / sub_block; j++) {
        products += block->sub_scales[j] * unpacked_dot(block->quants + j * sub_block,
                                                        in->quants + j * sub_block, sub_block);
        for (uint32_t k = j * sub_block / 16; has_minimum && k < (j + 1) * sub_block / 16; k++)
            minima += block->sub_minima[j] * in->sums[k];
    }
    sum = fmaf(block->scale * in->scales[0], (float)products, sum);
    return has_minimum ? fmaf(block->minimum * in->scales[0], (float)minima, sum) : sum;
}

/* One more block of one output. */
static inline float unpacked_step(const unpacked_job *job, const rad_block *block,
                                  const unpacked_input *in, float sum)
{
    switch (job->info->family) {
    case RAD_FAMILY_SUPER_16:
        return unpacked_super(block, 16, job->info->has_minimum, in, sum);
    case RAD_FAMILY_SUPER_32:
        return unpacked_super(block, 32, job->info->has_minimum, in, sum);
    case RAD_FAMILY_BLOCK_16:
        return unpacked_block_16(job, block, in, sum);
    case RAD_FAMILY_TERNARY:
        return fmaf(block->scale * in->scales[0],
                    (float)unpacked_dot(block->quants, in->quants, RAD_SUPER_BLOCK), sum);
    default:
        return unpacked_block(job, block, in, sum);
    }
}

/* The block's bytes in the order of the file; `copy` holds them where the layout is another. */
static inline const uint8_t *unpacked_bytes(const unpacked_job *job, uint32_t row, uint32_t block,
                                            uint8_t copy[256])
{
    const rad_matrix *w = job->w;
    size_t block_bytes = job->info->block_bytes;
    size_t row_bytes = job->n_blocks * block_bytes;
    if (w->layout == RAD_LAYOUT_FILE)
        return w->data + row * row_bytes + block * block_bytes;
    rad_lane_take_block(
        w->type, w->data + RAD_LANE_ROWS * (row / RAD_LANE_ROWS * row_bytes + block * block_bytes),
        row % RAD_LANE_ROWS, copy);
    return copy;
}

/* Integers alone: the sum over a row is exact, whatever its order. Tokens pass in small groups, so
 * that each block is unpacked once for a group. */
static inline void unpacked_row(const unpacked_job *job, uint32_t row, uint32_t first_token,
                                uint32_t last_token, float *y, size_t y_stride)
{
    enum { GROUP = 32 };
    for (uint32_t first = first_token; first < last_token; first += GROUP) {
        uint32_t n = last_token - first < GROUP ? last_token - first : GROUP;
        int32_t sums[GROUP] = {0};
        for (uint32_t b = 0; b < job->n_blocks; b++) {
            uint8_t copy[256];
            rad_block block;
            job->info->unpack(unpacked_bytes(job, row, b, copy), &block);
            for (uint32_t t = 0; t < n; t++)
                sums[t] += unpacked_dot(block.quants, unpacked_input_at(job, first + t, b).quants,
                                        job->info->block_elements);
        }
        for (uint32_t t = 0; t < n; t++)
            y[(first + t) * y_stride + row] = job->x->scales[first + t] * (float)sums[t];
    }
}

/* One row of any quantized family. */
static inline void unpacked_product(const rad_matrix *w, const rad_type_info *info,
                                    const rad_activations *x, uint32_t row, uint32_t first_token,
                                    uint32_t last_token, float *y, size_t y_stride)
{
    unpacked_job job = {w, x, info, w->n_columns / info->block_elements};
    if (info->family == RAD_FAMILY_ROW) {
        unpacked_row(&job, row, first_token, last_token, y, y_stride);
        return;
    }
    for (uint32_t t = first_token; t < last_token; t++)
        y[t * y_stride + row] = 0.0f;
    for (uint32_t b = 0; b < job.n_blocks; b++) {
        uint8_t copy[256];
        rad_block block;
        info->unpack(unpacked_bytes(&job, row, b, copy), &block);
        for (uint32_t t = first_token; t < last_token; t++) {
            unpacked_input in = unpacked_input_at(&job, t, b);
            float *out = &y[t * y_stride + row];
            *out = unpacked_step(&job, &block, &in, *out);
        }
    }
}

#endif

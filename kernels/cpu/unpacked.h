/* Products with every quantized format, block by block through the format's own unpack function:
 * plain C that each instruction set compiles for itself, so that the compiler's vectors do the dot
 * products. It is the scalar table's product, and the fast tables' for the formats that have no
 * kernels of their own. kernels.h defines the arithmetic. */
#ifndef RAD_UNPACKED_H
#define RAD_UNPACKED_H

#include <math.h>

#include "kernels/cpu/lane.h"
#include "kernels/kernels.h"

/* A block's integers as the dot products want them: quants, times their sub-scales where they have
 * any. The largest products are those of Q6_K, 128 * 32, and IQ4_XS, 32 * 127. */
typedef struct unpacked_weights {
    rad_block block;
    int16_t integers[RAD_SUPER_BLOCK];
} unpacked_weights;

#ifndef UNPACKED_DOT /* an instruction set may bring its own, for 256 columns */
/* n is a multiple of 16, at most 256. */
static inline int32_t unpacked_dot(const int16_t *w, const int8_t *x, uint32_t n)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += w[i] * x[i];
    return sum;
}
#endif

/* One product in flight, with what follows from its types. */
typedef struct unpacked_job {
    const rad_matrix *w;
    const rad_activations *x;
    const rad_type_info *info;
    uint32_t n_blocks;         /* of a row */
    uint32_t activation_block; /* activations that share a scale */
} unpacked_job;

static inline unpacked_job unpacked_job_of(const rad_matrix *w, const rad_type_info *info,
                                           const rad_activations *x)
{
    return (unpacked_job){w, x, info, w->n_columns / info->block_elements,
                          rad_activation_block(x->kind, w->n_columns)};
}

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
    size_t at = (size_t)token * job->w->n_columns + (size_t)block * job->info->block_elements;
    return (unpacked_input){x->quants + at, x->scales + at / job->activation_block,
                            x->sums + at / 16};
}

/* Goes on to the next token. */
static inline void unpacked_next(const unpacked_job *job, uint32_t scales_a_row, unpacked_input *in)
{
    in->quants += job->w->n_columns;
    in->scales += scales_a_row;
    in->sums += job->w->n_columns / 16;
}

/* Blocks of 32, or of some times 32 with one scale: a step for each 32. */
static inline float unpacked_block(const unpacked_job *job, const unpacked_weights *w,
                                   const unpacked_input *in, float sum)
{
    const rad_block *block = &w->block;
    for (uint32_t i = 0; i < job->info->block_elements / 32; i++) {
        int32_t products = unpacked_dot(w->integers + 32 * i, in->quants + 32 * i, 32);
        sum = fmaf(block->scale * in->scales[i], (float)products, sum);
        if (job->info->has_minimum)
            sum = fmaf(block->minimum * in->scales[i],
                       (float)(in->sums[2 * i] + in->sums[2 * i + 1]), sum);
    }
    return sum;
}

/* Blocks with a zero: a step for each scale of the activations. */
static inline float unpacked_affine(const unpacked_job *job, const unpacked_weights *w,
                                    const unpacked_input *in, float sum)
{
    const uint32_t step = job->activation_block;
    for (uint32_t i = 0; i < job->info->block_elements / step; i++) {
        int32_t products = unpacked_dot(w->integers + step * i, in->quants + step * i, step);
        int32_t of_inputs = 0;
        for (uint32_t j = step * i / 16; j < step * (i + 1) / 16; j++)
            of_inputs += in->sums[j];
        sum = fmaf(w->block.scale * in->scales[i], (float)(products - w->block.zero * of_inputs),
                   sum);
    }
    return sum;
}

static inline float unpacked_block_16(const unpacked_job *job, const unpacked_weights *w,
                                      const unpacked_input *in, float sum)
{
    for (uint32_t i = 0; i < job->info->block_elements / 16; i++) {
        int32_t products = unpacked_dot(w->integers + 16 * i, in->quants + 16 * i, 16);
        sum = fmaf(w->block.scales_16[i] * in->scales[i / 2], (float)products, sum);
    }
    return sum;
}

/* The minimum's sum of a super-block. */
static inline int32_t unpacked_minima(const rad_block *block, uint32_t sub_block,
                                      const int16_t *sums)
{
    int32_t total = 0;
    for (uint32_t k = 0; k < RAD_SUPER_BLOCK / 16; k++)
        total += block->sub_minima[k * 16 / sub_block] * sums[k];
    return total;
}

/* Super-blocks and ternary blocks: one step for 256; minima for each sub_block of columns. */
static inline float unpacked_super(const unpacked_job *job, const unpacked_weights *w,
                                   uint32_t sub_block, const unpacked_input *in, float sum)
{
    float scale = in->scales[0];
    sum = fmaf(w->block.scale * scale,
               (float)unpacked_dot(w->integers, in->quants, RAD_SUPER_BLOCK), sum);
    if (!job->info->has_minimum)
        return sum;
    return fmaf(w->block.minimum * scale, (float)unpacked_minima(&w->block, sub_block, in->sums),
                sum);
}

static inline float unpacked_super_16(const unpacked_job *job, const unpacked_weights *w,
                                      const unpacked_input *in, float sum)
{
    return unpacked_super(job, w, 16, in, sum);
}

static inline float unpacked_super_32(const unpacked_job *job, const unpacked_weights *w,
                                      const unpacked_input *in, float sum)
{
    return unpacked_super(job, w, 32, in, sum);
}

/* n is a multiple of 16. The two do not overlap, which lets the compiler use vectors. */
static inline void unpacked_widen(const int8_t *restrict quants, int16_t scale, uint32_t n,
                                  int16_t *restrict integers)
{
    for (uint32_t i = 0; i < n / 16 * 16; i++) /* so that no tail is compiled */
        integers[i] = (int16_t)(scale * quants[i]);
}

/* Takes one block of a row apart. */
static inline void unpacked_take(const unpacked_job *job, uint32_t row, uint32_t block,
                                 unpacked_weights *out)
{
    const rad_matrix *w = job->w;
    const rad_type_info *info = job->info;
    const int8_t *quants = out->block.quants, *scales = out->block.sub_scales;
    if (w->layout == RAD_LAYOUT_FILE) {
        info->unpack(w->data + ((size_t)row * job->n_blocks + block) * info->block_bytes,
                     &out->block);
    } else {
        size_t at = (size_t)(row / RAD_LANE_ROWS) * job->n_blocks + block;
        at *= (size_t)RAD_LANE_ROWS * rad_lane_form_of(w->type)->block_bytes;
        rad_lane_unpack_block(w->type, w->data + at, row % RAD_LANE_ROWS, &out->block);
    }
    if (info->family == RAD_FAMILY_SUPER_16 || info->family == RAD_FAMILY_SUPER_32) {
        uint32_t per_scale = info->family == RAD_FAMILY_SUPER_16 ? 1 : 2;
        for (uint32_t j = 0; j < RAD_SUPER_BLOCK / 16; j++)
            unpacked_widen(quants + 16 * j, scales[j / per_scale], 16, out->integers + 16 * j);
        return;
    }
    unpacked_widen(quants, 1, info->block_elements, out->integers);
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
            unpacked_weights weights;
            unpacked_take(job, row, b, &weights);
            for (uint32_t t = 0; t < n; t++)
                sums[t] +=
                    unpacked_dot(weights.integers, unpacked_input_at(job, first + t, b).quants,
                                 job->info->block_elements);
        }
        for (uint32_t t = 0; t < n; t++)
            y[(first + t) * y_stride + row] = job->x->scales[first + t] * (float)sums[t];
    }
}

/* One more block of one output. */
typedef float (*unpacked_step)(const unpacked_job *job, const unpacked_weights *w,
                               const unpacked_input *in, float sum);

/* One more block of one row, for some tokens whose sums y holds. */
static inline void unpacked_tokens(const unpacked_job *job, const unpacked_weights *w,
                                   unpacked_step step, unpacked_input in, uint32_t n, float *y,
                                   size_t y_stride)
{
    const uint32_t scales_a_row = job->w->n_columns / job->activation_block;
    for (uint32_t t = 0; t < n; t++) {
        y[t * y_stride] = step(job, w, &in, y[t * y_stride]);
        unpacked_next(job, scales_a_row, &in);
    }
}

static inline float unpacked_codebook(const unpacked_job *job, const unpacked_weights *w,
                                      const unpacked_input *in, float sum)
{
    (void)job;
    return fmaf(w->block.scale * in->scales[0],
                (float)unpacked_dot(w->integers, in->quants, RAD_SUPER_BLOCK), sum);
}

/* One row of a format whose blocks have 256 columns, one step for each, and no minimum. */
static inline void unpacked_product_256(const rad_matrix *w, const rad_type_info *info,
                                        const rad_activations *x, uint32_t row,
                                        uint32_t first_token, uint32_t last_token, float *y,
                                        size_t y_stride)
{
    unpacked_job job = unpacked_job_of(w, info, x);
    for (uint32_t t = first_token; t < last_token; t++)
        y[t * y_stride + row] = 0.0f;
    for (uint32_t b = 0; b < job.n_blocks; b++) {
        unpacked_weights weights;
        unpacked_take(&job, row, b, &weights);
        unpacked_tokens(&job, &weights, unpacked_codebook, unpacked_input_at(&job, first_token, b),
                        last_token - first_token, &y[first_token * y_stride + row], y_stride);
    }
}

#ifndef UNPACKED_DOT
/* One row of any quantized family. */
static inline void unpacked_product(const rad_matrix *w, const rad_type_info *info,
                                    const rad_activations *x, uint32_t row, uint32_t first_token,
                                    uint32_t last_token, float *y, size_t y_stride)
{
    unpacked_job job = unpacked_job_of(w, info, x);
    if (info->family == RAD_FAMILY_ROW) {
        unpacked_row(&job, row, first_token, last_token, y, y_stride);
        return;
    }
    for (uint32_t t = first_token; t < last_token; t++)
        y[t * y_stride + row] = 0.0f;
    for (uint32_t b = 0; b < job.n_blocks; b++) {
        unpacked_weights weights;
        unpacked_take(&job, row, b, &weights);
        unpacked_input in = unpacked_input_at(&job, first_token, b);
        float *out = &y[first_token * y_stride + row];
        uint32_t n = last_token - first_token;
        /* A call for each, so that the compiler makes a loop over tokens for each. */
        switch (info->family) {
        case RAD_FAMILY_SUPER_16:
        case RAD_FAMILY_TERNARY:
            unpacked_tokens(&job, &weights, unpacked_super_16, in, n, out, y_stride);
            break;
        case RAD_FAMILY_SUPER_32:
            unpacked_tokens(&job, &weights, unpacked_super_32, in, n, out, y_stride);
            break;
        case RAD_FAMILY_BLOCK_16:
            unpacked_tokens(&job, &weights, unpacked_block_16, in, n, out, y_stride);
            break;
        case RAD_FAMILY_AFFINE:
            unpacked_tokens(&job, &weights, unpacked_affine, in, n, out, y_stride);
            break;
        default:
            unpacked_tokens(&job, &weights, unpacked_block, in, n, out, y_stride);
        }
    }
}
#endif

#endif

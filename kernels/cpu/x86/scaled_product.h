/* Products with NF4, FP4 and FP8 weights: numbers of 4 or 8 bits with an F32 scale per 64, widened
 * in registers, then multiplied in the canonical dot shape as other floats are. One token: straight
 * from the weights. More: rows are widened into the scratch of float_product.h, which multiplies
 * them. */
#ifndef RAD_X86_SCALED_PRODUCT_H
#define RAD_X86_SCALED_PRODUCT_H

#include "kernels/cpu/x86/float_product.h"

enum {
    SCALED_VECTORS = RAD_SCALED_BLOCK / VF_PART_LANES, /* of a block */
    SCALED_NUMBERS = 4                                 /* offset in a block, behind the scale */
};

/* The weights of one block. levels: NULL for FP8. */
INLINE void widen_block(const vf_levels *levels, const uint8_t *block, vf_part out[SCALED_VECTORS])
{
    float scale;
    memcpy(&scale, block, sizeof scale);
    block += SCALED_NUMBERS;
    if (levels != NULL)
        vf_levels_widen(levels, block, scale, out);
    else
        vf_e4m3_widen(block, scale * 256.0f, out);
}

/* Sixteen partial sums for each of n_rows rows and one token. */
INLINE void scaled_rows(const vf_levels *levels, uint32_t block_bytes, int n_rows,
                        const float_job *job, uint32_t row, const float *x, float *sums)
{
    vf_part sum[FLOAT_STREAMS][VF_PARTS];
    const uint8_t *blocks = job->w->data + row * job->row_bytes;
    for (int r = 0; r < n_rows; r++)
        UNROLL for (int p = 0; p < VF_PARTS; p++) sum[r][p] = vf_part_zero();
    for (uint32_t column = 0; column < job->w->n_columns; column += RAD_SCALED_BLOCK) {
        UNROLL for (int r = 0; r < n_rows; r++)
        {
            const uint8_t *block = blocks + (size_t)r * job->row_bytes;
            vf_part weights[SCALED_VECTORS];
            __builtin_prefetch(block + (size_t)n_rows * job->row_bytes, 0, 2);
            widen_block(levels, block, weights);
            UNROLL for (int i = 0; i < SCALED_VECTORS; i++) vf_part_multiply_add(
                &sum[r][i % VF_PARTS], weights[i], vf_part_load(x + column + i * VF_PART_LANES));
        }
        blocks += block_bytes;
    }
    UNROLL for (int r = 0; r < n_rows; r++) UNROLL for (int p = 0; p < VF_PARTS; p++)
        vf_part_store(sums + r * 16 + p * VF_PART_LANES, sum[r][p]);
}

INLINE void scaled_one_token(const vf_levels *levels, uint32_t block_bytes, const float_job *job,
                             uint32_t first_row, uint32_t last_row, uint32_t token)
{
    const float *x = token_values(job, token);
    for (uint32_t row = first_row; row < last_row; row += 16) {
        uint32_t n = last_row - row < 16 ? last_row - row : 16, r = 0;
        float sums[16 * 16] = {0};
        for (; r + FLOAT_STREAMS <= n; r += FLOAT_STREAMS)
            scaled_rows(levels, block_bytes, FLOAT_STREAMS, job, row + r, x, sums + r * 16);
        for (; r < n; r++)
            scaled_rows(levels, block_bytes, 1, job, row + r, x, sums + r * 16);
        finish_sums(job, row, n, token, 1, sums, 16 * 16);
    }
}

/* Rows as pack_rows() lays them. */
INLINE void scaled_pack(const vf_levels *levels, uint32_t block_bytes, const float_job *job,
                        uint32_t row, uint32_t n_rows, float *packed)
{
    const uint32_t n_columns = job->w->n_columns;
    for (uint32_t r = 0; r < n_rows || r % FLOAT_ROWS != 0; r++) {
        float *to =
            packed + (size_t)(r / FLOAT_ROWS * FLOAT_ROWS) * n_columns + r % FLOAT_ROWS * 16;
        const uint8_t *block = job->w->data + (row + r) * job->row_bytes;
        for (uint32_t column = 0; column < n_columns; column += RAD_SCALED_BLOCK) {
            vf_part weights[SCALED_VECTORS];
            UNROLL for (int i = 0; i < SCALED_VECTORS; i++) weights[i] = vf_part_zero();
            if (r < n_rows)
                widen_block(levels, block, weights);
            UNROLL for (int i = 0; i < SCALED_VECTORS; i++) vf_part_store(
                to + i / VF_PARTS * FLOAT_ROWS * 16 + i % VF_PARTS * VF_PART_LANES, weights[i]);
            to += RAD_SCALED_BLOCK * FLOAT_ROWS;
            block += block_bytes;
        }
    }
}

static NOT_INLINE void levels_one_token(const float *levels, const float_job *job,
                                        uint32_t first_row, uint32_t last_row, uint32_t token)
{
    const vf_levels table = vf_levels_load(levels);
    scaled_one_token(&table, 36, job, first_row, last_row, token);
}

static NOT_INLINE void fp8_one_token(const float_job *job, uint32_t first_row, uint32_t last_row,
                                     uint32_t token)
{
    scaled_one_token(NULL, 68, job, first_row, last_row, token);
}

static NOT_INLINE void levels_pack(const float *levels, const float_job *job, uint32_t row,
                                   uint32_t n_rows, float *packed)
{
    const vf_levels table = vf_levels_load(levels);
    scaled_pack(&table, 36, job, row, n_rows, packed);
}

static NOT_INLINE void fp8_pack(const float_job *job, uint32_t row, uint32_t n_rows, float *packed)
{
    scaled_pack(NULL, 68, job, row, n_rows, packed);
}

static void product_scaled(const rad_matrix *w, const rad_type_info *info, const rad_activations *x,
                           uint32_t first_row, uint32_t last_row, uint32_t first_token,
                           uint32_t last_token, float *y, size_t y_stride, float *scratch)
{
    const size_t row_bytes = w->n_columns / RAD_SCALED_BLOCK * (size_t)info->block_bytes;
    const float_job job = {w, x, row_bytes, y, y_stride};
    const float *levels = w->type == RAD_TYPE_NF4   ? rad_levels_nf4
                          : w->type == RAD_TYPE_FP4 ? rad_levels_fp4
                                                    : NULL;
    if (last_token - first_token == 1) {
        if (levels != NULL)
            levels_one_token(levels, &job, first_row, last_row, first_token);
        else
            fp8_one_token(&job, first_row, last_row, first_token);
        return;
    }
    uint32_t block = block_rows(w->n_columns);
    float *sums = scratch + (size_t)block * w->n_columns;
    memset(sums, 0, sizeof(float) * FLOAT_GROUP * FLOAT_BLOCK * 16);
    for (uint32_t row = first_row; row < last_row; row += block) {
        uint32_t n_rows = last_row - row < block ? last_row - row : block;
        if (levels != NULL)
            levels_pack(levels, &job, row, n_rows, scratch);
        else
            fp8_pack(&job, row, n_rows, scratch);
        for (uint32_t token = first_token; token < last_token; token += FLOAT_GROUP)
            multiply_block(&job, row, n_rows, token, last_token, (const uint8_t *)scratch, sums);
    }
}

#endif

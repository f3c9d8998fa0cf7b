/* Panels of rows in the file that cannot be packed into lanes as they are: each block is taken
 * apart by the format's own function (quant/), and 16 rows of bytes are transposed into a panel. So
 * every format gets the fast product for many tokens. */
#ifndef RAD_X86_UNPACKED_PANELS_H
#define RAD_X86_UNPACKED_PANELS_H

#include "kernels/cpu/x86/affine.h"
#include "kernels/cpu/x86/blocks.h"
#include "kernels/cpu/x86/supers.h"
#include "kernels/cpu/x86/whole.h"

typedef union panel {
    block_panel blocks;
    block_16_panel blocks_16;
    super_panel super;
    whole_panel whole;
    affine_panel affine;
} panel;

/* 16 rows of file blocks: where they are, and what they are. */
typedef struct file_rows {
    const rad_type_info *info;
    const uint8_t *data; /* the first row's block */
    size_t row_bytes;
    uint32_t n_rows;
    uint32_t n_blocks;
    int offset; /* that makes the quants unsigned */
} file_rows;

static void put_super_scales(const rad_type_info *info, const rad_block *block, int offset,
                             uint32_t row, super_scales *out)
{
    const int n = info->family == RAD_FAMILY_SUPER_16 ? 16 : 8;
    for (int j = 0; j < n; j++) {
        int scale = block->sub_scales[j];
        int factor = info->has_minimum ? block->sub_minima[j] : -offset * scale;
        int16_t pair[2] = {(int16_t)scale, (int16_t)scale}, word = (int16_t)factor;
        int32_t wide = scale;
        memcpy(out->scale[j] + 4 * row, WIDE_DOT ? (const void *)&wide : pair, 4);
        memcpy(out->minimum[j / 2] + 4 * row + 2 * (j % 2), &word, 2);
    }
    out->d[row] = block->scale;
    out->dmin[row] = block->minimum;
}

/* Scales of block b of a row. */
static void put_scales(const file_rows *rows, const rad_block *block, uint32_t row, uint32_t b,
                       panel *out)
{
    const uint32_t n = rows->info->block_elements;
    switch (rows->info->family) {
    case RAD_FAMILY_BLOCK:
        for (uint32_t i = b * n / 32; i < (b + 1) * n / 32; i++) {
            out->blocks.scale[i][row] = block->scale;
            if (rows->info->has_minimum)
                out->blocks.minimum[i][row] = block->minimum;
        }
        break;
    case RAD_FAMILY_BLOCK_16:
        for (uint32_t i = 0; i < n / 16; i++)
            out->blocks_16.scale[b * n / 16 + i][row] = block->scales_16[i];
        break;
    case RAD_FAMILY_TERNARY:
    case RAD_FAMILY_ROW:
        out->whole.d[row] = block->scale;
        break;
    default:
        put_super_scales(rows->info, block, rows->offset, row, &out->super.scales);
        break;
    }
}

static void put_negative(const file_rows *rows, uint32_t n_columns, panel *out)
{
    if (rows->info->family == RAD_FAMILY_SUPER_32)
        put_super_negative(&out->super);
    else
        for (uint32_t b = 0; b < n_columns / 32; b++)
            vi_store(out->blocks.negative[b], negative_sum(out->blocks.quants[b]));
}

/* `bytes` is room for 16 rows of 256 quants. */
static void unpack_rows(const file_rows *rows, uint8_t *bytes, bool is_signed, panel *out)
{
    const uint32_t n = rows->info->block_elements, n_columns = rows->n_blocks * n;
    uint8_t *quants = out->blocks.quants[0]; /* the same place in every family */
    if (rows->n_rows < RAD_LANE_ROWS) {
        memset(bytes, 0, RAD_LANE_ROWS * CHUNK_COLUMNS);
        memset(out, 0, sizeof(*out));
    }
    for (uint32_t row = 0; row < rows->n_rows; row++)
        for (uint32_t b = 0; b < rows->n_blocks; b++) {
            rad_block block;
            rows->info->unpack(rows->data + row * rows->row_bytes + b * rows->info->block_bytes,
                               &block);
            memcpy(bytes + row * CHUNK_COLUMNS + b * n, block.quants, n);
            put_scales(rows, &block, row, b, out);
        }
    for (uint32_t column = 0; column < n_columns; column += 16)
        vi_transpose_words(bytes + column, CHUNK_COLUMNS, quants + column * RAD_LANE_ROWS);
    for (uint32_t column = 0; column < n_columns && rows->offset != 0; column += 4) {
        uint8_t *group = quants + column * RAD_LANE_ROWS;
        vi_store(group, vi_add8(vi_load(group), vi_set8(rows->offset)));
    }
    if (is_signed)
        put_negative(rows, n_columns, out);
}

#endif

/* Rows in the file's layout to lanes, a chunk of columns at a time. */
#ifndef RAD_X86_PACK_H
#define RAD_X86_PACK_H

#include "kernels/cpu/lane.h"

/* One word of each of 16 rows. */
static void pack_halves(const uint8_t *rows, size_t row_stride, uint8_t *out)
{
    UNROLL for (size_t row = 0; row < RAD_LANE_ROWS; row++)
        memcpy(out + 2 * row, rows + row * row_stride, 2);
}

static void pack_bytes(const uint8_t *rows, size_t row_stride, uint8_t *out)
{
    UNROLL for (size_t row = 0; row < RAD_LANE_ROWS; row++) out[row] = rows[row * row_stride];
}

static void pack_words(const uint8_t *rows, size_t row_stride, uint8_t *out)
{
    UNROLL for (size_t row = 0; row < RAD_LANE_ROWS; row++)
        memcpy(out + 4 * row, rows + row * row_stride, 4);
}

static void pack_changed(rad_lane_change change, const uint8_t *rows, size_t row_stride,
                         uint8_t *out)
{
    uint32_t words[RAD_LANE_ROWS];
    pack_words(rows, row_stride, (uint8_t *)words);
    for (size_t row = 0; row < RAD_LANE_ROWS; row++)
        words[row] = rad_word_to_lane(change, words[row]);
    memcpy(out, words, sizeof(words));
}

/* One block of each of 16 rows; the same permutation as rad_lane_put_blocks(). */
static void pack_full_block(const rad_lane_field *fields, const uint8_t *rows, size_t row_stride,
                            uint8_t *out)
{
    for (; fields->n_words != 0; fields++) {
        const uint8_t *from = rows + fields->offset;
        if (fields->word_bytes == 1) {
            pack_bytes(from, row_stride, out);
        } else if (fields->word_bytes == 2) {
            pack_halves(from, row_stride, out);
        } else if (fields->change != RAD_LANE_PLAIN) {
            for (uint32_t word = 0; word < fields->n_words; word++)
                pack_changed((rad_lane_change)fields->change, from + word * 4, row_stride,
                             out + word * 64);
        } else {
            uint32_t word = 0;
            for (; word + 4 <= fields->n_words; word += 4)
                vi_transpose_words(from + word * 4, row_stride, out + word * 64);
            for (; word < fields->n_words; word++)
                pack_words(from + word * 4, row_stride, out + word * 64);
        }
        out += (size_t)fields->word_bytes * RAD_LANE_ROWS * fields->n_words;
    }
}

/* rad_pack_lane_group(): whole groups whose blocks are packed as they stand in the file here. */
static void pack_lane_group(rad_type type, uint32_t n_columns, const uint8_t *rows, uint32_t n_rows,
                            uint8_t *group)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const rad_lane_form *form = rad_lane_form_of(type);
    if (info == NULL || form == NULL || form->is_recoded || n_rows < RAD_LANE_ROWS) {
        rad_pack_lane_group(type, n_columns, rows, n_rows, group);
        return;
    }
    const uint32_t n_blocks = n_columns / info->block_elements;
    for (uint32_t b = 0; b < n_blocks; b++)
        pack_full_block(form->fields, rows + (size_t)b * info->block_bytes,
                        (size_t)n_blocks * info->block_bytes,
                        group + (size_t)b * form->block_bytes * RAD_LANE_ROWS);
}

#endif

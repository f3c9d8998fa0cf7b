/* What the library decodes a tensor to, by its own interfaces. */
#ifndef RAD_TEST_DECODED_H
#define RAD_TEST_DECODED_H

#include <stdlib.h>

#include "io/model_source.h"
#include "quant/quant.h"
#include "unit/harness.h"

/* Rows first .. first + n - 1, in the matrix's own order of columns; by malloc. */
static inline float *rad_test_decoded(const rad_source *source, const rad_tensor *tensor,
                                      uint64_t first, uint64_t n)
{
    const rad_type_info *info = rad_type_find((uint32_t)tensor->type);
    uint32_t stored;
    const uint32_t *columns = rad_tensor_columns(tensor, &stored);
    const size_t row_bytes = stored / info->block_elements * info->block_bytes;
    const size_t width = (size_t)tensor->dims[0];
    uint8_t *rows = malloc((size_t)n * row_bytes);
    float *row = malloc(stored * sizeof *row), *values = malloc((size_t)n * width * sizeof *values);
    radllm_error error = {.status = RADLLM_OK};
    rad_assert_ok(rad_source_read_tensor(source, tensor, first * row_bytes, rows,
                                         (size_t)n * row_bytes, &error),
                  &error);
    for (size_t r = 0; r < n; r++) {
        info->decode(rows + r * row_bytes, row, stored);
        for (uint32_t c = 0; c < stored; c++)
            row[c] *= rad_tensor_scale(tensor);
        for (uint32_t c = 0; c < stored; c++) {
            uint32_t column = columns != NULL ? columns[c] : c;
            if (column != RAD_NO_COLUMN)
                values[r * width + column] = row[c];
        }
    }
    free(rows);
    free(row);
    return values;
}

#endif

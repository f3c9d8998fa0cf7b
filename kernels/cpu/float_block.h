/* How F32, F16 and BF16 weights stand in lanes, and sizes that the float products and their scratch
 * memory share.
 *
 * A lane is one of the sixteen partial sums here, not a row: a group of 16 rows holds, for each 16
 * columns in turn, those of its rows one behind the other. Only rows of a multiple of 16 columns.
 */
#ifndef RAD_FLOAT_BLOCK_H
#define RAD_FLOAT_BLOCK_H

#include <stddef.h>
#include <stdint.h>

enum {
    RAD_FLOAT_LANES = 16,
    RAD_FLOAT_LANE_ROWS = 16,
    RAD_FLOAT_BLOCK_ROWS = 64,          /* at most, of a block of packed rows */
    RAD_FLOAT_BLOCK_FLOATS = 128 << 10, /* of such a block where four rows take no more */
    RAD_FLOAT_TILE_TOKENS = 6           /* at most */
};

/* Where column `column` of a row, a multiple of 16, and the 15 behind it stand: numbers from the
 * beginning of the matrix. */
static inline size_t rad_float_lane_index(uint32_t row, uint32_t column, uint32_t n_columns)
{
    return (size_t)(row / RAD_FLOAT_LANE_ROWS * RAD_FLOAT_LANE_ROWS) * n_columns +
           (size_t)column * RAD_FLOAT_LANE_ROWS + row % RAD_FLOAT_LANE_ROWS * RAD_FLOAT_LANES;
}

/* Rows that are packed together, a multiple of 4: they stay in the second-level cache while all
 * tokens pass. */
static inline uint32_t rad_float_block_rows(uint32_t n_columns)
{
    uint32_t rows = RAD_FLOAT_BLOCK_FLOATS / (n_columns > 0 ? n_columns : 1) / 4 * 4;
    return rows < 4 ? 4 : rows > RAD_FLOAT_BLOCK_ROWS ? RAD_FLOAT_BLOCK_ROWS : rows;
}

/* A block of rows, then sixteen partial sums for each output of a tile of tokens. */
static inline size_t rad_float_scratch_bytes(uint32_t n_columns)
{
    size_t sums = (size_t)RAD_FLOAT_TILE_TOKENS * RAD_FLOAT_BLOCK_ROWS * 16;
    return ((size_t)rad_float_block_rows(n_columns) * n_columns + sums) * sizeof(float);
}

#endif

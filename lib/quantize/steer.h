/* Encoding that leads errors away from the direction in which a matrix's inputs lie most: their
 * mean. Rounding errors of a row times the mean add up to a shift of its product that is the same
 * for every token; what one block leaves of it, the next ones take back. */
#ifndef RAD_STEER_H
#define RAD_STEER_H

#include "quant/quant.h"

/* A column of a matrix, in units of the root of the columns' mean square. */
typedef struct rad_column {
    float mean;
    float spread; /* mean square around the mean */
    float pull;   /* mean / spread: how much it is moved to make up for a shift */
    float left;   /* sum of mean * pull from this column to the last */
} rad_column;

/* Of n columns whose squares and values add up to so much in so many rows. Nothing is too hostile:
 * means are held to what the squares allow. */
void rad_columns_take(const double *squares, const double *totals, uint64_t count, uint64_t n,
                      rad_column *out);

/* Whether a type has blocks that stand for themselves and round. */
bool rad_is_steered(const rad_type_info *to);

/* n values of one row as blocks, columns[i] being that of values[i]. */
void rad_encode_steered(const rad_type_info *to, const float *values, const float *importance,
                        const rad_column *columns, size_t n, uint8_t *out);

#endif

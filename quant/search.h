/* Inside quant/: searches for the scales and minima that leave the least weighted squared error.
 * Everything is plain float arithmetic in a fixed order, so that a file is the same bytes on every
 * machine; the result decides how good a quantized file is, never whether it is valid. */
#ifndef RAD_QUANT_SEARCH_H
#define RAD_QUANT_SEARCH_H

#include "quant/formats.h"
#include "quant/lanes.h"

/* The numbers of a block, divided by a power of two so that the largest lies in 1..2 and no sum
 * overflows; zeros where they are too small for any scale in half precision. */
typedef struct rad_numbers {
    float x[RAD_SUPER_BLOCK];
    float w[RAD_SUPER_BLOCK]; /* weights of the errors' squares, the largest in 1..2 */
    float unit;
    bool weighted; /* by an importance that says anything */
    const rad_lanes *lanes;
} rad_numbers;

/* Numbers that are not finite count as zero. importance: of the columns; NULL: all alike. */
void rad_numbers_take(const float *values, const float *importance, uint32_t n, rad_numbers *out);

/* The half-precision number nearest to value * unit, held to what is finite. */
uint16_t rad_half_in_units(float value, float unit);

/* The scale s, of either sign, that makes s * q nearest to x with q on the grid, whose lower end
 * reaches as far as the upper one or further; 0 where x is all zero. quick, rounds, reached: as
 * rad_lanes.scale has them. */
float rad_search_scale(const rad_lanes *lanes, const float *x, const float *w, uint32_t n,
                       const rad_grid *grid, bool quick, int rounds, float *reached);
/* The same for a whole block. */
rad_factor rad_search_factor(const rad_numbers *numbers, uint32_t n, const rad_grid *grid,
                             bool quick);
/* The same for -1, 0 and 1; never negative. */
rad_factor rad_search_ternary_factor(const rad_numbers *numbers, uint32_t n);

/* A whole block of n numbers: the scale as a half, and the quants. */
void rad_encode_scaled(const float *values, const float *importance, uint32_t n, float low,
                       float high, uint8_t half[2], int8_t *quants);
/* The same: the scale and the minimum as halves, and the quants. */
void rad_encode_affine(const float *values, const float *importance, uint32_t n, float high,
                       uint8_t halves[4], int8_t *quants);

/* Numbers 0 to 31 of a block of 32 as Q5_0 and Q5_1 have them: a word with the fifth bits, then the
 * other four of element j in the low half of byte j, of element j + 16 in the high one. */
void rad_pack_fives(const uint8_t numbers[32], uint8_t packed[20]);

extern const rad_grid rad_grid_iq4;  /* iq4_nl.c */
extern const rad_grid rad_grid_e2m1; /* mxfp4.c; doubled to be integers */
/* The codes of the E2M1 numbers nearest to n of the numbers (a multiple of 16) times inverse. */
void rad_codes_e2m1(const rad_numbers *numbers, uint32_t first, uint32_t n, float inverse,
                    int8_t *codes);

/* ---- super-blocks (super.c) --------------------------------------------------------------------
 */

/* How 256 numbers are cut and what their sub-scales can be. */
typedef struct rad_super_shape {
    uint32_t sub_block;      /* 16 or 32 numbers */
    float sub_low, sub_high; /* of sub-scales; of sub-minima 0 to sub_high */
    rad_grid grid;           /* of quants */
    uint32_t n_starts;       /* how many factors to begin with, at most 3 */
} rad_super_shape;

typedef struct rad_super_fit {
    uint16_t half_scale, half_minimum; /* as they are stored, with the gain */
    float scale, minimum;              /* that quants are chosen with, in units of the numbers */
    int sub_scales[16], sub_minima[16];
} rad_super_fit;

/* weight = scale * sub_scale * q */
void rad_fit_super_scales(const rad_numbers *numbers, const rad_super_shape *shape,
                          rad_super_fit *fit);
/* weight = scale * sub_scale * q - minimum * sub_minimum, minimum >= 0 */
void rad_fit_super_affine(const rad_numbers *numbers, const rad_super_shape *shape,
                          rad_super_fit *fit);

#endif

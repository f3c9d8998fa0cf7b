/* How blocks of the affine formats are written (affine.c), for those who put them together. */
#ifndef RAD_AFFINE_H
#define RAD_AFFINE_H

#include "quant/quant.h"

/* bits: 2, 3, 4, 5, 6, 8; elements: 32 or 128. */
rad_type rad_affine_type(int bits, uint32_t elements);

/* Where some bits of a column's quant stand in its block: (quant >> from & mask) << shift in this
 * byte. */
typedef struct rad_affine_place {
    uint32_t byte, shift, from, mask;
} rad_affine_place;

/* Returns how many there are. Quants of 8 bits are written less 128. */
uint32_t rad_affine_places(int bits, uint32_t column, rad_affine_place places[2]);

/* The word that a block begins with; false where the scale has more bits than it holds. */
bool rad_affine_word(float scale, uint32_t zero, uint8_t word[4]);

#endif

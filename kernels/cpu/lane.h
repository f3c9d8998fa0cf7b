/* The lane layout: 16 rows interleaved so that a vector lane is a row and no product adds across
 * lanes. A lane group holds, for each block in increasing column order, the 16 rows' blocks as a
 * permutation of their bits: field by field, each field cut into words of 1, 2 or 4 bytes, and word
 * w of row r at (w * 16 + r) * word_bytes. Scales come first, whatever the file's order. The fifth
 * bits of Q5_0 and Q5_1 are also transposed within their 32-bit word: bit 4g + i goes to bit 8i +
 * g, so that column 4g + i of the block finds its bit in byte i, the byte of its quant. So a group
 * has exactly the bytes of its 16 rows. */
#ifndef RAD_LANE_H
#define RAD_LANE_H

#include <string.h>

#include "kernels/kernels.h"

typedef struct rad_lane_field {
    uint16_t offset;    /* in the file's block */
    uint8_t word_bytes; /* 1, 2 or 4; of the short ones a field has a single word */
    uint8_t n_words;    /* 0 ends the list */
    bool fifth_bits;
} rad_lane_field;

#define RAD_LANE_FIELDS 5

/* Scratch of a quantized product, whatever the instruction set. */
#define RAD_PRODUCT_SCRATCH (208 * 1024)

/* NULL for a type without a lane layout. */
const rad_lane_field *rad_lane_fields(rad_type type);

/* Copies one row's block out of a lane group's block, back in the order of the file. */
void rad_lane_take_block(rad_type type, const uint8_t *group_block, uint32_t row, uint8_t *block);

/* Packs one block of each of n_rows rows, row_stride bytes apart, into a lane group's block. */
void rad_lane_put_blocks(const rad_lane_field *fields, const uint8_t *rows, size_t row_stride,
                         uint32_t n_rows, uint8_t *group_block);

/* Moves bit 4g + i (g 0..7, i 0..3) to bit 8i + g: rotates the five-bit index by two places, as
 * four exchanges of index bits. */
static inline uint32_t rad_fifth_bits_to_lane(uint32_t x)
{
    uint32_t t;
    t = (x ^ (x >> 1)) & 0x22222222u; /* exchanges index bits 0 and 1 */
    x ^= t ^ (t << 1);
    t = (x ^ (x >> 3)) & 0x0a0a0a0au; /* 0 and 2 */
    x ^= t ^ (t << 3);
    t = (x ^ (x >> 6)) & 0x00cc00ccu; /* 1 and 3 */
    x ^= t ^ (t << 6);
    t = (x ^ (x >> 12)) & 0x0000f0f0u; /* 2 and 4 */
    return x ^ t ^ (t << 12);
}

/* The inverse: the same exchanges backwards. */
static inline uint32_t rad_fifth_bits_to_file(uint32_t x)
{
    uint32_t t;
    t = (x ^ (x >> 12)) & 0x0000f0f0u;
    x ^= t ^ (t << 12);
    t = (x ^ (x >> 6)) & 0x00cc00ccu;
    x ^= t ^ (t << 6);
    t = (x ^ (x >> 3)) & 0x0a0a0a0au;
    x ^= t ^ (t << 3);
    t = (x ^ (x >> 1)) & 0x22222222u;
    return x ^ t ^ (t << 1);
}

#endif

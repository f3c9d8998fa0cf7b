/* The lane layout: 16 rows interleaved so that a vector lane is a row and no product adds across
 * lanes. A lane group holds, for each block in increasing column order, the 16 rows' blocks as a
 * permutation of their bits: field by field, each field cut into words of 1, 2 or 4 bytes, and word
 * w of row r at (w * 16 + r) * word_bytes. Scales come first, whatever the file's order. The bits
 * of some words are also transposed, so that column 4g + i finds its bits in byte i, the byte of
 * its quant. So a group has exactly the bytes of its 16 rows.
 *
 * The codebook formats and TQ1_0 are written with codes of fixed width first (quant/codes.h); their
 * lane groups are larger than their rows in the file, by 22 to 55 %.
 *
 * F32, F16 and BF16 have no blocks and a layout of their own (float_block.h). */
#ifndef RAD_LANE_H
#define RAD_LANE_H

#include <string.h>

#include "kernels/kernels.h"

/* What is done to the 32-bit words of a field. */
typedef enum rad_lane_change {
    RAD_LANE_PLAIN,
    RAD_LANE_BITS,  /* single bits: 4g + i goes to 8i + g */
    RAD_LANE_PAIRS, /* pairs of bits: pair 4g + i goes to pair 4i + g */
    RAD_LANE_SCALES /* scales of NVFP4: the code 0x7f, which is zero as well, becomes 0 */
} rad_lane_change;

typedef struct rad_lane_field {
    uint16_t offset;    /* in the block of a row */
    uint8_t word_bytes; /* 1, 2 or 4; of the short ones a field has a single word */
    uint8_t n_words;    /* 0 ends the list */
    uint8_t change;     /* rad_lane_change */
} rad_lane_field;

#define RAD_LANE_FIELDS 5

/* How the blocks of a type stand in lanes. */
typedef struct rad_lane_form {
    const rad_lane_field *fields;
    uint32_t block_bytes; /* of a row's block before it is interleaved */
    bool is_recoded;      /* that block is not the file's but one of quant/codes.h */
} rad_lane_form;

/* Scratch of a quantized product, whatever the instruction set. */
#define RAD_PRODUCT_SCRATCH (208 * 1024)

/* NULL for a type without a lane layout. */
const rad_lane_form *rad_lane_form_of(rad_type type);

/* Takes one row's block of a lane group's block apart. */
void rad_lane_unpack_block(rad_type type, const uint8_t *group_block, uint32_t row, rad_block *out);

/* Packs one block of each of n_rows rows, row_stride bytes apart, into a lane group's block. */
void rad_lane_put_blocks(const rad_lane_field *fields, const uint8_t *rows, size_t row_stride,
                         uint32_t n_rows, uint8_t *group_block);

/* RAD_LANE_PAIRS, its own inverse: exchanges bits 1 and 3 of the five-bit index, then 2 and 4. */
static inline uint32_t rad_transpose_pairs(uint32_t x)
{
    uint32_t t;
    t = (x ^ (x >> 6)) & 0x00cc00ccu;
    x ^= t ^ (t << 6);
    t = (x ^ (x >> 12)) & 0x0000f0f0u;
    return x ^ t ^ (t << 12);
}

/* Moves bit 4g + i (g 0..7, i 0..3) to bit 8i + g: rotates the five-bit index by two places, as
 * four exchanges of index bits. */
static inline uint32_t rad_fifth_bits_to_lane(uint32_t x)
{
    uint32_t t;
    t = (x ^ (x >> 1)) & 0x22222222u; /* exchanges index bits 0 and 1 */
    x ^= t ^ (t << 1);
    t = (x ^ (x >> 3)) & 0x0a0a0a0au; /* 0 and 2 */
    x ^= t ^ (t << 3);
    return rad_transpose_pairs(x);
}

/* The inverse: the same exchanges backwards. */
static inline uint32_t rad_fifth_bits_to_file(uint32_t x)
{
    uint32_t t;
    x = rad_transpose_pairs(x); /* its steps change places freely */
    t = (x ^ (x >> 3)) & 0x0a0a0a0au;
    x ^= t ^ (t << 3);
    t = (x ^ (x >> 1)) & 0x22222222u;
    return x ^ t ^ (t << 1);
}

/* Bytes of 0x7f become 0. */
static inline uint32_t rad_clear_7f(uint32_t x)
{
    uint32_t y = x ^ 0x7f7f7f7fu;
    uint32_t zeros = ~(((y & 0x7f7f7f7fu) + 0x7f7f7f7fu) | y) & 0x80808080u;
    return x & ~((zeros >> 7) * 255u);
}

static inline uint32_t rad_word_to_lane(rad_lane_change change, uint32_t word)
{
    switch (change) {
    case RAD_LANE_BITS:
        return rad_fifth_bits_to_lane(word);
    case RAD_LANE_PAIRS:
        return rad_transpose_pairs(word);
    case RAD_LANE_SCALES:
        return rad_clear_7f(word);
    default:
        return word;
    }
}

#endif

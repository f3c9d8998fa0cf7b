/* Blocks of the codebook formats and of TQ1_0, written once more with a code of fixed width for
 * each weight in place of numbers of entries and digits: for copies in memory, which are multiplied
 * without looking anything up in a codebook. The weights and their scales stay what they are.
 *
 * All begin with f16 d, which the type's factor turns into the scale; sub-scales are 2 s + 1 with s
 * in nibbles, lowest first. The low two bits of 64 columns are in 16 bytes: column 16 q + b in byte
 * b at bit 2 q. What a code stands for says rad_code_form.
 *
 * IQ3_XXS, IQ3_S: 8 s, then 4-bit codes, of 32 columns in 16 bytes: column 16 q + b in byte b at
 *     bit 4 q.
 * IQ2_XS, IQ2_S: 16 s (IQ2_XXS: 8), third bits, of 64 columns in 8 bytes: column 8 q + b in byte b
 *     at bit q; low bits.
 * IQ1_M: 16 s, 32 bits that are the third bits of 8 columns each, low bits.
 * IQ1_S: 8 s in three bits each, above which stands the third bit of 32 columns; low bits.
 * TQ1_0: a block of TQ2_0. */
#ifndef RAD_QUANT_CODES_H
#define RAD_QUANT_CODES_H

#include "quant/quant.h"

enum {
    RAD_CODES_SCALES = 2, /* offsets in bytes */
    RAD_IQ3_CODES = 6,
    RAD_IQ2_THIRD = 10,
    RAD_IQ2_XXS_THIRD = 6,
    RAD_IQ1_M_THIRD = 10,
    RAD_IQ3_CODES_BYTES = RAD_IQ3_CODES + 128, /* sizes of blocks */
    RAD_IQ2_CODES_BYTES = RAD_IQ2_THIRD + 32 + 64,
    RAD_IQ2_XXS_CODES_BYTES = RAD_IQ2_XXS_THIRD + 32 + 64,
    RAD_IQ1_M_CODES_BYTES = RAD_IQ1_M_THIRD + 4 + 64,
    RAD_IQ1_S_CODES_BYTES = 6 + 64,
    RAD_TQ1_0_CODES_BYTES = 66
};

/* What the codes of a type stand for. */
typedef struct rad_code_form {
    float factor; /* scale = factor * d, exactly */
    int8_t levels[16];
} rad_code_form;

/* NULL for the types that are not written anew (and TQ1_0). */
const rad_code_form *rad_code_form_find(rad_type type);

/* Writes a block that the type's unpack function took apart, and takes such a block apart. */
void rad_codes_write(rad_type type, const rad_block *block, uint8_t *codes);
void rad_codes_unpack(rad_type type, const uint8_t *codes, rad_block *out);

#endif

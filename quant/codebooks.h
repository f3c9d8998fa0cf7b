/* Inside quant/: the codebooks of the formats IQ1, IQ2 and IQ3, and how their entries come apart.
 * Such a format stores, for each run of eight or four weights, the number of an entry. */
#ifndef RAD_QUANT_CODEBOOKS_H
#define RAD_QUANT_CODEBOOKS_H

#include "quant/formats.h"

/* An entry is the levels of 8 values, 2 bits each, or of 4 values, 4 bits each. */
extern const uint16_t rad_codebook_iq2_xxs[256];
extern const uint16_t rad_codebook_iq2_xs[512];
extern const uint16_t rad_codebook_iq2_s[1024];
extern const uint16_t rad_codebook_iq3_xxs[256];
extern const uint16_t rad_codebook_iq3_s[512];
extern const uint16_t rad_codebook_iq1[2048]; /* IQ1_S and IQ1_M */

/* Eight weights of an IQ2 format: levels 8, 25, 43; bit i of `signs` makes weight i negative. */
void rad_take_iq2(uint16_t entry, uint8_t signs, int8_t quants[8]);
/* Four weights of an IQ3 format: levels 4, 12, 20, 28, 36, 44, 52, 62, or 1, 3, 5, ... 15; bits
 * 0..3 of `signs`. */
void rad_take_iq3_xxs(uint16_t entry, uint8_t signs, int8_t quants[4]);
void rad_take_iq3_s(uint16_t entry, uint8_t signs, int8_t quants[4]);
/* Eight weights of an IQ1 format, in eighths: -8, 0 or 8, moved by 1 or -1. */
void rad_take_iq1(uint16_t entry, bool down, int8_t quants[8]);

/* Seven stored sign bits; the eighth makes their number even. */
static inline uint8_t rad_even_signs(uint32_t seven)
{
    uint32_t parity = seven ^ seven >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return (uint8_t)(seven | (parity & 1) << 7);
}

#endif

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

/* Seven stored sign bits; the eighth makes their number even. */
static inline uint8_t rad_even_signs(uint32_t seven)
{
    uint32_t parity = seven ^ seven >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return (uint8_t)(seven | (parity & 1) << 7);
}

/* ---- taking entries apart: eight bytes at once in one integer ----------------------------------
 */

/* Byte i is value i on the little-endian machines that the library builds for; no step carries from
 * byte to byte. These are inline since whole models pass through them when they are copied. */
#define RAD_EACH(byte) (0x0101010101010101u * (uint64_t)(byte))

/* Two bits each to a byte each. */
static inline uint64_t rad_spread_pairs(uint16_t entry)
{
    uint64_t x = entry;
    x = (x | x << 24) & 0x000000ff000000ffu;
    x = (x | x << 12) & 0x000f000f000f000fu;
    return (x | x << 6) & RAD_EACH(3);
}

static inline uint64_t rad_spread_nibbles(uint32_t entries)
{
    uint64_t x = entries;
    x = (x | x << 16) & 0x0000ffff0000ffffu;
    x = (x | x << 8) & 0x00ff00ff00ff00ffu;
    return (x | x << 4) & RAD_EACH(15);
}

/* Byte i is 1 where bit i of signs is set. */
static inline uint64_t rad_spread_signs(uint8_t signs)
{
    uint64_t bits = RAD_EACH(signs) & 0x8040201008040201u;
    return (bits + RAD_EACH(0x7f)) >> 7 & RAD_EACH(1);
}

static inline void rad_put_signed(uint64_t values, uint8_t signs, int8_t quants[8])
{
    uint64_t negative = rad_spread_signs(signs);
    values = (values ^ negative * 255) + negative;
    memcpy(quants, &values, 8);
}

/* Eight weights of an IQ2 format: levels 8, 25, 43; bit i of `signs` makes weight i negative. */
static inline void rad_take_iq2(uint16_t entry, uint8_t signs, int8_t quants[8])
{
    uint64_t level = rad_spread_pairs(entry);
    rad_put_signed(RAD_EACH(8) + level * 17 + (level >> 1 & RAD_EACH(1)), signs, quants);
}

/* Eight weights of an IQ3 format, of two entries: levels 4, 12, 20, 28, 36, 44, 52, 62, or 1, 3, 5,
 * ... 15. */
static inline void rad_take_iq3_xxs(uint16_t first, uint16_t second, uint8_t signs,
                                    int8_t quants[8])
{
    uint64_t level = rad_spread_nibbles(first | (uint32_t)second << 16);
    uint64_t last = level & level >> 1 & level >> 2 & RAD_EACH(1);
    rad_put_signed(RAD_EACH(4) + level * 8 + last * 2, signs, quants);
}

static inline void rad_take_iq3_s(uint16_t first, uint16_t second, uint8_t signs, int8_t quants[8])
{
    uint64_t level = rad_spread_nibbles(first | (uint32_t)second << 16);
    rad_put_signed(RAD_EACH(1) + level * 2, signs, quants);
}

/* Eight weights of an IQ1 format, in eighths: -8, 0 or 8, moved by 1 or -1. */
static inline void rad_take_iq1(uint16_t entry, bool down, int8_t quants[8])
{
    /* 8 * level - 8 +- 1, with 128 added while it may be negative. */
    uint64_t values = rad_spread_pairs(entry) * 8 + RAD_EACH(down ? 128 - 9 : 128 - 7);
    values ^= RAD_EACH(128);
    memcpy(quants, &values, 8);
}

#endif

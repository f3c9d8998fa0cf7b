/* Taking entries of the codebooks apart: eight (four) bytes at once in one integer. Byte i is value
 * i on the little-endian machines that the library builds for; no step carries from byte to byte.
 */
#include "quant/codebooks.h"

#define EACH_8(byte) (0x0101010101010101u * (uint64_t)(byte))
#define EACH_4(byte) (0x01010101u * (uint32_t)(byte))

/* Two bits each to a byte each. */
static uint64_t spread_pairs(uint16_t entry)
{
    uint64_t x = entry;
    x = (x | x << 24) & 0x000000ff000000ffu;
    x = (x | x << 12) & 0x000f000f000f000fu;
    return (x | x << 6) & EACH_8(3);
}

static uint32_t spread_nibbles(uint16_t entry)
{
    uint32_t x = entry;
    x = (x | x << 8) & 0x00ff00ffu;
    return (x | x << 4) & EACH_4(15);
}

/* Byte i is 1 where bit i of signs is set. */
static uint64_t spread_signs(uint8_t signs)
{
    uint64_t bits = EACH_8(signs) & 0x8040201008040201u;
    return (bits + EACH_8(0x7f)) >> 7 & EACH_8(1);
}

void rad_take_iq2(uint16_t entry, uint8_t signs, int8_t quants[8])
{
    uint64_t level = spread_pairs(entry), negative = spread_signs(signs);
    /* 0, 1, 2 to 8, 25, 43 */
    uint64_t values = EACH_8(8) + level * 17 + (level >> 1 & EACH_8(1));
    values = (values ^ negative * 255) + negative;
    memcpy(quants, &values, 8);
}

static void put_iq3(uint32_t values, uint8_t signs, int8_t quants[4])
{
    uint32_t negative = (uint32_t)spread_signs(signs & 15);
    values = (values ^ negative * 255) + negative;
    memcpy(quants, &values, 4);
}

void rad_take_iq3_xxs(uint16_t entry, uint8_t signs, int8_t quants[4])
{
    uint32_t level = spread_nibbles(entry);
    uint32_t last = level & level >> 1 & level >> 2 & EACH_4(1);
    put_iq3(EACH_4(4) + level * 8 + last * 2, signs, quants);
}

void rad_take_iq3_s(uint16_t entry, uint8_t signs, int8_t quants[4])
{
    put_iq3(EACH_4(1) + spread_nibbles(entry) * 2, signs, quants);
}

void rad_take_iq1(uint16_t entry, bool down, int8_t quants[8])
{
    /* 8 * level - 8 +- 1, with 128 added while it may be negative. */
    uint64_t values = spread_pairs(entry) * 8 + EACH_8(down ? 128 - 9 : 128 - 7);
    values ^= EACH_8(128);
    memcpy(quants, &values, 8);
}

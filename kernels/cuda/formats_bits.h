/* What the formats' structs are written with: families, halves, bytes, nibbles and levels out of
 * words, addresses of a row's sections. */
#ifndef RAD_CUDA_FORMATS_BITS_H
#define RAD_CUDA_FORMATS_BITS_H

#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"
#include "quant/quant.h"

/* Families, as RAD_FAMILY_ of quant.h; SUPER_16 and SUPER_32 are one. */
constexpr int RAD_CUDA_BLOCK = 0, RAD_CUDA_BLOCK_16 = 1, RAD_CUDA_SUPER = 2, RAD_CUDA_TERNARY = 3,
              RAD_CUDA_ROW = 4, RAD_CUDA_INT8 = 5, RAD_CUDA_AFFINE = 6;

#define RAD_NIBBLES 0x0f0f0f0fu
#define RAD_PAIRS   0x03030303u
#define RAD_BITS    0x01010101u

RAD_DEVICE float half_low(uint32_t word)
{
    return rad_half_to_float((uint16_t)word);
}

RAD_DEVICE float half_high(uint32_t word)
{
    return rad_half_to_float((uint16_t)(word >> 16));
}

/* Half number i of some words. */
RAD_DEVICE float half_at(const uint32_t *words, int i)
{
    return i % 2 != 0 ? half_high(words[i / 2]) : half_low(words[i / 2]);
}

RAD_DEVICE int32_t byte_at(const uint32_t *words, int i)
{
    return (int32_t)rad_byte_permute(words[i / 4], 0, 0x4440u + (uint32_t)i % 4);
}

RAD_DEVICE int32_t signed_byte_at(const uint32_t *words, int i)
{
    return (int32_t)rad_byte_permute(words[i / 4], 0, 0x8880u + (uint32_t)i % 4 * 0x1111u);
}

/* Word i of four, i not being known to the compiler. */
RAD_DEVICE uint32_t word_of_4(const uint32_t *words, uint32_t i)
{
    const uint32_t low = i % 2 != 0 ? words[1] : words[0];
    const uint32_t high = i % 2 != 0 ? words[3] : words[2];
    return i / 2 != 0 ? high : low;
}

/* Nibble i of some words. */
RAD_DEVICE int32_t nibble_at(const uint32_t *words, int i)
{
    return (int32_t)(words[i / 8] >> (i % 8 * 4) & 15u);
}

/* Four bits, lowest first, to bit 0 of four bytes. */
RAD_DEVICE uint32_t spread_bits(uint32_t bits)
{
    return (bits & 15u) * 0x00204081u & RAD_BITS;
}

/* Four pairs of bits in a byte to four bytes. */
RAD_DEVICE uint32_t spread_pairs(uint32_t byte)
{
    uint32_t x = byte & 255u;
    x = (x | x << 12) & 0x000f000fu;
    return (x | x << 6) & RAD_PAIRS;
}

/* Word `word` of a whole section, or the next one where i is odd: where i is not known to the
 * compiler, it keeps words in registers only if it knows their numbers. */
template <class V> RAD_DEVICE uint32_t odd_even(const V &v, int section, int word)
{
    return v.i % 2 != 0 ? v.whole(section, word + 1) : v.whole(section, word);
}

/* Sixteen levels of 8 bits, four in a word. */
struct rad_levels16 {
    uint32_t w[4];
};

/* The levels of the low nibbles of four bytes, and of the high ones. */
RAD_DEVICE void look_up(rad_levels16 levels, uint32_t codes, uint32_t &low, uint32_t &high)
{
    const uint32_t three = codes & 0x77777777u;
    const uint32_t top = (codes >> 1 & 0x44444444u) | 0x32103210u; /* which of two results */
    uint32_t a = rad_byte_permute(rad_byte_permute(levels.w[0], levels.w[1], three),
                                  rad_byte_permute(levels.w[2], levels.w[3], three), top);
    uint32_t b =
        rad_byte_permute(rad_byte_permute(levels.w[0], levels.w[1], three >> 16),
                         rad_byte_permute(levels.w[2], levels.w[3], three >> 16), top >> 16);
    low = rad_byte_permute(a, b, 0x6420);
    high = rad_byte_permute(a, b, 0x7531);
}

/* The levels, of eight, of four bytes below 8. */
RAD_DEVICE uint32_t look_up_8(uint32_t levels_low, uint32_t levels_high, uint32_t codes)
{
    const uint32_t nibbles = codes | codes >> 4;
    return rad_byte_permute(levels_low, levels_high, rad_byte_permute(nibbles, 0, 0x4420));
}

/* Addresses of a row's sections in a chunk. */
struct rad_weights_row {
    const uint8_t *chunk;
    uint32_t row; /* of the group */
};

RAD_DEVICE const uint8_t *section_at(rad_weights_row at, uint32_t offset, uint32_t bytes)
{
    return at.chunk + offset * RAD_CUDA_GROUP_ROWS + at.row * bytes;
}

RAD_DEVICE void header_16(rad_weights_row at, uint32_t offset, uint32_t *h)
{
    rad_u4 v = rad_load16_once(section_at(at, offset, 16));
    h[0] = v.x, h[1] = v.y, h[2] = v.z, h[3] = v.w;
}

RAD_DEVICE void header_8(rad_weights_row at, uint32_t offset, uint32_t *h)
{
    rad_u2 v = rad_load8(section_at(at, offset, 8));
    h[0] = v.x, h[1] = v.y;
}

RAD_DEVICE void header_4(rad_weights_row at, uint32_t offset, uint32_t *h)
{
    h[0] = *(const uint32_t *)section_at(at, offset, 4);
}

RAD_DEVICE void header_2(rad_weights_row at, uint32_t offset, uint32_t *h)
{
    h[0] = *(const uint16_t *)section_at(at, offset, 2);
}

#endif

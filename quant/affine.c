/* The affine formats of folders alone (GPTQ, AWQ, EXL2, compressed-tensors): blocks of 32 or 128
 * with one scale and one whole number z; weight = scale * (quant - z). A block is
 *
 * - a word: the upper 24 bits of the scale as F32, which hold every F16 and BF16 number, and z in
 *   the lower 8;
 * - the quants, by groups of 32 columns, of which column 4g + i finds its bits in byte i of a word,
 *   as lanes want them. 4 bits: four words, g and g + 4 sharing word g % 4. 2 bits: two words, g in
 *   word g / 4, lowest pair first. 1 bit: one word, g at bit g of its byte. 3, 5 and 6 bits are a
 *   plane of 2, 4 and 4 bits and one of the bits above. 8 bits: 32 bytes of quant - 128.
 *
 * quant - z is a whole number, so that sums of products are of integers, and below 2^24: they and
 * the scale lose nothing before they are multiplied. */
#include "quant/affine.h"

#include "quant/formats.h"

enum { GROUP = 32 };

uint32_t rad_affine_places(int bits, uint32_t column, rad_affine_place places[2])
{
    const uint32_t group = column % GROUP / 4, byte = column % 4;
    uint32_t at = 4 + column / GROUP * (uint32_t)bits * 4, n = 0;
    if (bits == 8) {
        places[0] = (rad_affine_place){at + column % GROUP, 0, 0, 255};
        return 1;
    }
    if (bits & 4) {
        places[n++] = (rad_affine_place){at + group % 4 * 4 + byte, group / 4 * 4, 0, 15};
        at += 16;
    }
    if (bits & 2) {
        places[n] = (rad_affine_place){at + group / 4 * 4 + byte, group % 4 * 2, n * 4, 3};
        n++;
        at += 8;
    }
    if (bits & 1) {
        places[n] = (rad_affine_place){at + byte, group, (uint32_t)bits - 1, 1};
        n++;
    }
    return n;
}

bool rad_affine_word(float scale, uint32_t zero, uint8_t word[4])
{
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    rad_store_u32(word, bits | zero);
    return (bits & 255) == 0;
}

/* Takes a block of n columns apart. Returns z; of 8 bits it and the quants come less 128. */
static inline int32_t take(const uint8_t *block, int bits, uint32_t n, float *scale, int8_t *quants)
{
    const uint32_t word = rad_load_u32(block), upper = word & 0xffffff00u;
    memcpy(scale, &upper, sizeof upper);
    const uint8_t *planes = block + 4;
    for (uint32_t first = 0; first < n; first += GROUP, planes += bits * 4) {
        for (uint32_t c = 0; c < GROUP; c++) {
            const uint32_t g = c / 4, i = c % 4;
            const uint8_t *at = planes;
            uint32_t q = 0;
            if (bits == 8)
                q = at[c];
            if (bits & 4) {
                q = at[g % 4 * 4 + i] >> (g / 4 * 4) & 15u;
                at += 16;
            }
            if (bits & 2) {
                q |= (at[g / 4 * 4 + i] >> (g % 4 * 2) & 3u) << (bits & 4);
                at += 8;
            }
            if (bits & 1)
                q |= (at[i] >> g & 1u) << (bits - 1);
            quants[first + c] = (int8_t)q;
        }
    }
    return (int32_t)(word & 255) - (bits == 8 ? 128 : 0);
}

static inline void unpack(const void *block, int bits, uint32_t n, rad_block *out)
{
    out->zero = take(block, bits, n, &out->scale, out->quants);
}

static inline void decode(const void *blocks, float *values, size_t n, int bits, uint32_t elements)
{
    const uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += elements, block += 4 + elements / 8 * (uint32_t)bits) {
        int8_t quants[128];
        float scale;
        const int32_t zero = take(block, bits, elements, &scale, quants);
        for (uint32_t c = 0; c < elements; c++)
            values[i + c] = scale * (float)(quants[c] - zero);
    }
}

#define AFFINE(bits, elements)                                                                     \
    void rad_unpack_a##bits##_##elements(const void *block, rad_block *out)                        \
    {                                                                                              \
        unpack(block, bits, elements, out);                                                        \
    }                                                                                              \
    void rad_decode_a##bits##_##elements(const void *blocks, float *values, size_t n)              \
    {                                                                                              \
        decode(blocks, values, n, bits, elements);                                                 \
    }

RAD_FOR_AFFINE_FORMATS(AFFINE)

rad_type rad_affine_type(int bits, uint32_t elements)
{
    const int wide = elements == 128 ? RAD_TYPE_A2_128 : RAD_TYPE_A2_32;
    return (rad_type)(wide + (bits == 8 ? 5 : bits - 2));
}

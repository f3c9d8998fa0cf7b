#include "quant/codes.h"

#include "quant/codebooks.h"

static const rad_code_form iq3_xxs = {
    0.25f, {4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62}};
static const rad_code_form iq3_s = {1.0f,
                                    {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15}};
/* There is no fourth level. */
static const rad_code_form iq2 = {0.125f, {8, 25, 43, 0, -8, -25, -43}};
static const rad_code_form iq1 = {0.125f, {-7, 1, 9, 0, -9, -1, 7}};

const rad_code_form *rad_code_form_find(rad_type type)
{
    switch (type) {
    case RAD_TYPE_IQ3_XXS:
        return &iq3_xxs;
    case RAD_TYPE_IQ3_S:
        return &iq3_s;
    case RAD_TYPE_IQ2_XXS:
    case RAD_TYPE_IQ2_XS:
    case RAD_TYPE_IQ2_S:
        return &iq2;
    case RAD_TYPE_IQ1_S:
    case RAD_TYPE_IQ1_M:
        return &iq1;
    default:
        return NULL;
    }
}

/* ---- eight bytes at once: byte i is column i on the little-endian machines of this library ------
 */

static uint64_t load_8(const void *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, 8);
    return value;
}

static void store_8(uint8_t *bytes, uint64_t value)
{
    memcpy(bytes, &value, 8);
}

/* Levels are in some bits of the magnitudes of quants: of 4, 12, ... 52, 62 three from the fourth
 * on, of 1, 3, ... 15 from the second, of 8, 25, 43 two from the fifth. The sign goes on top. */
static void codes_of_signed(const int8_t *quants, int shift, int n_bits, uint8_t *codes)
{
    const uint64_t mask = RAD_EACH((1 << n_bits) - 1);
    for (int i = 0; i < RAD_SUPER_BLOCK; i += 8) {
        uint64_t values = load_8(quants + i), negative = values >> 7 & RAD_EACH(1);
        values = (values ^ negative * 255) + negative; /* none is -128, so nothing is carried */
        store_8(codes + i, (values >> shift & mask) | negative << n_bits);
    }
}

/* -8, 0 or 8, and 1 more or less: with 9 on top the level is in bits 3 and 4, and bit 1 is set
 * where it was 1 more. */
static void codes_of_iq1(const int8_t *quants, uint8_t *codes)
{
    for (int i = 0; i < RAD_SUPER_BLOCK; i += 8) {
        uint64_t sums = (load_8(quants + i) ^ RAD_EACH(128)) - RAD_EACH(128 - 9);
        store_8(codes + i, (sums >> 3 & RAD_EACH(3)) | (~sums & RAD_EACH(2)) << 1);
    }
}

/* ---- fields ---------------------------------------------------------------------------------- */

static void put_low_bits(const uint8_t *codes, uint8_t *out)
{
    const uint64_t mask = RAD_EACH(3);
    for (int unit = 0; unit < 4; unit++, codes += 64)
        for (int b = 0; b < 16; b += 8, out += 8)
            store_8(out, (load_8(codes + b) & mask) | (load_8(codes + 16 + b) & mask) << 2 |
                             (load_8(codes + 32 + b) & mask) << 4 |
                             (load_8(codes + 48 + b) & mask) << 6);
}

static void put_third_bits(const uint8_t *codes, uint8_t *out)
{
    for (int unit = 0; unit < 4; unit++, out += 8) {
        uint64_t bits = 0;
        for (int q = 0; q < 8; q++, codes += 8)
            bits |= (load_8(codes) >> 2 & RAD_EACH(1)) << q;
        store_8(out, bits);
    }
}

static void put_nibbles(const uint8_t *codes, uint8_t *out)
{
    for (int part = 0; part < 8; part++, codes += 32)
        for (int b = 0; b < 16; b += 8, out += 8)
            store_8(out, load_8(codes + b) | load_8(codes + 16 + b) << 4);
}

static void put_scales(const rad_block *block, int n, uint8_t *out)
{
    for (int j = 0; j < n; j += 2)
        out[j / 2] =
            (uint8_t)((block->sub_scales[j] & 31) >> 1 | (block->sub_scales[j + 1] & 31) >> 1 << 4);
}

static void write_ternary(const rad_block *block, uint8_t *out)
{
    for (int l = 0; l < 64; l += 8) {
        const int8_t *quants = block->quants + l / 32 * 128 + l % 32;
        uint64_t bits = 0;
        for (int q = 0; q < 4; q++) /* 127 + 1 + quant, of which two bits stay */
            bits |= (((load_8(quants + 32 * q) ^ RAD_EACH(128)) - RAD_EACH(127)) & RAD_EACH(3))
                    << 2 * q;
        store_8(out + l, bits);
    }
    rad_store_u16(out + 64, rad_f32_to_f16(block->scale));
}

static void write_iq1(rad_type type, const rad_block *block, const uint8_t *codes, uint8_t *out)
{
    uint32_t third = 0;
    put_scales(block, type == RAD_TYPE_IQ1_M ? 16 : 8, out + RAD_CODES_SCALES);
    if (type == RAD_TYPE_IQ1_M) {
        for (int k = 0; k < 32; k++)
            third |= (uint32_t)(codes[8 * k] >> 2) << k;
        rad_store_u32(out + RAD_IQ1_M_THIRD, third);
    } else {
        for (int j = 0; j < 8; j++)
            third |= (uint32_t)(codes[32 * j] >> 2) << (4 * j + 3);
        rad_store_u32(out + RAD_CODES_SCALES, rad_load_u32(out + RAD_CODES_SCALES) | third);
    }
    put_low_bits(
        codes, out + (type == RAD_TYPE_IQ1_M ? RAD_IQ1_M_CODES_BYTES : RAD_IQ1_S_CODES_BYTES) - 64);
}

void rad_codes_write(rad_type type, const rad_block *block, uint8_t *out)
{
    const rad_code_form *form = rad_code_form_find(type);
    uint8_t codes[RAD_SUPER_BLOCK];
    if (form == NULL) {
        write_ternary(block, out);
        return;
    }
    rad_store_u16(out, rad_f32_to_f16(block->scale / form->factor));
    switch (type) {
    case RAD_TYPE_IQ3_XXS:
    case RAD_TYPE_IQ3_S:
        codes_of_signed(block->quants, type == RAD_TYPE_IQ3_XXS ? 3 : 1, 3, codes);
        put_scales(block, 8, out + RAD_CODES_SCALES);
        put_nibbles(codes, out + RAD_IQ3_CODES);
        break;
    case RAD_TYPE_IQ1_S:
    case RAD_TYPE_IQ1_M:
        codes_of_iq1(block->quants, codes);
        write_iq1(type, block, codes, out);
        break;
    default: {
        const bool is_xxs = type == RAD_TYPE_IQ2_XXS;
        uint8_t *third = out + (is_xxs ? RAD_IQ2_XXS_THIRD : RAD_IQ2_THIRD);
        codes_of_signed(block->quants, 4, 2, codes);
        put_scales(block, is_xxs ? 8 : 16, out + RAD_CODES_SCALES);
        put_third_bits(codes, third);
        put_low_bits(codes, third + 32);
        break;
    }
    }
}

/* ---- back ------------------------------------------------------------------------------------ */

static int low_bits(const uint8_t *low, int column)
{
    return low[column / 64 * 16 + column % 16] >> (column % 64 / 16 * 2) & 3;
}

static int code_at(rad_type type, const uint8_t *codes, int column)
{
    const uint8_t *third = codes + RAD_IQ2_THIRD;
    switch (type) {
    case RAD_TYPE_IQ3_XXS:
    case RAD_TYPE_IQ3_S:
        return codes[RAD_IQ3_CODES + column / 32 * 16 + column % 16] >> (column % 32 / 16 * 4) & 15;
    case RAD_TYPE_IQ1_S:
        return low_bits(codes + RAD_IQ1_S_CODES_BYTES - 64, column) |
               (codes[RAD_CODES_SCALES + column / 64] >> (column % 64 / 32 * 4 + 3) & 1) << 2;
    case RAD_TYPE_IQ1_M:
        return low_bits(codes + RAD_IQ1_M_CODES_BYTES - 64, column) |
               (codes[RAD_IQ1_M_THIRD + column / 64] >> (column % 64 / 8) & 1) << 2;
    case RAD_TYPE_IQ2_XXS:
        third = codes + RAD_IQ2_XXS_THIRD;
        break;
    default:
        break;
    }
    return low_bits(third + 32, column) |
           (third[column / 64 * 8 + column % 8] >> (column % 64 / 8) & 1) << 2;
}

void rad_codes_unpack(rad_type type, const uint8_t *codes, rad_block *out)
{
    const rad_code_form *form = rad_code_form_find(type);
    if (form == NULL) {
        rad_unpack_tq2_0(codes, out);
        return;
    }
    const int n = rad_type_find((uint32_t)type)->family == RAD_FAMILY_SUPER_16 ? 16 : 8;
    out->scale = rad_load_f16(codes) * form->factor;
    out->minimum = 0.0f;
    for (int j = 0; j < n; j++) {
        int nibble = codes[RAD_CODES_SCALES + j / 2] >> (j % 2 * 4);
        out->sub_scales[j] = (int8_t)(2 * (nibble & (type == RAD_TYPE_IQ1_S ? 7 : 15)) + 1);
    }
    for (int i = 0; i < RAD_SUPER_BLOCK; i++)
        out->quants[i] = form->levels[code_at(type, codes, i)];
}

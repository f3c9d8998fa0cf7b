/* Products with codebook formats, whose lanes hold a code of three or four bits for each weight
 * (quant/codes.h). Super-blocks of 256; a table turns codes into quants. What the formats differ in
 * are arguments and not constants, so that they share two kernels. */
#ifndef RAD_X86_CODES_H
#define RAD_X86_CODES_H

#include "kernels/cpu/x86/supers.h"
#include "quant/codes.h"

/* Where the fields of a lane block begin. */
enum { CODE_SCALES = RAD_CODES_SCALES * RAD_LANE_ROWS };

typedef struct code_format {
    rad_type type;
    uint8_t offset;   /* that makes the quants unsigned */
    bool scales_32;   /* sub-scales are stored for 32 columns, not for 16 */
    int16_t mask;     /* of a sub-scale */
    uint16_t codes;   /* offset of the codes, or of their low bits, in the block of a row */
    uint16_t n_bytes; /* of the block of a row */
} code_format;

static const code_format codes_IQ3_XXS = {RAD_TYPE_IQ3_XXS,   62, true, 15, RAD_IQ3_CODES,
                                          RAD_IQ3_CODES_BYTES};
static const code_format codes_IQ3_S = {RAD_TYPE_IQ3_S,     62, true, 15, RAD_IQ3_CODES,
                                        RAD_IQ3_CODES_BYTES};
static const code_format codes_IQ2_XXS = {
    RAD_TYPE_IQ2_XXS, 43, true, 15, RAD_IQ2_XXS_THIRD + 32, RAD_IQ2_XXS_CODES_BYTES};
static const code_format codes_IQ2_XS = {RAD_TYPE_IQ2_XS,    43, false, 15, RAD_IQ2_THIRD + 32,
                                         RAD_IQ2_CODES_BYTES};
static const code_format codes_IQ2_S = {RAD_TYPE_IQ2_S,     43, false, 15, RAD_IQ2_THIRD + 32,
                                        RAD_IQ2_CODES_BYTES};
static const code_format codes_IQ1_S = {
    RAD_TYPE_IQ1_S, 9, true, 7, RAD_IQ1_S_CODES_BYTES - 64, RAD_IQ1_S_CODES_BYTES};
static const code_format codes_IQ1_M = {
    RAD_TYPE_IQ1_M, 9, false, 15, RAD_IQ1_M_CODES_BYTES - 64, RAD_IQ1_M_CODES_BYTES};

/* What is the same for all blocks. */
typedef struct code_table {
    float factor;
    int8_t levels[16]; /* plus the offset */
} code_table;

static code_table make_code_table(const code_format *format)
{
    const rad_code_form *form = rad_code_form_find(format->type);
    code_table table = {.factor = form->factor};
    for (int i = 0; i < 16; i++)
        table.levels[i] = (int8_t)(form->levels[i] + format->offset);
    return table;
}

/* n sub-scales 2 s + 1 of s in nibbles, and what multiplies the sums for the offset. */
INLINE void put_nibble_scales(const code_format *format, int n, const uint8_t *block,
                              super_scales *out)
{
    const vi one = vi_set32(1), mask = vi_set32(format->mask);
    const int per_nibble = format->scales_32 && n == 16 ? 2 : 1;
    vi even = vi_zero();
    for (int j = 0; j < n; j++) {
        const int at = j / per_nibble;
        vi word = vi_load(block + CODE_SCALES + at / 8 * 64);
        vi s = vi_and(vi_shift_right(word, at % 8 * 4), mask);
        vi scale = vi_add32(vi_add32(s, s), one), upper = vi_shift_left(scale, 16);
        vi_store(out->scale[j], WIDE_DOT ? scale : vi_or(scale, upper));
        if (j % 2 == 0)
            even = scale;
        else
            vi_store(out->minimum[j / 2],
                     vi_multiply16(vi_or(even, upper), vi_set16(-format->offset)));
    }
}

static void unpack_code_scales(const code_format *format, float factor, int n, const uint8_t *block,
                               super_scales *out)
{
    vf_store(out->d, vf_multiply(vf_load_f16(block), vf_set(factor)));
    put_nibble_scales(format, n, block, out);
}

/* The third bits of 64 columns stand in two vectors: of group g in vector g % 2, bit g / 2 of each
 * byte. Those of IQ1 are the same for 8 columns, or for 32. */
typedef struct third_bits {
    const uint8_t *at;
    uint8_t spread[8 * 64];
} third_bits;

static void find_third_bits(const code_format *format, const uint8_t *block, third_bits *out)
{
    const bool is_iq1_s = format->type == RAD_TYPE_IQ1_S;
    if (!is_iq1_s && format->type != RAD_TYPE_IQ1_M) {
        out->at = block + (format->codes - 32) * RAD_LANE_ROWS;
        return;
    }
    vi word = vi_load(block + (format->codes - 4) * RAD_LANE_ROWS);
    out->at = out->spread;
    for (uint32_t unit = 0; unit < 4; unit++) {
        vi bits = vi_shuffle(word, unit * 0x01010101u);
        if (is_iq1_s) { /* bit 3 of each nibble to all four */
            vi top = vi_and(bits, vi_set8(-0x78));
            vi two = vi_or(top, vi_shift_right(top, 1));
            bits = vi_or(two, vi_shift_right(two, 2));
        }
        vi_store(out->spread + unit * 128, bits);
        vi_store(out->spread + unit * 128 + 64, bits);
    }
}

/* The quants of 4 columns plus the offset; of a group of a unit of 64 columns. */
INLINE vi load_code_group(bool wide_codes, const int8_t *levels, const uint8_t *codes,
                          const third_bits *third, int unit, int group)
{
    if (wide_codes)
        return vi_lookup16(
            levels, nibbles(codes + unit * 512 + group / 8 * 256 + group % 4 * 64, group % 8 >= 4));
    vi low = vi_load(codes + unit * 256 + group % 4 * 64);
    vi high = vi_load(third->at + unit * 128 + group % 2 * 64);
    high = group < 4 ? vi_shift_left(high, 2 - group / 2) : vi_shift_right(high, group / 2 - 2);
    vi code =
        vi_or(vi_and(vi_shift_right(low, group / 4 * 2), vi_set8(3)), vi_and(high, vi_set8(4)));
    return vi_lookup16(levels, code);
}

/* ---- straight from the lanes, few tokens ----------------------------------------------------- */

enum { CODE_BITS = 7 };

/* The integer part of one super-block for n tokens. quarter: bytes of a quarter of it. */
INLINE void code_products(bool wide_codes, int n, const int8_t *levels, const uint8_t *block,
                          size_t quarter, const uint8_t *codes, const third_bits *third,
                          const super_scales *scales, const token_view *x, vi *total)
{
    const int sub_groups = wide_codes ? 8 : 4;
    for (int unit = 0; unit < 64 / UNIT_GROUPS; unit++) {
        vi partial[DIRECT_TOKENS];
        if (n >= FETCH_FROM)
            fetch_ahead(block + (size_t)unit * quarter, quarter);
        UNROLL for (int group = 0; group < UNIT_GROUPS; group++)
        {
            int at = unit * UNIT_GROUPS + group;
            vi w = load_code_group(wide_codes, levels, codes, third, unit, group);
            vi scale = vi_load(scales->scale[at / sub_groups]);
            UNROLL for (int t = 0; t < n; t++)
            {
                if (group % sub_groups == 0)
                    partial[t] = vi_zero();
                add_super_group(CODE_BITS, sub_groups, group % sub_groups, w,
                                token_columns(n, x, at, t), scale, &partial[t], &total[t]);
            }
        }
    }
}

/* acc[t * 16 + row] of n tokens goes on over n_blocks super-blocks. */
INLINE void code_direct(bool wide_codes, int n, const code_format *format, const uint8_t *lanes,
                        uint32_t n_blocks, token_view x, float *acc)
{
    const int sub_groups = wide_codes ? 8 : 4;
    const code_table table = make_code_table(format);
    for (uint32_t b = 0; b < n_blocks; b++, next_chunk(&x)) {
        super_scales scales;
        third_bits third;
        vi total[DIRECT_TOKENS];
        int16_t pairs[8];
        unpack_code_scales(format, table.factor, 64 / sub_groups, lanes, &scales);
        if (!wide_codes)
            find_third_bits(format, lanes, &third);
        if (n == 1)
            vi_pair_sums((const void *)x.sums, pairs);
        UNROLL for (int t = 0; t < n; t++) total[t] =
            super_sum_products(sub_groups, n, &scales, &x, pairs, t);
        code_products(wide_codes, n, table.levels, lanes,
                      (size_t)format->n_bytes * RAD_LANE_ROWS / 4,
                      lanes + format->codes * RAD_LANE_ROWS, &third, &scales, &x, total);
        UNROLL for (int t = 0; t < n; t++)
            vf_store(acc + t * 16, vf_fma(vf_multiply(vf_load(scales.d), token_scale(n, &x, 0, t)),
                                          vf_from_int(total[t]), vf_load(acc + t * 16)));
        lanes += (size_t)format->n_bytes * RAD_LANE_ROWS;
    }
}

/* ---- through panels, many tokens ------------------------------------------------------------- */

INLINE void unpack_code_panel(bool wide_codes, const code_format *format, const uint8_t *block,
                              super_panel *panel)
{
    third_bits third;
    const code_table table = make_code_table(format);
    const int8_t *levels = table.levels;
    const uint8_t *codes = block + format->codes * RAD_LANE_ROWS;
    if (!wide_codes)
        find_third_bits(format, block, &third);
    for (int unit = 0; unit < 64 / UNIT_GROUPS; unit++) {
        UNROLL for (int group = 0; group < UNIT_GROUPS; group++)
            vi_store(panel->quants[0] + (unit * UNIT_GROUPS + group) * GROUP_BYTES,
                     load_code_group(wide_codes, levels, codes, &third, unit, group));
    }
    unpack_code_scales(format, table.factor, format->scales_32 ? 8 : 16, block, &panel->scales);
}

#endif

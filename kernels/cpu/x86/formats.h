/* What the quantized formats are, as constants that inlining folds, and how 4 columns of 16 rows
 * come out of the lane layout (kernels/cpu/lane.h) as one vector of bytes. */
#ifndef RAD_X86_FORMATS_H
#define RAD_X86_FORMATS_H

#include "kernels/cpu/lane.h"
#include "kernels/kernels.h"

enum { GROUP_BYTES = 64 /* 4 columns of 16 rows */ };

INLINE bool is_super(rad_type type)
{
    return type == RAD_TYPE_Q4_K || type == RAD_TYPE_Q5_K || type == RAD_TYPE_Q6_K;
}

INLINE bool has_minimum(rad_type type)
{
    return type == RAD_TYPE_Q4_1 || type == RAD_TYPE_Q5_1 || type == RAD_TYPE_Q4_K ||
           type == RAD_TYPE_Q5_K || type == RAD_TYPE_Q2_K;
}

INLINE int quant_bits(rad_type type)
{
    switch (type) {
    case RAD_TYPE_Q5_0:
    case RAD_TYPE_Q5_1:
    case RAD_TYPE_Q5_K:
    case RAD_TYPE_MXFP4:
        return 5;
    case RAD_TYPE_Q6_K:
        return 6;
    case RAD_TYPE_Q8_0:
    case RAD_TYPE_IQ4_NL:
    case RAD_TYPE_IQ4_XS:
    case RAD_TYPE_NF4_INT8:
        return 8;
    default:
        return 4;
    }
}

/* What is to be taken off the unsigned quants that load_group() gives. */
INLINE int quant_offset(rad_type type)
{
    switch (type) {
    case RAD_TYPE_Q4_0:
        return 8;
    case RAD_TYPE_Q5_0:
        return 16;
    case RAD_TYPE_Q6_K:
        return 32;
    case RAD_TYPE_Q3_K:
        return 4;
    case RAD_TYPE_MXFP4:
        return 12;
    case RAD_TYPE_Q8_0:
    case RAD_TYPE_IQ4_NL:
    case RAD_TYPE_IQ4_XS:
    case RAD_TYPE_NF4_INT8:
        return SIGNED_BYTES ? 0 : 128;
    default:
        return 0;
    }
}

/* Groups whose products a partial sum holds without overflow, by the bits of the quants; 8 bits
 * without VNNI are signed. */
INLINE int chain_groups(int bits)
{
    return WIDE_DOT || bits == 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
}

INLINE size_t lane_block_bytes(rad_type type)
{
    switch (type) {
    case RAD_TYPE_Q4_0:
    case RAD_TYPE_IQ4_NL:
    case RAD_TYPE_NF4_INT8:
        return 18 * 16;
    case RAD_TYPE_MXFP4:
        return 17 * 16;
    case RAD_TYPE_Q2_K:
        return 84 * 16;
    case RAD_TYPE_Q3_K:
        return 110 * 16;
    case RAD_TYPE_IQ4_XS:
        return 136 * 16;
    case RAD_TYPE_Q4_1:
        return 20 * 16;
    case RAD_TYPE_Q5_0:
        return 22 * 16;
    case RAD_TYPE_Q5_1:
        return 24 * 16;
    case RAD_TYPE_Q8_0:
        return 34 * 16;
    case RAD_TYPE_Q4_K:
        return 144 * 16;
    case RAD_TYPE_Q5_K:
        return 176 * 16;
    default:
        return 210 * 16;
    }
}

/* Where the fields of a lane block begin (kernels/cpu/lane.c). */
enum {
    Q6_K_SCALES = 32,
    Q6_K_UNITS = Q6_K_SCALES + 4 * 64,
    Q6_K_UNIT_BYTES = 12 * 64,
    Q2_K_SCALES = 64,
    Q2_K_QUANTS = Q2_K_SCALES + 4 * 64,
    Q3_K_SCALES = 32,
    Q3_K_UNITS = Q3_K_SCALES + 3 * 64,
    IQ4_XS_HIGH = 32,
    IQ4_XS_LOW = 64,
    IQ4_XS_CODES = IQ4_XS_LOW + 64,
    MXFP4_CODES = 16,
    Q4_K_SCALES = 64,
    Q4_K_LOW = Q4_K_SCALES + 3 * 64,
    Q5_K_HIGH = Q4_K_LOW,
    Q5_K_LOW = Q5_K_HIGH + 8 * 64
};

/* Super-blocks are walked in units of 16 groups whose code is unrolled: for Q4_K and Q5_K two
 * sub-blocks that share their bytes, for Q2_K, Q3_K and Q6_K the four sub-blocks of 16 that do. */
enum { UNIT_GROUPS = 16 };

/* The first column of a group of a unit. */
INLINE int unit_column(rad_type type, int unit, int group)
{
    if (type == RAD_TYPE_Q6_K || type == RAD_TYPE_Q2_K || type == RAD_TYPE_Q3_K)
        return unit / 2 * 128 + unit % 2 * 16 + group / 4 * 32 + group % 4 * 4;
    return unit * 64 + group * 4;
}

/* ---- unpacking ------------------------------------------------------------------------------- */

INLINE vi low_nibbles(const uint8_t *p)
{
    return vi_and(vi_load(p), vi_set8(15));
}

INLINE vi high_nibbles(const uint8_t *p)
{
    return vi_and(vi_shift_right_4(vi_load(p)), vi_set8(15));
}

INLINE vi nibbles(const uint8_t *p, bool high)
{
    return high ? high_nibbles(p) : low_nibbles(p);
}

/* Puts bit `from` of every byte at bit 4. */
INLINE vi fifth_bit(vi bits, int from)
{
    vi moved = from > 4 ? vi_shift_right(bits, from - 4) : vi_shift_left(bits, 4 - from);
    return vi_and(moved, vi_set8(16));
}

/* What the 4-bit codes stand for, plus the offset. */
static const int8_t levels_iq4[16] = {
#define LEVEL(value) (int8_t)((SIGNED_BYTES ? 0 : 128) + (value))
    LEVEL(-127), LEVEL(-104), LEVEL(-83), LEVEL(-65), LEVEL(-49), LEVEL(-35),
    LEVEL(-22),  LEVEL(-10),  LEVEL(1),   LEVEL(13),  LEVEL(25),  LEVEL(38),
    LEVEL(53),   LEVEL(69),   LEVEL(89),  LEVEL(113)};
static const int8_t levels_nf4[16] = {LEVEL(-124), LEVEL(-86), LEVEL(-65), LEVEL(-49),
                                      LEVEL(-35),  LEVEL(-23), LEVEL(-11), LEVEL(0),
                                      LEVEL(10),   LEVEL(20),  LEVEL(31),  LEVEL(42),
                                      LEVEL(55),   LEVEL(70),  LEVEL(90),  LEVEL(124)};
#undef LEVEL
static const int8_t levels_e2m1[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

/* Q3_K: the lower two bits of a unit's group, and the third. */
INLINE vi load_group_q3_k(const uint8_t *block, int unit, int group)
{
    const int quarter = group / 4;
    const uint8_t *words = block + Q3_K_UNITS + group % 4 * 64;
    vi pairs = vi_load(words + (unit < 2 ? 256 + unit * 512 : 512 + unit * 256));
    vi third = vi_shift_right(vi_load(words + unit % 2 * 512), unit / 2 * 4);
    third = quarter < 2 ? vi_shift_left(third, 2 - quarter) : vi_shift_right(third, quarter - 2);
    return vi_or(vi_and(vi_shift_right(pairs, 2 * quarter), vi_set8(3)), vi_and(third, vi_set8(4)));
}

/* The quants of 4 columns, one row per lane, as unsigned bytes (signed for Q8_0 without VNNI).
 * `unit` counts units of a super-block, `group` is constant after unrolling. */
INLINE vi load_group(rad_type type, const uint8_t *block, int unit, int group)
{
    switch (type) {
    case RAD_TYPE_Q4_0:
        return nibbles(block + 32 + group % 4 * 64, group >= 4);
    case RAD_TYPE_IQ4_NL:
        return vi_lookup16(levels_iq4, nibbles(block + 32 + group % 4 * 64, group >= 4));
    case RAD_TYPE_NF4_INT8:
        return vi_lookup16(levels_nf4, nibbles(block + 32 + group % 4 * 64, group >= 4));
    case RAD_TYPE_IQ4_XS:
        return vi_lookup16(levels_iq4, nibbles(block + IQ4_XS_CODES + unit * 512 + group / 8 * 256 +
                                                   group % 4 * 64,
                                               group % 8 >= 4));
    case RAD_TYPE_MXFP4:
        return vi_lookup16(levels_e2m1, nibbles(block + MXFP4_CODES + group % 4 * 64, group >= 4));
    case RAD_TYPE_Q2_K: {
        vi pairs = vi_load(block + Q2_K_QUANTS + unit / 2 * 512 + (unit % 2 * 4 + group % 4) * 64);
        return vi_and(vi_shift_right(pairs, group / 4 * 2), vi_set8(3));
    }
    case RAD_TYPE_Q3_K:
        return load_group_q3_k(block, unit, group);
    case RAD_TYPE_Q4_1:
        return nibbles(block + 64 + group % 4 * 64, group >= 4);
    case RAD_TYPE_Q5_0:
        return vi_or(nibbles(block + 96 + group % 4 * 64, group >= 4),
                     fifth_bit(vi_load(block + 32), group));
    case RAD_TYPE_Q5_1:
        return vi_or(nibbles(block + 128 + group % 4 * 64, group >= 4),
                     fifth_bit(vi_load(block + 64), group));
    case RAD_TYPE_Q8_0: {
        vi quants = vi_load(block + 32 + group * 64);
        return SIGNED_BYTES ? quants : vi_xor(quants, vi_set8(-128));
    }
    case RAD_TYPE_Q4_K:
        return nibbles(block + Q4_K_LOW + unit * 512 + group % 8 * 64, group >= 8);
    case RAD_TYPE_Q5_K: {
        vi low = nibbles(block + Q5_K_LOW + unit * 512 + group % 8 * 64, group >= 8);
        vi bits =
            vi_shift_right(vi_load(block + Q5_K_HIGH + group % 8 * 64), 2 * unit + (group >= 8));
        return vi_or(low, vi_and(vi_shift_left(bits, 4), vi_set8(16)));
    }
    default: { /* Q6_K */
        const uint8_t *words = block + Q6_K_UNITS + unit * Q6_K_UNIT_BYTES + group % 4 * 64;
        int quarter = group / 4;
        vi low = nibbles(words + (quarter & 1) * 256, quarter >= 2);
        vi high = vi_load(words + 512);
        vi moved = quarter == 0   ? vi_shift_left(high, 4)
                   : quarter == 1 ? vi_shift_left(high, 2)
                   : quarter == 2 ? high
                                  : vi_shift_right(high, 2);
        return vi_or(low, vi_and(moved, vi_set8(48)));
    }
    }
}

#endif

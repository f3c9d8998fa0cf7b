/* Quantized matrix products on x86, written once in the 16-lane operations of vector_*.h and
 * compiled for each instruction set. A lane is a row of the weights, so nothing is added across
 * lanes; kernels.h defines the arithmetic.
 *
 * Few tokens: weights are read in the lane layout and unpacked in registers ("direct").
 * Many tokens: 16 rows x 256 columns are unpacked into a panel of bytes that stays in the
 * first-level cache while the tokens pass over it. Panels exist per family, not per format. Rows in
 * the file's layout are first transposed to lanes, 256 columns at a time. */
#ifndef RAD_X86_PRODUCT_H
#define RAD_X86_PRODUCT_H

#include "kernels/cpu/lane.h"
#include "kernels/kernels.h"

enum {
    CHUNK_COLUMNS = 256,
    TOKEN_BLOCK = 96, /* tokens whose sums are kept in scratch while a panel's chunks pass */
    GROUP_BYTES = 64  /* 4 columns of 16 rows */
};

/* ---- what the formats are, as constants that inlining folds ---------------------------------- */

INLINE bool is_super(rad_type type)
{
    return type == RAD_TYPE_Q4_K || type == RAD_TYPE_Q5_K || type == RAD_TYPE_Q6_K;
}

INLINE bool has_minimum(rad_type type)
{
    return type == RAD_TYPE_Q4_1 || type == RAD_TYPE_Q5_1 || type == RAD_TYPE_Q4_K ||
           type == RAD_TYPE_Q5_K;
}

INLINE int quant_bits(rad_type type)
{
    switch (type) {
    case RAD_TYPE_Q5_0:
    case RAD_TYPE_Q5_1:
    case RAD_TYPE_Q5_K:
        return 5;
    case RAD_TYPE_Q6_K:
        return 6;
    case RAD_TYPE_Q8_0:
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
    case RAD_TYPE_Q8_0:
        return WIDE_DOT ? 128 : 0;
    default:
        return 0;
    }
}

INLINE bool is_signed(rad_type type)
{
    return type == RAD_TYPE_Q8_0 && !WIDE_DOT;
}

/* Groups whose products a partial sum holds without overflow. */
INLINE int chain_groups(rad_type type)
{
    int bits = quant_bits(type);
    return WIDE_DOT || bits == 4 ? 8 : bits == 5 ? 4 : 2;
}

INLINE size_t lane_block_bytes(rad_type type)
{
    switch (type) {
    case RAD_TYPE_Q4_0:
        return 18 * 16;
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
    Q6_K_LOW = Q6_K_SCALES + 4 * 64,
    Q6_K_HIGH = Q6_K_LOW + 32 * 64,
    Q4_K_SCALES = 64,
    Q4_K_LOW = Q4_K_SCALES + 3 * 64,
    Q5_K_HIGH = Q4_K_LOW,
    Q5_K_LOW = Q5_K_HIGH + 8 * 64
};

/* Super-blocks are walked in units of 16 groups whose code is unrolled: for Q4_K and Q5_K two
 * sub-blocks that share their bytes, for Q6_K the four sub-blocks of 16 that do. */
enum { UNIT_GROUPS = 16 };

/* The first column of a group of a unit. */
INLINE int unit_column(rad_type type, int unit, int group)
{
    if (type == RAD_TYPE_Q6_K)
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

/* The quants of 4 columns, one row per lane, as unsigned bytes (signed for Q8_0 without VNNI).
 * `unit` counts units of a super-block, `group` is constant after unrolling. */
INLINE vi load_group(rad_type type, const uint8_t *block, int unit, int group)
{
    switch (type) {
    case RAD_TYPE_Q4_0:
        return nibbles(block + 32 + group % 4 * 64, group >= 4);
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
        return WIDE_DOT ? vi_xor(quants, vi_set8(-128)) : quants;
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
        int quarter = group / 4, word = unit % 2 * 4 + group % 4;
        vi low = nibbles(block + Q6_K_LOW + unit / 2 * 1024 + (quarter & 1) * 512 + word * 64,
                         quarter >= 2);
        vi high = vi_load(block + Q6_K_HIGH + unit / 2 * 512 + word * 64);
        vi moved = quarter == 0   ? vi_shift_left(high, 4)
                   : quarter == 1 ? vi_shift_left(high, 2)
                   : quarter == 2 ? high
                                  : vi_shift_right(high, 2);
        return vi_or(low, vi_and(moved, vi_set8(48)));
    }
    }
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

/* A panel: 8 blocks of 32 columns. */
typedef struct block_panel {
    uint8_t quants[8][8 * GROUP_BYTES];
    float scale[8][16];
    float minimum[8][16];
} block_panel;

/* Activations of the tokens of a tile, at the first column of what is multiplied. */
typedef struct tile_input {
    const int8_t *quants;
    const float *scales;
    const int16_t *sums;
    size_t quant_stride; /* from token to token, in elements */
    size_t scale_stride;
    size_t sum_stride;
} tile_input;

INLINE vf block_scale(rad_type type, bool panel, const void *weights, uint32_t b)
{
    if (panel)
        return vf_load(((const block_panel *)weights)->scale[b]);
    return vf_load_f16((const uint8_t *)weights + b * lane_block_bytes(type));
}

INLINE vf block_minimum(rad_type type, bool panel, const void *weights, uint32_t b)
{
    if (panel)
        return vf_load(((const block_panel *)weights)->minimum[b]);
    return vf_load_f16((const uint8_t *)weights + b * lane_block_bytes(type) + 32);
}

INLINE vi block_group(rad_type type, bool panel, const void *weights, uint32_t b, int group)
{
    if (panel)
        return vi_load(((const block_panel *)weights)->quants[b] + group * GROUP_BYTES);
    return load_group(type, (const uint8_t *)weights + b * lane_block_bytes(type), 0, group);
}

/* acc[t * 16 + row] of n tokens goes on over n_blocks blocks. */
INLINE void block_tile(rad_type type, bool panel, int n, const void *weights, uint32_t n_blocks,
                       const tile_input *x, float *acc)
{
    const int chain = chain_groups(type), offset = quant_offset(type);
    vf sum[TILE_TOKENS];
    UNROLL for (int t = 0; t < n; t++) sum[t] = vf_load(acc + t * 16);
    for (uint32_t b = 0; b < n_blocks; b++) {
        const int8_t *quants = x->quants + (size_t)b * 32;
        vi total[TILE_TOKENS], partial[TILE_TOKENS];
        UNROLL for (int t = 0; t < n; t++) total[t] = partial[t] = vi_zero();
        UNROLL for (int group = 0; group < 8; group++)
        {
            vi w = block_group(type, panel, weights, b, group);
            vi magnitude = is_signed(type) ? vi_magnitude(w) : w;
            UNROLL for (int t = 0; t < n; t++)
            {
                vi column = vi_broadcast32(quants + (size_t)t * x->quant_stride + group * 4);
                if (is_signed(type)) {
                    total[t] = vi_dot_signed(total[t], w, magnitude, column);
                    continue;
                }
                partial[t] =
                    group % chain == 0 ? vi_dot_first(w, column) : vi_dot(partial[t], w, column);
                if (group % chain == chain - 1)
                    total[t] = group < chain ? vi_widen(partial[t])
                                             : vi_accumulate(total[t], vi_widen(partial[t]));
            }
        }
        vf scale = block_scale(type, panel, weights, b);
        UNROLL for (int t = 0; t < n; t++)
        {
            vf x_scale = vf_set(x->scales[(size_t)t * x->scale_stride + b]);
            vi pair = vi_broadcast32(x->sums + (size_t)t * x->sum_stride + (size_t)b * 2);
            if (offset != 0)
                total[t] = vi_add32(total[t], vi_madd16(pair, vi_set16(-offset)));
            sum[t] = vf_fma(vf_multiply(scale, x_scale), vf_from_int(total[t]), sum[t]);
            if (has_minimum(type))
                sum[t] = vf_fma(vf_multiply(block_minimum(type, panel, weights, b), x_scale),
                                vf_from_int(vi_madd16(pair, vi_set16(1))), sum[t]);
        }
    }
    UNROLL for (int t = 0; t < n; t++) vf_store(acc + t * 16, sum[t]);
}

INLINE void unpack_blocks(rad_type type, const uint8_t *lanes, uint32_t n_blocks, void *out)
{
    block_panel *panel = out;
    for (uint32_t b = 0; b < n_blocks; b++) {
        UNROLL for (int group = 0; group < 8; group++) vi_store(
            panel->quants[b] + group * GROUP_BYTES, block_group(type, false, lanes, b, group));
        vf_store(panel->scale[b], block_scale(type, false, lanes, b));
        if (has_minimum(type))
            vf_store(panel->minimum[b], block_minimum(type, false, lanes, b));
    }
}

/* ---- super-blocks of 256 --------------------------------------------------------------------- */

/* Sub-scales of 16 rows as int16 pairs. */
typedef struct super_scales {
    uint8_t scale[16][64];  /* (s, s) of each sub-block */
    uint8_t minimum[8][64]; /* Q4_K, Q5_K: (m[2i], m[2i+1]); Q6_K: (s[2i], s[2i+1]) */
    float d[16];
    float dmin[16]; /* negated */
} super_scales;

typedef struct super_panel {
    uint8_t quants[8][8 * GROUP_BYTES];
    super_scales scales;
} super_panel;

/* Q4_K and Q5_K: the twelve bytes come as three 32-bit words per row (quant/scales_k.c). */
INLINE void unpack_scales_k(const uint8_t *block, super_scales *out)
{
    vi word0 = vi_load(block + Q4_K_SCALES);
    vi word1 = vi_load(block + Q4_K_SCALES + 64);
    vi word2 = vi_load(block + Q4_K_SCALES + 128);
    vi six = vi_set8(63), four = vi_set8(15), top = vi_set8(48);
    vi scale[2] = {vi_and(word0, six),
                   vi_or(vi_and(word2, four), vi_and(vi_shift_right(word0, 2), top))};
    vi minimum[2] = {vi_and(word1, six), vi_or(vi_and(vi_shift_right_4(word2), four),
                                               vi_and(vi_shift_right(word1, 2), top))};
    UNROLL for (int j = 0; j < 8; j++) vi_store(
        out->scale[j], vi_shuffle(scale[j / 4], 0x80008000u + (uint32_t)(j % 4) * 0x10001u));
    UNROLL for (int j = 0; j < 4; j++)
        vi_store(out->minimum[j], vi_shuffle(minimum[j / 2], j % 2 ? 0x80038002u : 0x80018000u));
    vf_store(out->d, vf_load_f16(block));
    vf_store(out->dmin, vf_negate(vf_load_f16(block + 32)));
}

INLINE void unpack_scales_q6_k(const uint8_t *block, super_scales *out)
{
    UNROLL for (int j = 0; j < 16; j++)
    {
        vi word = vi_load(block + Q6_K_SCALES + j / 4 * 64);
        uint32_t k = (uint32_t)(j % 4);
        vi_store(out->scale[j], vi_upper_byte(vi_shuffle(word, 0x00800080u + k * 0x01000100u)));
        if (j % 2 == 0)
            vi_store(
                out->minimum[j / 2],
                vi_upper_byte(vi_shuffle(word, 0x00800080u + k * 0x0100u + (k + 1) * 0x01000000u)));
    }
    vf_store(out->d, vf_load_f16(block));
}

INLINE void unpack_super_scales(rad_type type, const uint8_t *block, super_scales *out)
{
    if (type == RAD_TYPE_Q6_K)
        unpack_scales_q6_k(block, out);
    else
        unpack_scales_k(block, out);
}

/* The integer part of one super-block for n tokens: sub-blocks times their sub-scales. */
INLINE void super_products(rad_type type, bool panel, int n, const uint8_t *block,
                           const super_scales *scales, const tile_input *x, const int8_t *quants,
                           vi *total)
{
    const int sub_groups = type == RAD_TYPE_Q6_K ? 4 : 8;
    const int chain = chain_groups(type) < sub_groups ? chain_groups(type) : sub_groups;
    const int groups = panel ? 8 : UNIT_GROUPS;
    UNROLL for (int t = 0; t < n; t++) total[t] = vi_zero();
    for (int unit = 0; unit < 64 / groups; unit++) {
        vi partial[TILE_TOKENS];
        UNROLL for (int t = 0; t < n; t++) partial[t] = vi_zero();
        UNROLL for (int group = 0; group < groups; group++)
        {
            int at = panel ? unit * 32 + group * 4 : unit_column(type, unit, group);
            vi w =
                panel ? vi_load(block + at * RAD_LANE_ROWS) : load_group(type, block, unit, group);
            vi scale = vi_load(scales->scale[at / (4 * sub_groups)]);
            UNROLL for (int t = 0; t < n; t++)
            {
                vi column = vi_broadcast32(quants + (size_t)t * x->quant_stride + at);
                partial[t] =
                    group % chain == 0 ? vi_dot_first(w, column) : vi_dot(partial[t], w, column);
                if (group % chain == chain - 1)
                    total[t] = vi_accumulate(total[t], vi_scaled(partial[t], scale));
            }
        }
    }
}

/* The integer sum that the minimum multiplies, or (Q6_K) what the offset of the quants added. */
INLINE vi super_minima(rad_type type, const super_scales *scales, const int16_t *sums)
{
    vi total = vi_zero();
    if (type == RAD_TYPE_Q6_K) {
        UNROLL for (int j = 0; j < 8; j++) total =
            vi_add32(total, vi_madd16(vi_load(scales->minimum[j]), vi_broadcast32(sums + 2 * j)));
        return total;
    }
    int16_t pairs[8];
    vi_pair_sums(sums, pairs);
    UNROLL for (int j = 0; j < 4; j++) total =
        vi_add32(total, vi_madd16(vi_load(scales->minimum[j]), vi_broadcast32(pairs + 2 * j)));
    return total;
}

INLINE void super_tile(rad_type type, bool panel, int n, const void *weights, uint32_t n_blocks,
                       const tile_input *x, float *acc)
{
    for (uint32_t b = 0; b < n_blocks; b++) {
        super_scales unpacked;
        const super_scales *scales = &unpacked;
        const uint8_t *block = weights;
        vi total[TILE_TOKENS];
        if (panel) {
            scales = &((const super_panel *)weights)->scales;
        } else {
            block += b * lane_block_bytes(type);
            unpack_super_scales(type, block, &unpacked);
        }
        super_products(type, panel, n, block, scales, x, x->quants + (size_t)b * 256, total);
        vf d = vf_load(scales->d);
        UNROLL for (int t = 0; t < n; t++)
        {
            const int16_t *sums = x->sums + (size_t)t * x->sum_stride + (size_t)b * 16;
            vf x_scale = vf_set(x->scales[(size_t)t * x->scale_stride + b]);
            vf sum = vf_load(acc + t * 16);
            vi minima = super_minima(type, scales, sums);
            if (type == RAD_TYPE_Q6_K)
                total[t] = vi_sub32(total[t], vi_shift_left(minima, 5));
            sum = vf_fma(vf_multiply(d, x_scale), vf_from_int(total[t]), sum);
            if (has_minimum(type))
                sum = vf_fma(vf_multiply(vf_load(scales->dmin), x_scale), vf_from_int(minima), sum);
            vf_store(acc + t * 16, sum);
        }
    }
}

INLINE void unpack_super(rad_type type, const uint8_t *lanes, void *out)
{
    super_panel *panel = out;
    for (int unit = 0; unit < 64 / UNIT_GROUPS; unit++) {
        UNROLL for (int group = 0; group < UNIT_GROUPS; group++)
            vi_store(panel->quants[0] + unit_column(type, unit, group) * RAD_LANE_ROWS,
                     load_group(type, lanes, unit, group));
    }
    unpack_super_scales(type, lanes, &panel->scales);
}

/* ---- from the file's layout ------------------------------------------------------------------ */

/* One word of each of 16 rows. */
static void pack_halves(const uint8_t *rows, size_t row_stride, uint8_t *out)
{
    UNROLL for (size_t row = 0; row < RAD_LANE_ROWS; row++)
        memcpy(out + 2 * row, rows + row * row_stride, 2);
}

static void pack_words(const uint8_t *rows, size_t row_stride, uint8_t *out)
{
    UNROLL for (size_t row = 0; row < RAD_LANE_ROWS; row++)
        memcpy(out + 4 * row, rows + row * row_stride, 4);
}

static void pack_fifth_bits(const uint8_t *rows, size_t row_stride, uint8_t *out)
{
    uint32_t words[RAD_LANE_ROWS];
    pack_words(rows, row_stride, (uint8_t *)words);
    for (size_t row = 0; row < RAD_LANE_ROWS; row++)
        words[row] = rad_fifth_bits_to_lane(words[row]);
    memcpy(out, words, sizeof(words));
}

/* One block of each of 16 rows; the same permutation as rad_lane_put_blocks(). */
static void pack_full_block(const rad_lane_field *fields, const uint8_t *rows, size_t row_stride,
                            uint8_t *out)
{
    for (; fields->n_words != 0; fields++) {
        const uint8_t *from = rows + fields->offset;
        if (fields->word_bytes == 2) {
            pack_halves(from, row_stride, out);
        } else if (fields->fifth_bits) {
            pack_fifth_bits(from, row_stride, out);
        } else {
            uint32_t word = 0;
            for (; word + 4 <= fields->n_words; word += 4)
                vi_transpose_words(from + word * 4, row_stride, out + word * 64);
            for (; word < fields->n_words; word++)
                pack_words(from + word * 4, row_stride, out + word * 64);
        }
        out += (size_t)fields->word_bytes * RAD_LANE_ROWS * fields->n_words;
    }
}

#endif

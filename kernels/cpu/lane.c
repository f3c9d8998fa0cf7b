#include "kernels/cpu/lane.h"

#include "kernels/cpu/float_block.h"
#include "quant/codes.h"

enum {
    PLAIN = RAD_LANE_PLAIN,
    BITS = RAD_LANE_BITS,
    PAIRS = RAD_LANE_PAIRS,
    SCALES = RAD_LANE_SCALES
};

/* Scales first, then the quants; every field of a block exactly once. */
static const rad_lane_field q4_0[] = {{0, 2, 1, PLAIN}, {2, 4, 4, PLAIN}, {0}};
static const rad_lane_field q4_1[] = {{0, 2, 1, PLAIN}, {2, 2, 1, PLAIN}, {4, 4, 4, PLAIN}, {0}};
static const rad_lane_field q5_0[] = {{0, 2, 1, PLAIN}, {2, 4, 1, BITS}, {6, 4, 4, PLAIN}, {0}};
static const rad_lane_field q5_1[] = {
    {0, 2, 1, PLAIN}, {2, 2, 1, PLAIN}, {4, 4, 1, BITS}, {8, 4, 4, PLAIN}, {0}};
static const rad_lane_field q8_0[] = {{0, 2, 1, PLAIN}, {2, 4, 8, PLAIN}, {0}};
/* d, dmin, packed sub-scales (12 bytes), fifth bits of Q5_K, nibbles. */
static const rad_lane_field q4_k[] = {
    {0, 2, 1, PLAIN}, {2, 2, 1, PLAIN}, {4, 4, 3, PLAIN}, {16, 4, 32, PLAIN}, {0}};
static const rad_lane_field q5_k[] = {
    {0, 2, 1, PLAIN}, {2, 2, 1, PLAIN}, {4, 4, 3, PLAIN}, {16, 4, 40, PLAIN}, {0}};
/* d, sub-scales, then in the order in which they are multiplied, so that memory is read in order:
 * of each half of the columns the nibbles (two times 16 bytes) and the upper bits of those with the
 * same 16 columns of 32. */
#define Q6_K_UNIT(low, high)                                                                       \
    {low, 4, 4, PLAIN}, {(low) + 32, 4, 4, PLAIN},                                                 \
    {                                                                                              \
        high, 4, 4, PLAIN                                                                          \
    }
static const rad_lane_field q6_k[] = {{208, 2, 1, PLAIN},
                                      {192, 4, 4, PLAIN},
                                      Q6_K_UNIT(0, 128),
                                      Q6_K_UNIT(16, 144),
                                      Q6_K_UNIT(64, 160),
                                      Q6_K_UNIT(80, 176),
                                      {0}};

/* d, dmin, sub-scales, quants. */
static const rad_lane_field q2_k[] = {
    {80, 2, 1, PLAIN}, {82, 2, 1, PLAIN}, {0, 4, 4, PLAIN}, {16, 4, 16, PLAIN}, {0}};
/* d, sub-scales, then in the order in which they are multiplied: third bits, which all columns
 * share, in front of the first pairs of bits that they belong to. */
static const rad_lane_field q3_k[] = {
    {108, 2, 1, PLAIN}, {96, 4, 3, PLAIN}, {0, 4, 4, PLAIN},  {32, 4, 4, PLAIN},
    {16, 4, 4, PLAIN},  {48, 4, 4, PLAIN}, {64, 4, 8, PLAIN}, {0}};
/* d, upper and lower bits of sub-scales, codes. */
static const rad_lane_field iq4_xs[] = {
    {0, 2, 1, PLAIN}, {2, 2, 1, PLAIN}, {4, 4, 1, PLAIN}, {8, 4, 32, PLAIN}, {0}};
static const rad_lane_field mxfp4[] = {{0, 1, 1, PLAIN}, {1, 4, 4, PLAIN}, {0}};

static const rad_lane_field nvfp4[] = {{0, 4, 1, SCALES}, {4, 4, 8, PLAIN}, {0}};
static const rad_lane_field q1_0[] = {{0, 2, 1, PLAIN}, {2, 4, 4, BITS}, {0}};
static const rad_lane_field q2_0[] = {{0, 2, 1, PLAIN}, {2, 4, 4, PAIRS}, {0}};
static const rad_lane_field tq2_0[] = {{64, 2, 1, PLAIN}, {0, 4, 16, PLAIN}, {0}};
static const rad_lane_field i2_s[] = {{0, 4, 8, PLAIN}, {0}};

/* The word of scale and zero, then words of quants, in lanes' order already. */
#define AFFINE(bits, elements)                                                                     \
    static const rad_lane_field a##bits##_##elements[] = {                                         \
        {0, 4, 1, PLAIN}, {4, 4, (bits) * (elements) / 32, PLAIN}, {0}};
RAD_FOR_AFFINE_FORMATS(AFFINE)

/* Codes: d, then words in the order of the block. */
#define CODES(name, bytes)                                                                         \
    static const rad_lane_field name[] = {{0, 2, 1, PLAIN}, {2, 4, ((bytes)-2) / 4, PLAIN}, {0}};
CODES(iq3_codes, RAD_IQ3_CODES_BYTES)
CODES(iq2_codes, RAD_IQ2_CODES_BYTES)
CODES(iq2_xxs_codes, RAD_IQ2_XXS_CODES_BYTES)
CODES(iq1_m_codes, RAD_IQ1_M_CODES_BYTES)
CODES(iq1_s_codes, RAD_IQ1_S_CODES_BYTES)

#define AFFINE_FORM(bits, elements)                                                                \
    [RAD_TYPE_A##bits##_##elements] = {a##bits##_##elements, 4 + (elements) / 8 * (bits), false},

static const rad_lane_form forms[] = {
    [RAD_TYPE_Q4_0] = {q4_0, 18, false},
    [RAD_TYPE_IQ4_NL] = {q4_0, 18, false},
    [RAD_TYPE_NF4_INT8] = {q4_0, 18, false},
    [RAD_TYPE_Q4_1] = {q4_1, 20, false},
    [RAD_TYPE_Q5_0] = {q5_0, 22, false},
    [RAD_TYPE_Q5_1] = {q5_1, 24, false},
    [RAD_TYPE_Q8_0] = {q8_0, 34, false},
    [RAD_TYPE_Q4_K] = {q4_k, 144, false},
    [RAD_TYPE_Q5_K] = {q5_k, 176, false},
    [RAD_TYPE_Q6_K] = {q6_k, 210, false},
    [RAD_TYPE_Q2_K] = {q2_k, 84, false},
    [RAD_TYPE_Q3_K] = {q3_k, 110, false},
    [RAD_TYPE_IQ4_XS] = {iq4_xs, 136, false},
    [RAD_TYPE_MXFP4] = {mxfp4, 17, false},
    [RAD_TYPE_NVFP4] = {nvfp4, 36, false},
    [RAD_TYPE_Q1_0] = {q1_0, 18, false},
    [RAD_TYPE_Q2_0] = {q2_0, 18, false},
    [RAD_TYPE_TQ2_0] = {tq2_0, 66, false},
    [RAD_TYPE_I2_S] = {i2_s, 32, false},
    [RAD_TYPE_TQ1_0] = {tq2_0, RAD_TQ1_0_CODES_BYTES, true},
    [RAD_TYPE_IQ3_XXS] = {iq3_codes, RAD_IQ3_CODES_BYTES, true},
    [RAD_TYPE_IQ3_S] = {iq3_codes, RAD_IQ3_CODES_BYTES, true},
    [RAD_TYPE_IQ2_XXS] = {iq2_xxs_codes, RAD_IQ2_XXS_CODES_BYTES, true},
    [RAD_TYPE_IQ2_XS] = {iq2_codes, RAD_IQ2_CODES_BYTES, true},
    [RAD_TYPE_IQ2_S] = {iq2_codes, RAD_IQ2_CODES_BYTES, true},
    [RAD_TYPE_IQ1_S] = {iq1_s_codes, RAD_IQ1_S_CODES_BYTES, true},
    [RAD_TYPE_IQ1_M] = {iq1_m_codes, RAD_IQ1_M_CODES_BYTES, true},
    RAD_FOR_AFFINE_FORMATS(AFFINE_FORM)};

const rad_lane_form *rad_lane_form_of(rad_type type)
{
    const size_t n = sizeof(forms) / sizeof(forms[0]);
    return (size_t)type < n && forms[type].fields != NULL ? &forms[type] : NULL;
}

bool rad_has_lane_layout(rad_type type, uint64_t n_columns)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    if (info != NULL && info->family == RAD_FAMILY_FLOAT)
        return n_columns % RAD_FLOAT_LANES == 0;
    return rad_lane_form_of(type) != NULL;
}

uint64_t rad_matrix_bytes(rad_type type, rad_layout layout, uint64_t n_rows, uint64_t n_columns)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    uint64_t bytes, block_bytes;
    if (info == NULL || n_columns % info->block_elements != 0)
        return 0;
    block_bytes = info->block_bytes;
    if (layout == RAD_LAYOUT_LANE) {
        const rad_lane_form *form = rad_lane_form_of(type);
        if (form != NULL)
            block_bytes = form->block_bytes;
        if (n_rows > UINT64_MAX - (RAD_LANE_ROWS - 1))
            return 0;
        n_rows = (n_rows + RAD_LANE_ROWS - 1) / RAD_LANE_ROWS * RAD_LANE_ROWS;
    }
    if (__builtin_mul_overflow(n_columns / info->block_elements, block_bytes, &bytes) ||
        __builtin_mul_overflow(bytes, n_rows, &bytes))
        return 0;
    return bytes;
}

uint64_t rad_lane_group_bytes(rad_type type, uint64_t n_columns)
{
    return rad_matrix_bytes(type, RAD_LAYOUT_LANE, RAD_LANE_ROWS, n_columns);
}

static uint32_t load_u32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, 4);
    return value;
}

static void store_u32(uint8_t *bytes, uint32_t value)
{
    memcpy(bytes, &value, 4);
}

/* The bit transposition works on the number that the four bytes spell in the file's order; on a
 * big-endian machine the words would need swapping, and the library does not build there. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the lane layout is written for little-endian machines"
#endif

void rad_lane_put_blocks(const rad_lane_field *fields, const uint8_t *rows, size_t row_stride,
                         uint32_t n_rows, uint8_t *group_block)
{
    for (; fields->n_words != 0; fields++) {
        size_t plane = (size_t)fields->word_bytes * RAD_LANE_ROWS;
        for (uint32_t row = 0; row < n_rows; row++) {
            const uint8_t *from = rows + row * row_stride + fields->offset;
            uint8_t *to = group_block + (size_t)row * fields->word_bytes;
            if (fields->word_bytes < 4)
                memcpy(to, from, fields->word_bytes);
            else
                for (uint32_t word = 0; word < fields->n_words; word++)
                    store_u32(to + word * plane,
                              rad_word_to_lane((rad_lane_change)fields->change,
                                               load_u32(from + 4 * (size_t)word)));
        }
        group_block += plane * fields->n_words;
    }
}

static uint32_t word_to_file(rad_lane_change change, uint32_t word)
{
    return change == RAD_LANE_BITS    ? rad_fifth_bits_to_file(word)
           : change == RAD_LANE_PAIRS ? rad_transpose_pairs(word)
                                      : word;
}

/* Copies one row's block out of a lane group's block. */
static void take_block(const rad_lane_field *field, const uint8_t *group_block, uint32_t row,
                       uint8_t *block)
{
    for (; field->n_words != 0; field++) {
        size_t plane = (size_t)field->word_bytes * RAD_LANE_ROWS;
        const uint8_t *from = group_block + (size_t)row * field->word_bytes;
        uint8_t *to = block + field->offset;
        if (field->word_bytes < 4)
            memcpy(to, from, field->word_bytes);
        else
            for (uint32_t word = 0; word < field->n_words; word++)
                store_u32(to + 4 * (size_t)word, word_to_file((rad_lane_change)field->change,
                                                              load_u32(from + word * plane)));
        group_block += plane * field->n_words;
    }
}

enum { BLOCK_BYTES_MAX = 256 };

void rad_lane_unpack_block(rad_type type, const uint8_t *group_block, uint32_t row, rad_block *out)
{
    uint8_t block[BLOCK_BYTES_MAX];
    const rad_lane_form *form = rad_lane_form_of(type);
    take_block(form->fields, group_block, row, block);
    if (form->is_recoded)
        rad_codes_unpack(type, block, out);
    else
        rad_type_find((uint32_t)type)->unpack(block, out);
}

/* The same as rad_lane_put_blocks(), of blocks that are written with codes first. */
static void put_recoded(rad_type type, const uint8_t *rows, size_t row_stride, uint32_t n_rows,
                        uint8_t *group_block)
{
    uint8_t codes[RAD_LANE_ROWS][BLOCK_BYTES_MAX];
    for (uint32_t row = 0; row < n_rows; row++) {
        rad_block block;
        rad_type_find((uint32_t)type)->unpack(rows + row * row_stride, &block);
        rad_codes_write(type, &block, codes[row]);
    }
    rad_lane_put_blocks(rad_lane_form_of(type)->fields, codes[0], BLOCK_BYTES_MAX, n_rows,
                        group_block);
}

/* Floats, `bytes` each (float_block.h). */
static void pack_floats(size_t bytes, uint32_t n_columns, const uint8_t *rows, uint32_t n_rows,
                        uint8_t *group)
{
    for (uint32_t row = 0; row < RAD_LANE_ROWS; row++)
        for (uint32_t column = 0; column < n_columns; column += RAD_FLOAT_LANES) {
            uint8_t *to = group + rad_float_lane_index(row, column, n_columns) * bytes;
            if (row < n_rows)
                memcpy(to, rows + ((size_t)row * n_columns + column) * bytes,
                       RAD_FLOAT_LANES * bytes);
            else
                memset(to, 0, RAD_FLOAT_LANES * bytes);
        }
}

void rad_pack_lane_group(rad_type type, uint32_t n_columns, const uint8_t *rows, uint32_t n_rows,
                         uint8_t *group)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const rad_lane_form *form = rad_lane_form_of(type);
    if (info != NULL && info->family == RAD_FAMILY_FLOAT)
        pack_floats(info->block_bytes, n_columns, rows, n_rows, group);
    if (info == NULL || form == NULL)
        return;
    uint32_t n_blocks = n_columns / info->block_elements;
    size_t row_bytes = (size_t)n_blocks * info->block_bytes;
    size_t group_block_bytes = (size_t)form->block_bytes * RAD_LANE_ROWS;
    if (n_rows < RAD_LANE_ROWS)
        memset(group, 0, group_block_bytes * n_blocks);
    for (uint32_t block = 0; block < n_blocks; block++) {
        const uint8_t *from = rows + (size_t)block * info->block_bytes;
        if (form->is_recoded)
            put_recoded(type, from, row_bytes, n_rows, group + block * group_block_bytes);
        else
            rad_lane_put_blocks(form->fields, from, row_bytes, n_rows,
                                group + block * group_block_bytes);
    }
}

static void decode_lane_row(const rad_matrix *w, const rad_type_info *info, uint32_t row,
                            float *values)
{
    if (info->family == RAD_FAMILY_FLOAT) {
        for (uint32_t i = 0; i < w->n_columns; i += RAD_FLOAT_LANES)
            info->decode(w->data + rad_float_lane_index(row, i, w->n_columns) * info->block_bytes,
                         values + i, RAD_FLOAT_LANES);
        return;
    }
    const rad_lane_form *form = rad_lane_form_of(w->type);
    const uint32_t n = info->block_elements;
    size_t group_bytes = (size_t)form->block_bytes * RAD_LANE_ROWS;
    const uint8_t *group = w->data + row / RAD_LANE_ROWS * (w->n_columns / n) * group_bytes;
    for (uint32_t i = 0; i < w->n_columns; i += n, group += group_bytes) {
        if (form->is_recoded) {
            rad_block block;
            rad_lane_unpack_block(w->type, group, row % RAD_LANE_ROWS, &block);
            rad_decode_unpacked(&block, info->family, values + i);
        } else {
            uint8_t block[BLOCK_BYTES_MAX];
            take_block(form->fields, group, row % RAD_LANE_ROWS, block);
            info->decode(block, values + i, n);
        }
    }
}

void rad_matrix_decode_row(const rad_matrix *w, uint32_t row, float *values)
{
    const rad_type_info *info = rad_type_find((uint32_t)w->type);
    if (info == NULL || info->decode == NULL)
        return;
    if (w->layout == RAD_LAYOUT_LANE) {
        decode_lane_row(w, info, row, values);
        return;
    }
    size_t row_bytes = (size_t)(w->n_columns / info->block_elements) * info->block_bytes;
    info->decode(w->data + row * row_bytes, values, w->n_columns);
}

#include "kernels/cpu/lane.h"

/* Scales first, then the quants; every field of a block exactly once. */
static const rad_lane_field q4_0[] = {{0, 2, 1, false}, {2, 4, 4, false}, {0, 0, 0, false}};
static const rad_lane_field q4_1[] = {
    {0, 2, 1, false}, {2, 2, 1, false}, {4, 4, 4, false}, {0, 0, 0, false}};
static const rad_lane_field q5_0[] = {
    {0, 2, 1, false}, {2, 4, 1, true}, {6, 4, 4, false}, {0, 0, 0, false}};
static const rad_lane_field q5_1[] = {
    {0, 2, 1, false}, {2, 2, 1, false}, {4, 4, 1, true}, {8, 4, 4, false}, {0, 0, 0, false}};
static const rad_lane_field q8_0[] = {{0, 2, 1, false}, {2, 4, 8, false}, {0, 0, 0, false}};
/* d, dmin, packed sub-scales (12 bytes), fifth bits of Q5_K, nibbles. */
static const rad_lane_field q4_k[] = {
    {0, 2, 1, false}, {2, 2, 1, false}, {4, 4, 3, false}, {16, 4, 32, false}, {0, 0, 0, false}};
static const rad_lane_field q5_k[] = {
    {0, 2, 1, false}, {2, 2, 1, false}, {4, 4, 3, false}, {16, 4, 40, false}, {0, 0, 0, false}};
/* d, sub-scales, nibbles, upper bits. */
static const rad_lane_field q6_k[] = {{208, 2, 1, false},
                                      {192, 4, 4, false},
                                      {0, 4, 32, false},
                                      {128, 4, 16, false},
                                      {0, 0, 0, false}};

/* d, dmin, sub-scales, quants. */
static const rad_lane_field q2_k[] = {
    {80, 2, 1, false}, {82, 2, 1, false}, {0, 4, 4, false}, {16, 4, 16, false}, {0, 0, 0, false}};
/* d, sub-scales, third bits, pairs of bits. */
static const rad_lane_field q3_k[] = {
    {108, 2, 1, false}, {96, 4, 3, false}, {0, 4, 8, false}, {32, 4, 16, false}, {0, 0, 0, false}};
/* d, upper and lower bits of sub-scales, codes. */
static const rad_lane_field iq4_xs[] = {
    {0, 2, 1, false}, {2, 2, 1, false}, {4, 4, 1, false}, {8, 4, 32, false}, {0, 0, 0, false}};
static const rad_lane_field mxfp4[] = {{0, 1, 1, false}, {1, 4, 4, false}, {0, 0, 0, false}};

const rad_lane_field *rad_lane_fields(rad_type type)
{
    switch (type) {
    case RAD_TYPE_Q4_0:
    case RAD_TYPE_IQ4_NL:
        return q4_0;
    case RAD_TYPE_Q4_1:
        return q4_1;
    case RAD_TYPE_Q5_0:
        return q5_0;
    case RAD_TYPE_Q5_1:
        return q5_1;
    case RAD_TYPE_Q8_0:
        return q8_0;
    case RAD_TYPE_Q4_K:
        return q4_k;
    case RAD_TYPE_Q5_K:
        return q5_k;
    case RAD_TYPE_Q6_K:
        return q6_k;
    case RAD_TYPE_Q2_K:
        return q2_k;
    case RAD_TYPE_Q3_K:
        return q3_k;
    case RAD_TYPE_IQ4_XS:
        return iq4_xs;
    case RAD_TYPE_MXFP4:
        return mxfp4;
    default:
        return NULL;
    }
}

bool rad_has_lane_layout(rad_type type)
{
    return rad_lane_fields(type) != NULL;
}

uint64_t rad_matrix_bytes(rad_type type, rad_layout layout, uint64_t n_rows, uint64_t n_columns)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    uint64_t bytes;
    if (info == NULL || n_columns % info->block_elements != 0)
        return 0;
    if (layout == RAD_LAYOUT_LANE) {
        if (n_rows > UINT64_MAX - (RAD_LANE_ROWS - 1))
            return 0;
        n_rows = (n_rows + RAD_LANE_ROWS - 1) / RAD_LANE_ROWS * RAD_LANE_ROWS;
    }
    if (__builtin_mul_overflow(n_columns / info->block_elements, (uint64_t)info->block_bytes,
                               &bytes) ||
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
            else if (fields->fifth_bits)
                store_u32(to, rad_fifth_bits_to_lane(load_u32(from)));
            else
                for (uint32_t word = 0; word < fields->n_words; word++)
                    memcpy(to + word * plane, from + 4 * (size_t)word, 4);
        }
        group_block += plane * fields->n_words;
    }
}

void rad_lane_take_block(rad_type type, const uint8_t *group_block, uint32_t row, uint8_t *block)
{
    const rad_lane_field *field = rad_lane_fields(type);
    if (field == NULL)
        return;
    for (; field->n_words != 0; field++) {
        size_t plane = (size_t)field->word_bytes * RAD_LANE_ROWS;
        const uint8_t *from = group_block + (size_t)row * field->word_bytes;
        for (uint32_t word = 0; word < field->n_words; word++)
            memcpy(block + field->offset + (size_t)word * field->word_bytes, from + word * plane,
                   field->word_bytes);
        if (field->fifth_bits)
            store_u32(block + field->offset,
                      rad_fifth_bits_to_file(load_u32(block + field->offset)));
        group_block += plane * field->n_words;
    }
}

void rad_pack_lane_group(rad_type type, uint32_t n_columns, const uint8_t *rows, uint32_t n_rows,
                         uint8_t *group)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const rad_lane_field *fields = rad_lane_fields(type);
    if (info == NULL || fields == NULL)
        return;
    uint32_t n_blocks = n_columns / info->block_elements;
    size_t row_bytes = (size_t)n_blocks * info->block_bytes;
    size_t group_block_bytes = (size_t)info->block_bytes * RAD_LANE_ROWS;
    if (n_rows < RAD_LANE_ROWS)
        memset(group, 0, group_block_bytes * n_blocks);
    for (uint32_t block = 0; block < n_blocks; block++)
        rad_lane_put_blocks(fields, rows + (size_t)block * info->block_bytes, row_bytes, n_rows,
                            group + block * group_block_bytes);
}

void rad_matrix_decode_row(const rad_matrix *w, uint32_t row, float *values)
{
    const rad_type_info *info = rad_type_find((uint32_t)w->type);
    if (info == NULL || info->decode == NULL)
        return;
    uint32_t n_blocks = w->n_columns / info->block_elements;
    size_t row_bytes = (size_t)n_blocks * info->block_bytes;
    if (w->layout == RAD_LAYOUT_FILE) {
        info->decode(w->data + row * row_bytes, values, w->n_columns);
        return;
    }
    const uint8_t *group = w->data + row / RAD_LANE_ROWS * (row_bytes * RAD_LANE_ROWS);
    for (uint32_t i = 0; i < n_blocks; i++) {
        uint8_t block[256];
        rad_lane_take_block(w->type, group + (size_t)i * info->block_bytes * RAD_LANE_ROWS,
                            row % RAD_LANE_ROWS, block);
        info->decode(block, values + (size_t)i * info->block_elements, info->block_elements);
    }
}

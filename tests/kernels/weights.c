#include "tests/kernels/weights.h"

#include <string.h>

#include "kernels/cpu/tables.h"

/* What the data of a matrix is aligned to: blocks of a file to the halves in them, lanes to a row's
 * word in each of 16. */
enum { FILE_ALIGNMENT = 2, LANE_ALIGNMENT = 4 };

const rad_type all_types[N_TYPES] = {
    RAD_TYPE_F32,     RAD_TYPE_F16,    RAD_TYPE_BF16,    RAD_TYPE_Q4_0,   RAD_TYPE_Q4_1,
    RAD_TYPE_Q5_0,    RAD_TYPE_Q5_1,   RAD_TYPE_Q8_0,    RAD_TYPE_Q4_K,   RAD_TYPE_Q5_K,
    RAD_TYPE_Q6_K,    RAD_TYPE_Q2_K,   RAD_TYPE_Q3_K,    RAD_TYPE_IQ4_NL, RAD_TYPE_IQ4_XS,
    RAD_TYPE_IQ1_S,   RAD_TYPE_IQ1_M,  RAD_TYPE_IQ2_XXS, RAD_TYPE_IQ2_XS, RAD_TYPE_IQ2_S,
    RAD_TYPE_IQ3_XXS, RAD_TYPE_IQ3_S,  RAD_TYPE_TQ1_0,   RAD_TYPE_TQ2_0,  RAD_TYPE_I2_S,
    RAD_TYPE_MXFP4,   RAD_TYPE_NVFP4,  RAD_TYPE_Q1_0,    RAD_TYPE_Q2_0,   RAD_TYPE_A2_32,
    RAD_TYPE_A3_32,   RAD_TYPE_A4_32,  RAD_TYPE_A5_32,   RAD_TYPE_A6_32,  RAD_TYPE_A8_32,
    RAD_TYPE_A2_128,  RAD_TYPE_A3_128, RAD_TYPE_A4_128,  RAD_TYPE_A5_128, RAD_TYPE_A6_128,
    RAD_TYPE_A8_128,  RAD_TYPE_NF4,    RAD_TYPE_FP4,     RAD_TYPE_FP8,    RAD_TYPE_INT8,
    RAD_TYPE_NF4_INT8};
const char *const content_names[N_CONTENTS] = {"normal",    "random bits", "ones", "zeros",
                                               "minus 128", "tiny",        "huge"};

/* ---- random blocks --------------------------------------------------------------------------- */

static uint16_t random_half(content kind)
{
    switch (kind) {
    case CONTENT_TINY:
        return (uint16_t)(random_bits() & 0x83ff);
    case CONTENT_HUGE:
        return (uint16_t)(0x7bff | (random_bits() & 0x8000));
    default:
        return rad_f32_to_f16(random_unit() * 0.02f);
    }
}

/* Where the F16 numbers of a block stand. */
static int half_offsets(rad_type type, int offsets[2])
{
    offsets[0] = 0;
    offsets[1] = 2;
    switch (type) {
    case RAD_TYPE_Q4_1:
    case RAD_TYPE_Q5_1:
    case RAD_TYPE_Q4_K:
    case RAD_TYPE_Q5_K:
        return 2;
    case RAD_TYPE_Q2_K:
        offsets[0] = 80;
        offsets[1] = 82;
        return 2;
    case RAD_TYPE_Q3_K:
        offsets[0] = 108;
        return 1;
    case RAD_TYPE_Q6_K:
        offsets[0] = 208;
        return 1;
    case RAD_TYPE_TQ1_0:
        offsets[0] = 52;
        return 1;
    case RAD_TYPE_TQ2_0:
        offsets[0] = 64;
        return 1;
    case RAD_TYPE_IQ1_M: /* the scales of these have other forms */
    case RAD_TYPE_MXFP4:
    case RAD_TYPE_NVFP4:
    case RAD_TYPE_I2_S:
        return 0;
    default:
        return 1;
    }
}

static void set_scales(rad_type type, content kind, uint8_t *block)
{
    if (type >= RAD_TYPE_A2_32 && type <= RAD_TYPE_A8_128) { /* F32 but for its lowest byte */
        float scale = rad_f16_to_f32(random_half(kind));
        uint32_t bits;
        memcpy(&bits, &scale, sizeof bits);
        for (int i = 1; i < 4; i++)
            block[i] = (uint8_t)(bits >> 8 * i);
        /* The zero is one of the quants; else it would be most of every weight. */
        const rad_type_info *info = rad_type_find((uint32_t)type);
        if (kind == CONTENT_NORMAL)
            block[0] &= (uint8_t)((1u << (info->block_bytes - 4) * 8 / info->block_elements) - 1);
        return;
    }
    int offsets[2], n = half_offsets(type, offsets);
    for (int i = 0; i < n; i++) {
        uint16_t half = random_half(kind);
        memcpy(block + offsets[i], &half, 2);
    }
    if (type == RAD_TYPE_IQ1_M) { /* the upper nibbles of four words */
        uint16_t half = random_half(kind);
        for (int i = 0; i < 4; i++)
            block[49 + 2 * i] = (uint8_t)((block[49 + 2 * i] & 15) | (half >> 4 * i & 15) << 4);
    } else if (type == RAD_TYPE_MXFP4) {
        uint32_t bits = random_bits();
        block[0] = (uint8_t)(kind == CONTENT_TINY   ? bits % 4
                             : kind == CONTENT_HUGE ? 252 + bits % 4
                                                    : 117 + bits % 8);
    }
}

float random_float(content kind)
{
    uint32_t bits;
    float value;
    switch (kind) {
    case CONTENT_RANDOM_BITS:
        bits = random_bits();
        memcpy(&value, &bits, sizeof(value));
        return value;
    case CONTENT_ALL_ONES:
        return 1.0f;
    case CONTENT_ALL_ZEROS:
        return random_bits() & 1 ? 0.0f : -0.0f;
    case CONTENT_MINUS_128:
        return -128.0f;
    case CONTENT_TINY:
        return random_unit() * 0x1p-130f;
    case CONTENT_HUGE:
        return random_bits() & 1 ? 3.4e38f : -3.4e38f;
    default:
        return random_unit();
    }
}

/* An F32 scale. */
static void set_scale(content kind, uint8_t *block)
{
    float scale = kind == CONTENT_TINY   ? random_unit() * 0x1p-130f
                  : kind == CONTENT_HUGE ? 0x1p118f
                                         : random_unit() * 0.02f;
    memcpy(block, &scale, sizeof scale);
}

void fill_weights(rad_type type, content kind, uint8_t *data, size_t size)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    if (info->block_elements == 1) {
        for (size_t i = 0; i < size / info->block_bytes; i++) {
            float value = random_float(kind);
            info->encode(&value, NULL, data + i * info->block_bytes, 1);
        }
        return;
    }
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(kind == CONTENT_ALL_ONES    ? 0xff
                            : kind == CONTENT_ALL_ZEROS ? 0
                            : kind == CONTENT_MINUS_128 ? 0x80
                                                        : random_bits());
    if (kind == CONTENT_RANDOM_BITS)
        return;
    for (size_t block = 0; block < size / info->block_bytes; block++) {
        if (info->family == RAD_FAMILY_SCALED || info->family == RAD_FAMILY_INT8)
            set_scale(kind, data + block * info->block_bytes);
        else
            set_scales(type, kind, data + block * info->block_bytes);
        if (info->family == RAD_FAMILY_INT8) /* one for a row */
            memcpy(data + block * info->block_bytes, data, sizeof(float));
    }
}

/* ---- matrices -------------------------------------------------------------------------------- */

input lanes_of(const rad_matrix *file)
{
    size_t group = (size_t)rad_lane_group_bytes(file->type, file->n_columns);
    size_t row = (size_t)rad_matrix_bytes(file->type, RAD_LAYOUT_FILE, 1, file->n_columns);
    size_t bytes =
        (size_t)rad_matrix_bytes(file->type, RAD_LAYOUT_LANE, file->n_rows, file->n_columns);
    output packed = output_new(bytes, 0);
    for (uint32_t first = 0; first < file->n_rows; first += RAD_LANE_ROWS) {
        uint32_t left = file->n_rows - first;
        rad_pack_lane_group(file->type, file->n_columns, file->data + first * row,
                            left < RAD_LANE_ROWS ? left : RAD_LANE_ROWS,
                            packed.data + first / RAD_LANE_ROWS * group);
    }
    expect_intact(&packed, "the lane groups");
    input lanes = input_new(bytes, LANE_ALIGNMENT);
    memcpy(lanes.data, packed.data, bytes);
    output_free(&packed);
    return lanes;
}

weights weights_new(rad_type type, content kind, uint32_t n_rows, uint32_t n_columns)
{
    size_t bytes = (size_t)rad_matrix_bytes(type, RAD_LAYOUT_FILE, n_rows, n_columns);
    weights w = {.file = {type, RAD_LAYOUT_FILE, n_rows, n_columns, NULL}};
    w.file_memory = input_new(bytes, FILE_ALIGNMENT);
    fill_weights(type, kind, w.file_memory.data, bytes);
    input_seal(&w.file_memory);
    w.file.data = w.file_memory.data;
    if (rad_has_lane_layout(type, n_columns)) {
        w.lane_memory = lanes_of(&w.file);
        input_seal(&w.lane_memory);
        w.lane = w.file;
        w.lane.layout = RAD_LAYOUT_LANE;
        w.lane.data = w.lane_memory.data;
    }
    return w;
}

void weights_free(weights *w)
{
    input_free(&w->file_memory);
    input_free(&w->lane_memory);
}

/* ---- activations ----------------------------------------------------------------------------- */

quantize_fn quantize_function(const table *of, rad_activation_kind kind)
{
    return kind == RAD_ACTIVATION_Q8_64    ? PRODUCT_KERNEL(of, quantize_q8_64)
           : kind == RAD_ACTIVATION_Q8_256 ? PRODUCT_KERNEL(of, quantize_q8_256)
           : kind == RAD_ACTIVATION_Q8_ROW ? PRODUCT_KERNEL(of, quantize_q8_row)
                                           : PRODUCT_KERNEL(of, quantize_q8_32);
}

/* Whether several tokens can be taken from tiles. */
static bool has_tiles(rad_activation_kind kind)
{
    return kind != RAD_ACTIVATION_F32 && kind != RAD_ACTIVATION_Q8_OUTLIERS;
}

rad_activations activations_of(activations *in, uint32_t n_tokens)
{
    rad_activations x = in->x;
    x.n_tokens = n_tokens;
    x.tiles = NULL;
    if (!has_tiles(x.kind))
        return x;
    if (in->tiles_tokens == n_tokens) {
        x.tiles = in->tiles.data;
        return x;
    }
    in->tiles_tokens = n_tokens;
    input_free(&in->tiles);
    size_t bytes = (size_t)rad_tiles_bytes(n_tokens, x.n_columns);
    output tiles = output_new(bytes, 4);
    for (uint32_t tile = 0; tile * RAD_TILE_TOKENS < n_tokens; tile++)
        rad_arrange_tile(&x, tile, tiles.data);
    expect_intact(&tiles, "the tiles");
    in->tiles = input_new(bytes, sizeof(float));
    memcpy(in->tiles.data, tiles.data, bytes);
    input_seal(&in->tiles);
    output_free(&tiles);
    x.tiles = in->tiles.data;
    return x;
}

activations activations_new(rad_type type, content kind, uint32_t n_tokens, uint32_t n_columns,
                            float threshold)
{
    const table scalar = {"scalar", &rad_kernels_scalar, &rad_layer_kernels_scalar};
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const rad_activation_kind as = info->activation;
    const uint32_t block = rad_activation_block(as, n_columns);
    const size_t n = (size_t)n_tokens * n_columns;
    activations in = {.x = {.kind = as, .n_tokens = n_tokens, .n_columns = n_columns}};
    in.values = input_new(n * 4, 4);
    float *values = floats_of(in.values.data);
    for (size_t i = 0; i < n; i++)
        values[i] = random_float(kind);
    input_seal(&in.values);
    in.x.values = values;
    in.x.threshold = threshold;
    if (as == RAD_ACTIVATION_F32)
        return in;
    in.quants = input_new(n, 1);
    in.scales = input_new(n / block * 4, 4);
    in.sums = input_new(n / 16 * 2, 2);
    int8_t *quants = (int8_t *)in.quants.data;
    float *scales = floats_of(in.scales.data);
    int16_t *sums = (int16_t *)(void *)in.sums.data;
    for (uint32_t t = 0; t < n_tokens; t++) {
        size_t at = (size_t)t * n_columns;
        if (as == RAD_ACTIVATION_Q8_OUTLIERS)
            rad_quantize_q8_outliers(values + at, n_columns, threshold, quants + at, scales + t);
        else
            quantize_function(&scalar, as)(values + at, n_columns, quants + at, scales + at / block,
                                           sums + at / 16);
    }
    input_seal(&in.quants);
    input_seal(&in.scales);
    input_seal(&in.sums);
    in.x.quants = quants;
    in.x.scales = scales;
    in.x.sums = sums;
    return in;
}

void activations_free(activations *in)
{
    input_free(&in->values);
    input_free(&in->quants);
    input_free(&in->scales);
    input_free(&in->sums);
    input_free(&in->tiles);
}

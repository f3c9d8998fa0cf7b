#include "backend/cuda/layout.h"

#include <string.h>

#include "quant/codes.h"

/* A form is {elements and bytes of a block, bytes of a row's chunk, number of fields, fields}; a
 * field {offset, part, parts, stride, section}. Sections of 16 bytes come first. */
#define FIELD(offset, part, section)                                                               \
    {                                                                                              \
        offset, part, 1, 0, section                                                                \
    }

#define TERNARY                                                                                    \
    {                                                                                              \
        256, 66, 66, 2,                                                                            \
        {                                                                                          \
            FIELD(0, 64, 16), FIELD(64, 2, 2)                                                      \
        }                                                                                          \
    }
#define IQ3                                                                                        \
    {                                                                                              \
        256, RAD_IQ3_CODES_BYTES, 134, 3,                                                          \
        {                                                                                          \
            FIELD(6, 128, 16), FIELD(2, 4, 4), FIELD(0, 2, 2)                                      \
        }                                                                                          \
    }
#define IQ2                                                                                        \
    {                                                                                              \
        256, RAD_IQ2_CODES_BYTES, 106, 4,                                                          \
        {                                                                                          \
            FIELD(42, 64, 16), FIELD(10, 32, 16), FIELD(2, 8, 8), FIELD(0, 2, 2)                   \
        }                                                                                          \
    }

static const rad_cuda_form forms[] = {
    [RAD_TYPE_Q4_0] = {32, 18, 144, 2, {FIELD(2, 16, 16), FIELD(0, 2, 16)}},
    [RAD_TYPE_Q4_1] = {32, 20, 160, 2, {FIELD(4, 16, 16), FIELD(0, 4, 16)}},
    [RAD_TYPE_Q5_0] = {32, 22, 176, 3, {FIELD(6, 16, 16), FIELD(2, 4, 16), FIELD(0, 2, 16)}},
    [RAD_TYPE_Q5_1] = {32, 24, 192, 3, {FIELD(8, 16, 16), FIELD(4, 4, 16), FIELD(0, 4, 16)}},
    [RAD_TYPE_Q8_0] = {32, 34, 272, 2, {FIELD(2, 32, 16), FIELD(0, 2, 16)}},
    [RAD_TYPE_Q4_K] = {256, 144, 144, 2, {FIELD(16, 128, 16), FIELD(0, 16, 16)}},
    [RAD_TYPE_Q5_K] = {256, 176, 176, 3, {FIELD(48, 128, 16), FIELD(16, 32, 16), FIELD(0, 16, 16)}},
    [RAD_TYPE_Q6_K] = {256,
                       210,
                       210,
                       4,
                       {FIELD(0, 128, 16), FIELD(128, 64, 16), FIELD(192, 16, 16),
                        FIELD(208, 2, 2)}},
    [RAD_TYPE_Q2_K] = {256, 84, 84, 3, {FIELD(16, 64, 16), FIELD(0, 16, 16), FIELD(80, 4, 4)}},
    [RAD_TYPE_Q3_K] = {256, 110, 110, 3, {FIELD(0, 96, 16), FIELD(96, 12, 4), FIELD(108, 2, 2)}},
    [RAD_TYPE_IQ4_NL] = {32, 18, 144, 2, {FIELD(2, 16, 16), FIELD(0, 2, 16)}},
    [RAD_TYPE_IQ4_XS] = {256, 136, 136, 2, {FIELD(8, 128, 16), FIELD(0, 8, 8)}},
    [RAD_TYPE_MXFP4] = {32, 17, 136, 2, {FIELD(1, 16, 16), FIELD(0, 1, 8)}},
    [RAD_TYPE_NVFP4] = {64, 36, 144, 2, {FIELD(4, 32, 16), FIELD(0, 4, 16)}},
    [RAD_TYPE_Q1_0] = {128, 18, 36, 2, {FIELD(2, 16, 16), FIELD(0, 2, 4)}},
    [RAD_TYPE_Q2_0] = {64, 18, 72, 2, {FIELD(2, 16, 16), FIELD(0, 2, 8)}},
    [RAD_TYPE_TQ2_0] = TERNARY,
    [RAD_TYPE_TQ1_0] = TERNARY,
    [RAD_TYPE_I2_S] = {128, 32, 64, 1, {FIELD(0, 32, 16)}},
    [RAD_TYPE_INT8] = {64, 68, 272, 2, {FIELD(4, 64, 16), FIELD(0, 4, 16)}},
    [RAD_TYPE_IQ3_XXS] = IQ3,
    [RAD_TYPE_IQ3_S] = IQ3,
    [RAD_TYPE_IQ2_XXS] = {256,
                          RAD_IQ2_XXS_CODES_BYTES,
                          102,
                          4,
                          {FIELD(38, 64, 16), FIELD(6, 32, 16), FIELD(2, 4, 4), FIELD(0, 2, 2)}},
    [RAD_TYPE_IQ2_XS] = IQ2,
    [RAD_TYPE_IQ2_S] = IQ2,
    [RAD_TYPE_IQ1_M] = {256,
                        RAD_IQ1_M_CODES_BYTES,
                        78,
                        4,
                        {FIELD(14, 64, 16), FIELD(2, 8, 8), FIELD(10, 4, 4), FIELD(0, 2, 2)}},
    [RAD_TYPE_IQ1_S] =
        {256, RAD_IQ1_S_CODES_BYTES, 70, 3, {FIELD(6, 64, 16), FIELD(2, 4, 4), FIELD(0, 2, 2)}},
    [RAD_TYPE_A2_32] = {32, 12, 96, 2, {FIELD(4, 8, 16), FIELD(0, 4, 16)}},
    [RAD_TYPE_A3_32] = {32, 16, 128, 3, {FIELD(4, 8, 16), FIELD(12, 4, 16), FIELD(0, 4, 16)}},
    [RAD_TYPE_A4_32] = {32, 20, 160, 2, {FIELD(4, 16, 16), FIELD(0, 4, 16)}},
    [RAD_TYPE_A5_32] = {32, 24, 192, 3, {FIELD(4, 16, 16), FIELD(20, 4, 16), FIELD(0, 4, 16)}},
    [RAD_TYPE_A6_32] = {32, 28, 224, 3, {FIELD(4, 16, 16), FIELD(20, 8, 16), FIELD(0, 4, 16)}},
    [RAD_TYPE_A8_32] = {32, 36, 288, 2, {FIELD(4, 32, 16), FIELD(0, 4, 16)}},
    [RAD_TYPE_A2_128] = {128, 36, 72, 2, {{4, 8, 4, 8, 16}, FIELD(0, 4, 8)}},
    [RAD_TYPE_A3_128] = {128, 52, 104, 3, {{4, 8, 4, 12, 16}, {12, 4, 4, 12, 16}, FIELD(0, 4, 8)}},
    [RAD_TYPE_A4_128] = {128, 68, 136, 2, {{4, 16, 4, 16, 16}, FIELD(0, 4, 8)}},
    [RAD_TYPE_A5_128] = {128, 84, 168, 3, {{4, 16, 4, 20, 16}, {20, 4, 4, 20, 16}, FIELD(0, 4, 8)}},
    [RAD_TYPE_A6_128] =
        {128, 100, 200, 3, {{4, 16, 4, 24, 16}, {20, 8, 4, 24, 16}, FIELD(0, 4, 8)}},
    [RAD_TYPE_A8_128] = {128, 132, 264, 2, {{4, 32, 4, 32, 16}, FIELD(0, 4, 8)}},
};

const rad_cuda_form *rad_cuda_form_of(rad_type type)
{
    const size_t n = sizeof forms / sizeof forms[0];
    return (size_t)type < n && forms[type].n_fields > 0 ? &forms[type] : NULL;
}

static uint64_t chunks_of(uint64_t n_columns)
{
    return n_columns / RAD_CUDA_CHUNK + (n_columns % RAD_CUDA_CHUNK != 0);
}

uint64_t rad_cuda_matrix_bytes(rad_type type, uint64_t n_rows, uint64_t n_columns)
{
    const rad_cuda_form *form = rad_cuda_form_of(type);
    uint64_t bytes, groups = n_rows / RAD_CUDA_GROUP_ROWS + (n_rows % RAD_CUDA_GROUP_ROWS != 0);
    if (form == NULL || n_columns % form->block_elements != 0 ||
        __builtin_mul_overflow(chunks_of(n_columns),
                               (uint64_t)form->chunk_bytes * RAD_CUDA_GROUP_ROWS, &bytes) ||
        __builtin_mul_overflow(bytes, groups, &bytes))
        return 0;
    return bytes;
}

uint64_t rad_cuda_tiles_bytes(uint64_t n_tokens, uint64_t n_columns)
{
    uint64_t bytes;
    if (__builtin_mul_overflow(chunks_of(n_columns), (uint64_t)RAD_CUDA_TILE_BYTES, &bytes) ||
        __builtin_mul_overflow(bytes, n_tokens, &bytes))
        return 0;
    return bytes;
}

bool rad_cuda_is_recoded(rad_type type)
{
    return type == RAD_TYPE_TQ1_0 || rad_code_form_find(type) != NULL;
}

void rad_cuda_recode(rad_type type, const uint8_t *blocks, size_t n_blocks, uint8_t *out)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const rad_cuda_form *form = rad_cuda_form_of(type);
    for (size_t i = 0; i < n_blocks; i++) {
        rad_block block;
        info->unpack(blocks + i * info->block_bytes, &block);
        rad_codes_write(type, &block, out + i * form->block_bytes);
    }
}

/* One field of one chunk of a row: the bytes of the blocks that are there, cut into sections. */
static void pack_field(const rad_cuda_field *field, uint32_t block_bytes, const uint8_t *blocks,
                       uint32_t n_blocks, uint32_t row, uint8_t *sections)
{
    uint32_t at = 0;
    for (uint32_t b = 0; b < n_blocks; b++, blocks += block_bytes) {
        for (uint32_t p = 0; p < field->parts; p++) {
            const uint8_t *part = blocks + field->offset + p * field->stride;
            for (uint32_t i = 0; i < field->part; i++, at++)
                sections[(at / field->section * RAD_CUDA_GROUP_ROWS + row) * field->section +
                         at % field->section] = part[i];
        }
    }
}

void rad_cuda_pack_group(const rad_cuda_form *form, const uint8_t *blocks, uint32_t n_rows,
                         uint32_t n_columns, uint8_t *group)
{
    const uint32_t per_chunk = RAD_CUDA_CHUNK / form->block_elements;
    const uint32_t n_blocks = n_columns / form->block_elements;
    const size_t chunk_bytes = (size_t)form->chunk_bytes * RAD_CUDA_GROUP_ROWS;
    memset(group, 0, chunk_bytes * chunks_of(n_columns));
    for (uint32_t row = 0; row < n_rows; row++) {
        const uint8_t *from = blocks + (size_t)row * n_blocks * form->block_bytes;
        uint8_t *chunk = group;
        for (uint32_t b = 0; b < n_blocks; b += per_chunk, chunk += chunk_bytes) {
            uint32_t n = n_blocks - b < per_chunk ? n_blocks - b : per_chunk;
            uint8_t *sections = chunk;
            for (uint32_t f = 0; f < form->n_fields; f++) {
                const rad_cuda_field *field = &form->fields[f];
                pack_field(field, form->block_bytes, from + (size_t)b * form->block_bytes, n, row,
                           sections);
                sections += (size_t)per_chunk * field->part * field->parts * RAD_CUDA_GROUP_ROWS;
            }
        }
    }
}

/* ---- launches of products ---------------------------------------------------------
 */

typedef struct format_kernels {
    const rad_cuda_kernel *few, *some, *many;
    uint32_t n_words;    /* of a thread in shared memory, for few tokens */
    uint32_t some_bytes; /* of a block in shared memory, for some tokens */
} format_kernels;

typedef enum format {
#define NUMBER(name, n_sums, n_header) FORMAT_##name,
    RAD_CUDA_FOR_FORMATS(NUMBER)
#undef NUMBER
} format;

static const format_kernels kernels[] = {
#define KERNELS(name, n_sums, n_header)                                                            \
    {&rad_cuda_kernel_few_##name, &rad_cuda_kernel_some_##name, &rad_cuda_kernel_many_##name,      \
     n_sums + n_header, RAD_CUDA_SOME_BYTES(n_sums, n_header)},
    RAD_CUDA_FOR_FORMATS(KERNELS)
#undef KERNELS
};

static const rad_cuda_kernel *const normed[sizeof kernels / sizeof kernels[0]] = {
#define NORMED(name, n_sums, n_header) [FORMAT_##name] = &rad_cuda_kernel_normed_##name,
    RAD_CUDA_FOR_NORMED_FORMATS(NORMED)
#undef NORMED
};

typedef struct pair {
    uint8_t format, values;
    const rad_cuda_kernel *kernel;
} pair;

static const pair pairs[] = {
#define PAIR(name, values)                                                                         \
    {FORMAT_##name, FORMAT_##values, &rad_cuda_kernel_normed_##name##_##values},
    RAD_CUDA_FOR_NORMED_PAIRS(PAIR)
#undef PAIR
};

/* One more than the format; 0: none. */
static const uint8_t formats[] = {
    [RAD_TYPE_Q4_0] = FORMAT_q4_0 + 1,       [RAD_TYPE_Q4_1] = FORMAT_q4_1 + 1,
    [RAD_TYPE_Q5_0] = FORMAT_q5_0 + 1,       [RAD_TYPE_Q5_1] = FORMAT_q5_1 + 1,
    [RAD_TYPE_Q8_0] = FORMAT_q8_0 + 1,       [RAD_TYPE_IQ4_NL] = FORMAT_iq4_nl + 1,
    [RAD_TYPE_MXFP4] = FORMAT_mxfp4 + 1,     [RAD_TYPE_NVFP4] = FORMAT_nvfp4 + 1,
    [RAD_TYPE_Q1_0] = FORMAT_q1_0 + 1,       [RAD_TYPE_Q2_0] = FORMAT_q2_0 + 1,
    [RAD_TYPE_Q4_K] = FORMAT_q4_k + 1,       [RAD_TYPE_Q5_K] = FORMAT_q5_k + 1,
    [RAD_TYPE_Q6_K] = FORMAT_q6_k + 1,       [RAD_TYPE_Q2_K] = FORMAT_q2_k + 1,
    [RAD_TYPE_Q3_K] = FORMAT_q3_k + 1,       [RAD_TYPE_IQ4_XS] = FORMAT_iq4_xs + 1,
    [RAD_TYPE_IQ3_XXS] = FORMAT_iq3_xxs + 1, [RAD_TYPE_IQ3_S] = FORMAT_iq3_s + 1,
    [RAD_TYPE_IQ2_XXS] = FORMAT_iq2_xxs + 1, [RAD_TYPE_IQ2_S] = FORMAT_iq2_s + 1,
    [RAD_TYPE_IQ2_XS] = FORMAT_iq2_s + 1,    [RAD_TYPE_IQ1_M] = FORMAT_iq1_m + 1,
    [RAD_TYPE_IQ1_S] = FORMAT_iq1_s + 1,     [RAD_TYPE_TQ2_0] = FORMAT_tq2_0 + 1,
    [RAD_TYPE_TQ1_0] = FORMAT_tq2_0 + 1,     [RAD_TYPE_I2_S] = FORMAT_i2_s + 1,
    [RAD_TYPE_INT8] = FORMAT_int8 + 1,       [RAD_TYPE_A2_32] = FORMAT_a2_32 + 1,
    [RAD_TYPE_A3_32] = FORMAT_a3_32 + 1,     [RAD_TYPE_A4_32] = FORMAT_a4_32 + 1,
    [RAD_TYPE_A5_32] = FORMAT_a5_32 + 1,     [RAD_TYPE_A6_32] = FORMAT_a6_32 + 1,
    [RAD_TYPE_A8_32] = FORMAT_a8_32 + 1,     [RAD_TYPE_A2_128] = FORMAT_a2_128 + 1,
    [RAD_TYPE_A3_128] = FORMAT_a3_128 + 1,   [RAD_TYPE_A4_128] = FORMAT_a4_128 + 1,
    [RAD_TYPE_A5_128] = FORMAT_a5_128 + 1,   [RAD_TYPE_A6_128] = FORMAT_a6_128 + 1,
    [RAD_TYPE_A8_128] = FORMAT_a8_128 + 1,
};

static const format_kernels *kernels_of(rad_type type)
{
    return (size_t)type < sizeof formats && formats[type] != 0 ? &kernels[formats[type] - 1] : NULL;
}

const rad_cuda_kernel *rad_cuda_few_kernel(rad_type type)
{
    const format_kernels *of = kernels_of(type);
    return of != NULL ? of->few : NULL;
}

const rad_cuda_kernel *rad_cuda_many_kernel(rad_type type)
{
    const format_kernels *of = kernels_of(type);
    return of != NULL ? of->many : NULL;
}

rad_cuda_few_launch rad_cuda_some_launch(rad_type type)
{
    const format_kernels *of = kernels_of(type);
    rad_cuda_few_launch launch = {NULL, 0, 0, 0};
    if (of != NULL)
        launch = (rad_cuda_few_launch){of->some, 4, of->some_bytes, (uint32_t)RAD_CUDA_SOME_TOKENS};
    return launch;
}

rad_cuda_few_launch rad_cuda_few_choose(rad_type type, uint64_t n_rows, uint32_t n_columns,
                                        uint32_t n_tokens, const rad_cuda_properties *properties)
{
    rad_cuda_few_launch launch = rad_cuda_some_launch(type);
    if (n_tokens > 1 && launch.kernel != NULL && launch.shared_bytes <= properties->shared_bytes)
        return launch;
    launch.kernel = rad_cuda_few_kernel(type);
    launch.rows_log2 = rad_cuda_few_rows_log2(type, n_rows, n_columns, properties->multiprocessors);
    launch.shared_bytes = rad_cuda_few_shared_bytes(type, launch.rows_log2);
    launch.n_tokens = RAD_CUDA_PRODUCT_TOKENS;
    return launch;
}

/* Words, scales and sums, tiles, all twice. */
uint32_t rad_cuda_few_shared_bytes(rad_type type, uint32_t rows_log2)
{
    const format_kernels *of = kernels_of(type);
    const uint32_t n_slots = 256u >> rows_log2;
    return of == NULL ? 0 : 2 * (of->n_words * 1024 + n_slots * (64 + RAD_CUDA_TILE_BYTES + 16));
}

static const rad_cuda_kernel *normed_kernel(rad_type type, rad_type last)
{
    const format_kernels *of = kernels_of(type), *values = kernels_of(last);
    if (of == NULL || values == NULL || type == last)
        return of != NULL && type == last ? normed[of - kernels] : NULL;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (&kernels[pairs[i].format] == of && &kernels[pairs[i].values] == values)
            return pairs[i].kernel;
    return NULL;
}

rad_cuda_few_launch rad_cuda_normed_launch(rad_type type, rad_type last, uint32_t n_columns,
                                           rad_cuda_few_launch few)
{
    uint32_t others = few.shared_bytes, row = n_columns * 4;
    uint32_t of_last = rad_cuda_few_shared_bytes(last, few.rows_log2);
    others = of_last > others ? of_last : others;
    few.kernel = normed_kernel(type, last);
    few.shared_bytes =
        (row > others ? row : others) + (uint32_t)chunks_of(n_columns) * (RAD_CUDA_TILE_BYTES + 16);
    few.n_tokens = 1;
    return few;
}

/* At least one and a half blocks for each multiprocessor, where there are columns for all warps: a
 * block of more rows reads the activations for more of them. (With 32 rows only where there are
 * four blocks for each multiprocessor 14,336 x 4,096 in Q4_0 took 16.2 us on an H100, and 13.1 us
 * so.) */
uint32_t rad_cuda_few_rows_log2(rad_type type, uint64_t n_rows, uint32_t n_columns,
                                uint32_t multiprocessors)
{
    uint32_t rows_log2 = 5;
    while (rows_log2 > 3 && (n_rows >> rows_log2) < 3 * (uint64_t)multiprocessors / 2 &&
           rad_cuda_few_shared_bytes(type, rows_log2 - 1) <= 48 * 1024 &&
           (128u >> rows_log2) < chunks_of(n_columns))
        rows_log2--;
    return rows_log2;
}

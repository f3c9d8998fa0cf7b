/* The kernel table of one instruction set: instances of the templates for each format and tile
 * size, and the loops over rows, columns and tokens around them. The file that includes this
 * defines TABLE_NAME, TABLE_ISA, TABLE_TEXT and TABLE_LAYER. */
#ifndef RAD_X86_TABLE_H
#define RAD_X86_TABLE_H

#include "kernels/cpu/x86/float_product.h"
#include "kernels/cpu/x86/product.h"
#include "kernels/cpu/x86/quantize.h"

typedef void (*tile_fn)(const void *weights, uint32_t n_blocks, const tile_input *x, float *acc);
typedef void (*unpack_fn)(const uint8_t *lanes, uint32_t n_blocks, void *panel);

typedef struct format_kernels {
    tile_fn direct[TILE_TOKENS]; /* for 1, 2, ... tokens */
    tile_fn panel[TILE_TOKENS];
    unpack_fn unpack;
} format_kernels;

#define TILE(type, shape, source, is_panel, n)                                                     \
    static void source##_##type##_##n(const void *weights, uint32_t n_blocks, const tile_input *x, \
                                      float *acc)                                                  \
    {                                                                                              \
        shape##_tile(RAD_TYPE_##type, is_panel, n, weights, n_blocks, x, acc);                     \
    }

#if TILE_TOKENS == 4
#define TILES(type, shape, source, is_panel)                                                       \
    TILE(type, shape, source, is_panel, 1)                                                         \
    TILE(type, shape, source, is_panel, 2)                                                         \
    TILE(type, shape, source, is_panel, 3)                                                         \
    TILE(type, shape, source, is_panel, 4)
#define TILE_LIST(type, source)                                                                    \
    {                                                                                              \
        source##_##type##_1, source##_##type##_2, source##_##type##_3, source##_##type##_4         \
    }
#else
#error "TILES is written for tiles of 4 tokens"
#endif

#define BLOCK_FORMAT(type)                                                                         \
    TILES(type, block, direct, false)                                                              \
    TILES(type, block, panel, true)                                                                \
    static void unpack_##type(const uint8_t *lanes, uint32_t n_blocks, void *panel)                \
    {                                                                                              \
        unpack_blocks(RAD_TYPE_##type, lanes, n_blocks, panel);                                    \
    }

#define SUPER_FORMAT(type)                                                                         \
    TILES(type, super, direct, false)                                                              \
    TILES(type, super, panel, true)                                                                \
    static void unpack_##type(const uint8_t *lanes, uint32_t n_blocks, void *panel)                \
    {                                                                                              \
        (void)n_blocks;                                                                            \
        unpack_super(RAD_TYPE_##type, lanes, panel);                                               \
    }

#define FORMAT_ENTRY(type)                                                                         \
    [RAD_TYPE_##type] = {TILE_LIST(type, direct), TILE_LIST(type, panel), unpack_##type}

BLOCK_FORMAT(Q4_0)
BLOCK_FORMAT(Q4_1)
BLOCK_FORMAT(Q5_0)
BLOCK_FORMAT(Q5_1)
BLOCK_FORMAT(Q8_0)
SUPER_FORMAT(Q4_K)
SUPER_FORMAT(Q5_K)
SUPER_FORMAT(Q6_K)

static const format_kernels formats[] = {
    FORMAT_ENTRY(Q4_0), FORMAT_ENTRY(Q4_1), FORMAT_ENTRY(Q5_0), FORMAT_ENTRY(Q5_1),
    FORMAT_ENTRY(Q8_0), FORMAT_ENTRY(Q4_K), FORMAT_ENTRY(Q5_K), FORMAT_ENTRY(Q6_K),
};

/* What a product keeps in its scratch memory. */
typedef struct product_scratch {
    float acc[TOKEN_BLOCK][16];
    union {
        block_panel blocks;
        super_panel super;
    } panel;
    uint8_t lanes[CHUNK_COLUMNS / 32 * 34 * RAD_LANE_ROWS]; /* a chunk of Q8_0, the largest */
} product_scratch;

/* A product in flight: the matrix and the activations, with what follows from them. */
typedef struct product_job {
    const rad_matrix *w;
    const rad_activations *x;
    const format_kernels *format;
    const rad_type_info *info;
    const rad_lane_field *fields;
    size_t row_bytes;
    uint32_t n_blocks;       /* of a row */
    uint32_t blocks_a_chunk; /* of a chunk of columns */
    product_scratch *scratch;
} product_job;

/* Packs a chunk of up to 16 rows from the file's layout into lanes. */
static void pack_chunk(const product_job *job, uint32_t row, uint32_t block, uint32_t n_blocks)
{
    uint32_t n_rows = job->w->n_rows - row;
    const uint8_t *rows = job->w->data + row * job->row_bytes;
    uint8_t *out = job->scratch->lanes;
    size_t block_bytes = job->info->block_bytes;
    if (n_rows < RAD_LANE_ROWS)
        memset(out, 0, n_blocks * block_bytes * RAD_LANE_ROWS);
    for (uint32_t b = block; b < block + n_blocks; b++, out += block_bytes * RAD_LANE_ROWS) {
        if (n_rows >= RAD_LANE_ROWS)
            pack_full_block(job->fields, rows + b * block_bytes, job->row_bytes, out);
        else
            rad_lane_put_blocks(job->fields, rows + b * block_bytes, job->row_bytes, n_rows, out);
    }
}

/* The lanes of n_blocks blocks from `block` on, of the 16 rows from `row`. */
static const uint8_t *lane_chunk(const product_job *job, uint32_t row, uint32_t block,
                                 uint32_t n_blocks)
{
    if (job->w->layout == RAD_LAYOUT_LANE)
        return job->w->data + row * job->row_bytes +
               (size_t)block * job->info->block_bytes * RAD_LANE_ROWS;
    pack_chunk(job, row, block, n_blocks);
    return job->scratch->lanes;
}

static tile_input input_at(const product_job *job, uint32_t token, uint32_t block)
{
    tile_input input = {.quant_stride = job->w->n_columns,
                        .scale_stride = job->n_blocks,
                        .sum_stride = job->w->n_columns / 16};
    size_t column = (size_t)block * job->info->block_elements;
    input.quants = job->x->quants + token * input.quant_stride + column;
    input.scales = job->x->scales + token * input.scale_stride + block;
    input.sums = job->x->sums + token * input.sum_stride + column / 16;
    return input;
}

/* Sums of at most TILE_TOKENS tokens, straight from the lanes. */
static void multiply_direct(const product_job *job, uint32_t row, uint32_t token, uint32_t n)
{
    /* A lane matrix is one stretch of memory; file rows pass through the chunk in scratch. */
    uint32_t step = job->w->layout == RAD_LAYOUT_LANE ? job->n_blocks : job->blocks_a_chunk;
    for (uint32_t block = 0; block < job->n_blocks; block += step) {
        uint32_t n_blocks = job->n_blocks - block < step ? job->n_blocks - block : step;
        tile_input input = input_at(job, token, block);
        job->format->direct[n - 1](lane_chunk(job, row, block, n_blocks), n_blocks, &input,
                                   job->scratch->acc[0]);
    }
}

/* Sums of up to TOKEN_BLOCK tokens through unpacked panels. */
static void multiply_panels(const product_job *job, uint32_t row, uint32_t token, uint32_t n)
{
    uint32_t step = job->blocks_a_chunk;
    for (uint32_t block = 0; block < job->n_blocks; block += step) {
        uint32_t n_blocks = job->n_blocks - block < step ? job->n_blocks - block : step;
        job->format->unpack(lane_chunk(job, row, block, n_blocks), n_blocks, &job->scratch->panel);
        for (uint32_t t = 0; t < n; t += TILE_TOKENS) {
            uint32_t tile = n - t < TILE_TOKENS ? n - t : TILE_TOKENS;
            tile_input input = input_at(job, token + t, block);
            job->format->panel[tile - 1](&job->scratch->panel, n_blocks, &input,
                                         job->scratch->acc[t]);
        }
    }
}

static void product_quantized(const product_job *job, uint32_t first_row, uint32_t last_row,
                              uint32_t first_token, uint32_t last_token, float *y, size_t y_stride)
{
    /* The activations of a block of tokens stay in the second-level cache while the rows pass. */
    for (uint32_t token = first_token; token < last_token; token += TOKEN_BLOCK) {
        uint32_t n = last_token - token < TOKEN_BLOCK ? last_token - token : TOKEN_BLOCK;
        for (uint32_t row = first_row; row < last_row; row += RAD_LANE_ROWS) {
            size_t n_rows = last_row - row < RAD_LANE_ROWS ? last_row - row : RAD_LANE_ROWS;
            memset(job->scratch->acc, 0, n * sizeof(job->scratch->acc[0]));
            if (n <= TILE_TOKENS)
                multiply_direct(job, row, token, n);
            else
                multiply_panels(job, row, token, n);
            for (uint32_t t = 0; t < n; t++)
                memcpy(y + (token + t) * y_stride + row, job->scratch->acc[t],
                       n_rows * sizeof(float));
        }
    }
}

static void product(const rad_matrix *w, const rad_activations *x, uint32_t first_row,
                    uint32_t last_row, uint32_t first_token, uint32_t last_token, float *y,
                    size_t y_stride, void *scratch)
{
    const rad_type_info *info = rad_type_find((uint32_t)w->type);
    if (info == NULL || info->family == RAD_FAMILY_NONE)
        return;
    if (info->family == RAD_FAMILY_FLOAT) {
        product_float(w, x, first_row, last_row, first_token, last_token, y, y_stride, scratch);
        return;
    }
    product_job job = {.w = w,
                       .x = x,
                       .format = &formats[w->type],
                       .info = info,
                       .fields = rad_lane_fields(w->type),
                       .n_blocks = w->n_columns / info->block_elements,
                       .blocks_a_chunk = CHUNK_COLUMNS / info->block_elements,
                       .scratch = scratch};
    job.row_bytes = (size_t)job.n_blocks * info->block_bytes;
    product_quantized(&job, first_row, last_row, first_token, last_token, y, y_stride);
}

const rad_kernels TABLE_NAME = {
    .isa = TABLE_ISA,
    .name = TABLE_TEXT,
    .quantize_q8_32 = quantize_q8_32,
    .quantize_q8_256 = quantize_q8_256,
    .product = product,
    .layer = TABLE_LAYER,
};

#endif

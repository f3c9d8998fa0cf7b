/* Quantized matrix products on x86, written once in the 16-lane operations of vector_*.h and
 * compiled for each instruction set. A lane is a row of the weights, so nothing is added across
 * lanes; kernels.h defines the arithmetic.
 *
 * Few tokens: weights are read in the lane layout and unpacked in registers ("direct").
 * Many tokens: 16 rows x 256 columns are unpacked into a panel of bytes. A few panels stay in the
 * first-level cache while all tokens pass over them, four at a time, in the order in which they
 * stand in memory; their sums wait in scratch for the next 256 columns. Panels exist per family,
 * not per format. Rows in the file's layout are first transposed to lanes, 256 columns at a time;
 * but those that are recoded for the lanes are taken apart by the format's own function. */
#ifndef RAD_X86_PRODUCT_H
#define RAD_X86_PRODUCT_H

#include "kernels/cpu/x86/unpacked_dot.h" /* before unpacked.h, which takes it */
#include "kernels/cpu/unpacked.h"
#include "kernels/cpu/x86/pack.h"
#include "kernels/cpu/x86/unpacked_panels.h"

enum {
    TOKEN_BLOCK = 512, /* tokens whose sums are kept in scratch while the columns pass */
    SET_PANELS = 4,    /* panels in the first-level cache */
    TILE_SUMS = 16 * RAD_TILE_TOKENS /* of a panel */
};

typedef void (*direct_fn)(const uint8_t *lanes, uint32_t n_blocks, const token_view *x, float *acc);
typedef void (*unpack_fn)(const uint8_t *lanes, uint32_t n_blocks, panel *out);
typedef void (*terms_fn)(int offset, const uint8_t *tile, tile_terms *terms);
typedef void (*tile_fn)(const panel *panels, uint32_t n_blocks, const uint8_t *tile,
                        const tile_terms *terms, float *acc);

/* How panels of one family are multiplied with a tile. */
typedef struct panel_kernels {
    tile_fn several; /* PANEL_GROUPS of them */
    tile_fn one;
    terms_fn terms; /* NULL: there are none */
    bool is_signed; /* the quants of a panel */
} panel_kernels;

enum { N_DIRECT = 4 };

typedef struct format_kernels {
    direct_fn direct[N_DIRECT]; /* for 1, 2, 4, 8 tokens; some may be missing */
    unpack_fn unpack;           /* from lanes */
    const panel_kernels *panels;
    int offset;       /* of the quants in a panel */
    bool slow_unpack; /* below 32 tokens panels are slower than the lanes themselves */
} format_kernels;

/* What a product keeps in its scratch memory. */
typedef struct product_scratch {
    float acc[TOKEN_BLOCK / RAD_TILE_TOKENS * SET_PANELS * TILE_SUMS];
    tile_terms terms[TOKEN_BLOCK / RAD_TILE_TOKENS];
    panel panels[SET_PANELS];
    uint8_t lanes[CHUNK_COLUMNS / 32 * 36 * RAD_LANE_ROWS]; /* a chunk of A8_32, the largest; or
                                                             * the quants of 16 rows */
} product_scratch;

_Static_assert(sizeof(product_scratch) <= RAD_PRODUCT_SCRATCH, "scratch of a product");

/* A product in flight: the matrix and the activations, with what follows from them. */
typedef struct product_job {
    const rad_matrix *w;
    const rad_activations *x;
    const format_kernels *format;
    const rad_type_info *info;
    const rad_lane_form *form;
    bool has_lanes; /* the matrix is in lanes, or its blocks can be packed into lanes as they are */
    size_t row_bytes;        /* in the file's layout */
    size_t lane_row_bytes;   /* of a row in the lane layout */
    uint32_t n_blocks;       /* of a row */
    uint32_t blocks_a_chunk; /* of a chunk of columns */
    product_scratch *scratch;
    float *y;
    size_t y_stride;
} product_job;

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

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
            pack_full_block(job->form->fields, rows + b * block_bytes, job->row_bytes, out);
        else
            rad_lane_put_blocks(job->form->fields, rows + b * block_bytes, job->row_bytes, n_rows,
                                out);
    }
}

/* The lanes of n_blocks blocks from `block` on, of the 16 rows from `row`. */
static const uint8_t *lane_chunk(const product_job *job, uint32_t row, uint32_t block,
                                 uint32_t n_blocks)
{
    if (job->w->layout == RAD_LAYOUT_LANE)
        return job->w->data + row * job->lane_row_bytes +
               (size_t)block * job->form->block_bytes * RAD_LANE_ROWS;
    pack_chunk(job, row, block, n_blocks);
    return job->scratch->lanes;
}

/* ---- few tokens ------------------------------------------------------------------------------ */

/* The sums of up to 16 rows. Whole vectors where they fit: a copy of a length that the compiler
 * does not know took a tenth of a prompt's time. */
static void put_sums(float *out, const float *sums, uint32_t n_rows)
{
    if (n_rows >= RAD_LANE_ROWS)
        vf_store(out, vf_load(sums));
    else
        memcpy(out, sums, n_rows * sizeof(float));
}

/* Of the sums of 16 rows, which are integers until the last column is in. */
static void finish_integers(float *sums, float scale)
{
    vf_store(sums, vf_multiply(vf_set(scale), vf_from_int(vi_load(sums))));
}

/* Tokens that one call of a format's kernel computes. They are the same for all rows, so that the
 * view is made once: a kernel that reads it right behind its making would wait until all stores
 * before it are in the cache, among them the sums of the rows before. */
typedef struct token_group {
    token_view x;
    uint32_t token, n;
    int log2_n; /* chooses the kernel, which may compute tokens that fill up their tile */
} token_group;

/* y of a group's tokens, of the 16 rows from `row`. */
static void multiply_direct(const product_job *job, uint32_t row, uint32_t n_rows,
                            const token_group *group)
{
    direct_fn direct = job->format->direct[group->log2_n];
    float *acc = job->scratch->acc;
    memset(acc, 0, ((size_t)1 << group->log2_n) * 16 * sizeof(float));
    if (job->w->layout == RAD_LAYOUT_LANE) { /* one stretch of memory */
        direct(lane_chunk(job, row, 0, job->n_blocks), job->n_blocks, &group->x, acc);
    } else { /* the rows pass through the chunk in scratch */
        token_view x = group->x;
        for (uint32_t block = 0; block < job->n_blocks; block += job->blocks_a_chunk) {
            uint32_t n_blocks = smaller(job->n_blocks - block, job->blocks_a_chunk);
            direct(lane_chunk(job, row, block, n_blocks), n_blocks, &x, acc);
            next_chunk(&x);
        }
    }
    for (uint32_t t = 0; t < group->n; t++, acc += 16) {
        if (job->info->family == RAD_FAMILY_ROW)
            finish_integers(acc, job->x->scales[group->token + t]);
        put_sums(job->y + (group->token + t) * job->y_stride + row, acc, n_rows);
    }
}

/* Most tokens that one call of a format's kernels computes. */
static uint32_t most_direct(const format_kernels *format)
{
    uint32_t log2_n = N_DIRECT - 1;
    while (log2_n > 0 && format->direct[log2_n] == NULL)
        log2_n--;
    return 1u << log2_n;
}

/* Up to n tokens from `token` on. */
static token_group make_group(const product_job *job, uint32_t token, uint32_t n)
{
    token_group group = {.token = token, .n = n, .log2_n = 0};
    while (1u << group.log2_n < n || job->format->direct[group.log2_n] == NULL)
        group.log2_n++;
    group.x = group.log2_n == 0 ? view_token(job->x, token) : view_tile(job->x, token);
    return group;
}

static void product_direct(const product_job *job, uint32_t first_row, uint32_t last_row,
                           uint32_t first_token, uint32_t last_token)
{
    enum { MOST_GROUPS = 16 };
    token_group groups[MOST_GROUPS];
    /* Without tiles only single tokens can be read. */
    uint32_t few = job->x->tiles != NULL ? most_direct(job->format) : 1;
    for (uint32_t token = first_token; token < last_token;) {
        uint32_t n_groups = 0;
        for (; n_groups < MOST_GROUPS && token < last_token; n_groups++) {
            groups[n_groups] = make_group(job, token, smaller(last_token - token, few));
            token += groups[n_groups].n;
        }
        for (uint32_t row = first_row; row < last_row; row += RAD_LANE_ROWS)
            for (uint32_t g = 0; g < n_groups; g++)
                multiply_direct(job, row, smaller(last_row - row, RAD_LANE_ROWS), &groups[g]);
    }
}

/* ---- many tokens ----------------------------------------------------------------------------- */

static void unpack_panel(const product_job *job, uint32_t row, uint32_t block, uint32_t n_blocks,
                         panel *out)
{
    if (job->has_lanes) {
        job->format->unpack(lane_chunk(job, row, block, n_blocks), n_blocks, out);
        return;
    }
    file_rows rows = {.info = job->info,
                      .data = job->w->data + row * job->row_bytes + block * job->info->block_bytes,
                      .row_bytes = job->row_bytes,
                      .n_rows = smaller(job->w->n_rows - row, RAD_LANE_ROWS),
                      .n_blocks = n_blocks,
                      .offset = job->format->offset};
    unpack_rows(&rows, job->scratch->lanes, job->format->panels->is_signed, out);
}

/* The lanes that will be unpacked next, fetched little by little while the tokens pass: unpacking
 * itself is too short for the processor to find out that it reads in order. Experts, whose weights
 * serve few tokens, waited 4 % of their time for memory. */
typedef struct lanes_ahead {
    const uint8_t *data; /* NULL: nothing is fetched */
    size_t bytes;        /* of one panel's chunk */
    size_t panel_stride;
    uint32_t n_panels, panel;
    size_t at; /* in the panel's chunk */
} lanes_ahead;

/* The chunk behind `block`, or the first of the next rows. */
static lanes_ahead look_ahead(const product_job *job, uint32_t row, uint32_t n_panels,
                              uint32_t block)
{
    lanes_ahead ahead = {.data = NULL};
    uint32_t next_row = row, next_block = block + job->blocks_a_chunk;
    if (next_block >= job->n_blocks) {
        next_block = 0;
        next_row = row + n_panels * RAD_LANE_ROWS;
    }
    if (job->w->layout != RAD_LAYOUT_LANE || next_row >= job->w->n_rows)
        return ahead;
    size_t block_bytes = (size_t)job->form->block_bytes * RAD_LANE_ROWS;
    ahead.data = job->w->data + next_row * job->lane_row_bytes + next_block * block_bytes;
    ahead.bytes = smaller(job->n_blocks - next_block, job->blocks_a_chunk) * block_bytes;
    ahead.panel_stride = RAD_LANE_ROWS * job->lane_row_bytes;
    ahead.n_panels =
        smaller((job->w->n_rows - next_row + RAD_LANE_ROWS - 1) / RAD_LANE_ROWS, n_panels);
    return ahead;
}

static void fetch_lines(lanes_ahead *ahead, uint32_t n_lines)
{
    enum { LINE = 64, SECOND_LEVEL_CACHE = 2 };
    for (uint32_t i = 0; i < n_lines && ahead->panel < ahead->n_panels; i++) {
        __builtin_prefetch(ahead->data + ahead->panel * ahead->panel_stride + ahead->at, 0,
                           SECOND_LEVEL_CACHE);
        ahead->at += LINE;
        if (ahead->at >= ahead->bytes) {
            ahead->at = 0;
            ahead->panel++;
        }
    }
}

/* One chunk of columns: n_panels groups of 16 rows, all tokens of the block. */
static void multiply_chunk(const product_job *job, uint32_t row, uint32_t n_panels, uint32_t block,
                           const uint8_t *tiles, uint32_t n_tiles)
{
    product_scratch *scratch = job->scratch;
    lanes_ahead ahead = look_ahead(job, row, n_panels, block);
    uint32_t lines = (uint32_t)(ahead.n_panels * (ahead.bytes / 64 + 1)) / n_tiles + 1;
    const panel_kernels *kernels = job->format->panels;
    uint32_t n_blocks = smaller(job->n_blocks - block, job->blocks_a_chunk);
    for (uint32_t p = 0; p < n_panels; p++)
        unpack_panel(job, row + p * RAD_LANE_ROWS, block, n_blocks, &scratch->panels[p]);
    n_blocks = n_blocks * job->info->block_elements / (job->info->block_elements < 256 ? 32 : 256);
    for (uint32_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = tiles + (size_t)i * RAD_TILE_BYTES;
        float *acc = scratch->acc + (size_t)i * SET_PANELS * TILE_SUMS;
        uint32_t p = 0;
        fetch_lines(&ahead, lines);
        if (kernels->terms != NULL)
            kernels->terms(job->format->offset, tile, &scratch->terms[i]);
        for (; p + PANEL_GROUPS <= n_panels; p += PANEL_GROUPS)
            kernels->several(&scratch->panels[p], n_blocks, tile, &scratch->terms[i],
                             acc + (size_t)p * TILE_SUMS);
        for (; p < n_panels; p++)
            kernels->one(&scratch->panels[p], n_blocks, tile, &scratch->terms[i],
                         acc + (size_t)p * TILE_SUMS);
    }
}

static void multiply_set(const product_job *job, uint32_t row, uint32_t n_rows, uint32_t token,
                         uint32_t n)
{
    uint32_t n_panels = (n_rows + RAD_LANE_ROWS - 1) / RAD_LANE_ROWS;
    uint32_t n_tiles = (n + RAD_TILE_TOKENS - 1) / RAD_TILE_TOKENS;
    float *acc = job->scratch->acc;
    memset(acc, 0, (size_t)n_tiles * SET_PANELS * TILE_SUMS * sizeof(float));
    for (uint32_t block = 0; block < job->n_blocks; block += job->blocks_a_chunk)
        multiply_chunk(job, row, n_panels, block,
                       tile_at(job->x, token, block / job->blocks_a_chunk), n_tiles);
    for (uint32_t t = 0; t < n; t++) {
        float *sums = acc + (size_t)(t / RAD_TILE_TOKENS) * SET_PANELS * TILE_SUMS +
                      (size_t)(t % RAD_TILE_TOKENS) * 16;
        float *out = job->y + (token + t) * job->y_stride + row;
        for (uint32_t r = 0; r < n_rows; r += RAD_LANE_ROWS, sums += TILE_SUMS) {
            if (job->info->family == RAD_FAMILY_ROW)
                finish_integers(sums, job->x->scales[token + t]);
            put_sums(out + r, sums, n_rows - r);
        }
    }
}

static void product_quantized(const product_job *job, uint32_t first_row, uint32_t last_row,
                              uint32_t first_token, uint32_t last_token)
{
    const bool direct = job->has_lanes;
    /* From twice as many tokens on panels are faster, or from four times as many. */
    uint32_t many = direct ? (job->format->slow_unpack ? 4 : 2) * most_direct(job->format) : 2;
    if (job->x->tiles == NULL || last_token - first_token < many) {
        if (direct)
            product_direct(job, first_row, last_row, first_token, last_token);
        /* All formats whose lanes are not the file's have blocks of 256 and no minimum. */
        for (uint32_t row = first_row; row < last_row && !direct; row++)
            unpacked_product_256(job->w, job->info, job->x, row, first_token, last_token, job->y,
                                 job->y_stride);
        return;
    }
    for (uint32_t token = first_token; token < last_token; token += TOKEN_BLOCK)
        for (uint32_t row = first_row; row < last_row; row += SET_PANELS * RAD_LANE_ROWS)
            multiply_set(job, row, smaller(last_row - row, SET_PANELS * RAD_LANE_ROWS), token,
                         smaller(last_token - token, TOKEN_BLOCK));
}

#endif

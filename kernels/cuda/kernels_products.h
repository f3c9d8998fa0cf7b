/* Products with quantized weights on the device: quantized activations, the layout of weights, what
 * the kernels are given. A part of kernels.h, which alone includes it. */
#ifndef RAD_CUDA_KERNELS_PRODUCTS_H
#define RAD_CUDA_KERNELS_PRODUCTS_H

#include <stdint.h>

/* ---- layout of weights ------------------------------------------------------------------------
 *
 * Rows stand in groups of 32, so that a lane of a warp is a row, and columns in chunks of 256. Of a
 * chunk a row has a number of sections of 16, 8, 4 or 2 bytes, made of the bytes of its blocks in
 * the file (lib/backend/cuda/layout.c); a group has, chunk by chunk, section by section, the bytes
 * of its 32 rows side by side: each load of a warp is one piece of memory. Rows and blocks that
 * are not there are zeros. */
enum { RAD_CUDA_GROUP_ROWS = 32, RAD_CUDA_CHUNK = 256, RAD_CUDA_FIELDS = 4 };

/* A field of a block: `parts` times `part` bytes, `stride` apart, from `offset` on. Those of all
 * blocks of a chunk, one behind the other, are cut into sections of `section` bytes. */
typedef struct rad_cuda_field {
    uint8_t offset, part, parts, stride, section;
} rad_cuda_field;

typedef struct rad_cuda_form {
    uint16_t block_elements, block_bytes; /* of the blocks that it is made of */
    uint16_t chunk_bytes;                 /* of a row */
    uint16_t n_fields;
    rad_cuda_field fields[RAD_CUDA_FIELDS];
} rad_cuda_form;

/* Brings n_rows rows of blocks, as they are in a file, into the layout. Grid: x groups of rows, y
 * chunks. */
typedef struct rad_cuda_pack_arguments {
    const uint8_t *blocks; /* of the first row; rows one behind the other */
    uint8_t *groups;       /* of the first group */
    uint32_t n_rows, n_columns;
    rad_cuda_form form;
} rad_cuda_pack_arguments;
RAD_CUDA_DECLARE(pack);

/* ---- activations ------------------------------------------------------------------------------
 *
 * Quantized activations are tiles of 256 columns of a token, all tiles of a token one behind the
 * other: 256 quants (signed bytes), 8 scales (float, of each 32 columns; all alike where a scale
 * has more), 16 sums (int16_t, of each 16 columns) or, for INT8, in their place 256 bits that mark
 * outliers. Columns that are not there are zeros. */
enum {
    RAD_CUDA_TILE_SCALES = 256,
    RAD_CUDA_TILE_SUMS = 288,
    RAD_CUDA_TILE_MARKS = RAD_CUDA_TILE_SUMS,
    RAD_CUDA_TILE_BYTES = 320
};

/* Grid: x (tiles of a token + 7) / 8, y tokens. quantize_row (a scale for the whole row) and
 * quantize_outliers (the same, values from the threshold on being marked): x 1. quantize_slots: as
 * quantize, y slots, each in the order of its expert. The numbers are those of the CPU's kernels,
 * to the bit. */
typedef struct rad_cuda_quantize_arguments {
    const float *x;          /* rows of n_inputs */
    uint8_t *tiles;          /* aligned to 16 */
    const uint32_t *columns; /* n_columns of them: which of the inputs each is, UINT32_MAX: none
                              * (zero); NULL: as they come */
    uint32_t n_inputs;
    uint32_t n_columns; /* a multiple of 32 */
    uint32_t block;     /* 32 or 256: of `quantize` */
    float threshold;    /* of quantize_outliers */
    /* Of quantize_slots: each slot's expert, each of which has n_columns of `columns`, and input
     * (NULL: slot / slots_per_input). */
    const uint32_t *experts, *inputs;
    uint32_t slots_per_input;
} rad_cuda_quantize_arguments;
RAD_CUDA_DECLARE(quantize);
RAD_CUDA_DECLARE(quantize_slots);
RAD_CUDA_DECLARE(quantize_row);
RAD_CUDA_DECLARE(quantize_outliers);

/* ---- products of few tokens --------------------------------------------------------------------
 */

enum { RAD_CUDA_PRODUCT_PARTS = 3, RAD_CUDA_PRODUCT_TOKENS = 8 };

/* One of several matrices of the same type (of the kernels normed_X_Y: the last one of another)
 * that read the same input. Behind the product, in this order and where they are given: times
 * scale, plus bias[row], plus add[row of the output]. */
typedef struct rad_cuda_product_part {
    const uint8_t *weights; /* in the device's layout */
    float *y;               /* y[token * y_stride + row] */
    const float *bias;      /* NULL, or of all rows (of all experts) */
    const float *add;       /* NULL, or as y; may be y */
    const float *scales;    /* NULL, or one for the matrix (for each expert) */
    uint64_t expert_bytes;  /* from an expert's weights to the next one's */
    uint32_t n_rows;
    uint32_t first_block; /* of the grid: the sum of the blocks of the parts before */
    uint64_t y_stride;
} rad_cuda_product_part;

/* An activation of what a product gives, which its blocks do where `counters` are there: y of the
 * first part becomes f(y), or f(y, y of the second), as `elements` has it for `kind`, and is
 * quantized. Parts then have equally many rows, a multiple of 32 and of tile_block, and no experts.
 */
typedef struct rad_cuda_behind {
    uint32_t *counters; /* one for each 256 rows of a part; all 0 before and after the kernel */
    uint8_t *tiles;     /* not those that the product reads */
    uint32_t kind, tile_block;
} rad_cuda_behind;

/* Static bytes of shared memory of the kernels normed_... */
enum { RAD_CUDA_NORMED_STATIC = 304 };

/* Of the kernels normed_..: x is the RMS norm of `in`, of one token, which each block computes for
 * itself; block 0 writes it to `out` as well, which is not `in`. weight: NULL: none. */
typedef struct rad_cuda_before {
    const float *in, *weight;
    float *out;
    float epsilon;
    uint32_t tile_block; /* 32, 64 or 256, of which n_columns is a multiple */
} rad_cuda_before;

/* Of the kernels normed_.., where `table` is there: the parts are queries, keys and values. The
 * first two are rotated, all of each head, and keys and values go into the cache as well, in a
 * format without blocks: what rotate_store does. dim, value_dim: of a head; multiples of a block's
 * rows, which are 16 or 32, and where pairs are half a head apart of half of them the rows of both
 * halves.
 */
typedef struct rad_cuda_heads {
    const float *table; /* dim / 2 cosines, then as many sines */
    const rad_cuda_row *row;
    rad_cuda_pages pages;
    uint64_t first;
    uint32_t key_bytes, value_bytes, key_type, value_type; /* as for rad_cuda_store_arguments */
    uint32_t dim, value_dim;
    uint32_t interleaved; /* pairs (2i, 2i + 1), else (i, i + dim / 2) */
} rad_cuda_heads;

/* y = W x for up to RAD_CUDA_PRODUCT_TOKENS tokens. Rows of a block: 1 << rows_log2, which is 3 to
 * 5 (rad_cuda_few_rows_log2()); grid x: for each part its rows over these, rounded up.
 *
 * With experts, grid z is slots and n_tokens is 1: slot s multiplies the weights of expert
 * experts[s / per_route * route_stride + s % per_route] (per_route 0: experts[s]) with input
 * inputs[s] (NULL: s / slots_per_input); the output is row s. */
typedef struct rad_cuda_few_arguments {
    rad_cuda_product_part parts[RAD_CUDA_PRODUCT_PARTS];
    const uint8_t *tiles;
    const uint32_t *experts, *inputs; /* NULL: none */
    uint32_t per_route, route_stride, slots_per_input;
    uint32_t n_parts, n_columns, n_tokens;
    uint32_t rows_log2;
    const float *x; /* INT8: what the tiles were made of, input i at i * x_stride */
    uint64_t x_stride;
    rad_cuda_behind behind;
    rad_cuda_before before;
    rad_cuda_heads heads;
} rad_cuda_few_arguments;

/* ---- products of some tokens --------------------------------------------------------------------
 */

/* The same by matrix instructions, for up to RAD_CUDA_SOME_TOKENS tokens: arguments and grid as of
 * few tokens, rows_log2 is 4. */
enum { RAD_CUDA_SOME_ROWS = 16, RAD_CUDA_SOME_TOKENS = 16 };

/* Dynamic shared memory of a block (some_shared of products_some.h): of each warp the sums of 16
 * rows times 8 tokens, the headers of 16 rows (some room in their place where there are none), 16
 * numbers beside the tiles of 8 tokens, twice where sums are few; 16 numbers of 8 tokens, 8 tiles.
 */
#define RAD_CUDA_SOME_BYTES(n_sums, n_header)                                                      \
    (8u * (((n_sums) > 2 ? 1u : 2u) *                                                              \
               ((n_sums)*512u + ((n_header) > 0 ? (n_header)*64u : 16u) + 512u) +                  \
           512u + 8u * (RAD_CUDA_TILE_BYTES + 16u)))

/* ---- products of many tokens --------------------------------------------------------------------
 */

enum { RAD_CUDA_MANY_ROWS = 64, RAD_CUDA_MANY_TOKENS = 64 }; /* of a block */

/* y = W x for any number of tokens, by matrix instructions; the bits are those of few tokens. Grid:
 * x for each part its rows over those of a block, rounded up; y
 * ceil(n_tokens / RAD_CUDA_MANY_TOKENS).
 *
 * With experts (tile_expert), the outputs stand by expert, and grid y is the most tiles that there
 * can be: tile i < *n_tiles has outputs tile_first[i] and on, at most RAD_CUDA_MANY_TOKENS, as far
 * as starts[expert + 1], of expert tile_expert[i]; the input of output o is inputs[o] (NULL: o). */
typedef struct rad_cuda_many_arguments {
    rad_cuda_product_part parts[RAD_CUDA_PRODUCT_PARTS];
    const uint8_t *tiles;
    const uint32_t *tile_expert, *tile_first, *starts, *n_tiles, *inputs;
    uint32_t n_parts, n_columns, n_tokens;
    const float *x; /* as of few tokens */
    uint64_t x_stride;
} rad_cuda_many_arguments;

/* DO(name, sums, header words) for each format: the words that a row's chunk comes to in shared
 * memory, for a token, and those of its header. TQ1_0 goes by tq2_0, IQ2_XS by iq2_s. */
#define RAD_CUDA_FOR_NORMED_FORMATS(DO)                                                            \
    DO(q4_0, 8, 4)                                                                                 \
    DO(q4_1, 8, 8)                                                                                 \
    DO(q5_0, 8, 4)                                                                                 \
    DO(q5_1, 8, 8)                                                                                 \
    DO(q8_0, 8, 4)                                                                                 \
    DO(iq4_nl, 8, 4)                                                                               \
    DO(mxfp4, 8, 2)                                                                                \
    DO(nvfp4, 8, 4)                                                                                \
    DO(q1_0, 8, 1)                                                                                 \
    DO(q2_0, 8, 2)                                                                                 \
    DO(q4_k, 2, 4)                                                                                 \
    DO(q5_k, 2, 4)                                                                                 \
    DO(q6_k, 1, 5)                                                                                 \
    DO(q2_k, 2, 5)                                                                                 \
    DO(q3_k, 1, 4)                                                                                 \
    DO(iq4_xs, 1, 2)                                                                               \
    DO(iq3_xxs, 1, 2)                                                                              \
    DO(iq3_s, 1, 2)                                                                                \
    DO(iq2_xxs, 1, 2)                                                                              \
    DO(iq2_s, 1, 3)                                                                                \
    DO(iq1_m, 1, 4)                                                                                \
    DO(iq1_s, 1, 2)                                                                                \
    DO(tq2_0, 1, 1)                                                                                \
    DO(a2_32, 8, 8)                                                                                \
    DO(a3_32, 8, 8)                                                                                \
    DO(a4_32, 8, 8)                                                                                \
    DO(a5_32, 8, 8)                                                                                \
    DO(a6_32, 8, 8)                                                                                \
    DO(a8_32, 8, 8)                                                                                \
    DO(a2_128, 8, 2)                                                                               \
    DO(a3_128, 8, 2)                                                                               \
    DO(a4_128, 8, 2)                                                                               \
    DO(a5_128, 8, 2)                                                                               \
    DO(a6_128, 8, 2)                                                                               \
    DO(a8_128, 8, 2)
/* With those whose activations have a scale for a whole row. */
#define RAD_CUDA_FOR_FORMATS(DO)                                                                   \
    RAD_CUDA_FOR_NORMED_FORMATS(DO)                                                                \
    DO(i2_s, 1, 0)                                                                                 \
    DO(int8, 1, 0)

/* DO(format of all parts but the last, format of the last): what mixtures of formats have together
 * in queries, keys and values. All have the same kind of activations. */
#define RAD_CUDA_FOR_NORMED_PAIRS(DO)                                                              \
    DO(q4_k, q6_k)                                                                                 \
    DO(q5_k, q6_k)                                                                                 \
    DO(q3_k, q4_k)                                                                                 \
    DO(q3_k, q5_k)                                                                                 \
    DO(iq4_xs, q5_k)

#define RAD_CUDA_DECLARE_FEW(name, n_sums, n_header) RAD_CUDA_DECLARE(few_##name);
RAD_CUDA_FOR_FORMATS(RAD_CUDA_DECLARE_FEW)
#define RAD_CUDA_DECLARE_NORMED(name, n_sums, n_header) RAD_CUDA_DECLARE(normed_##name);
RAD_CUDA_FOR_NORMED_FORMATS(RAD_CUDA_DECLARE_NORMED)
#define RAD_CUDA_DECLARE_PAIR(name, values) RAD_CUDA_DECLARE(normed_##name##_##values);
RAD_CUDA_FOR_NORMED_PAIRS(RAD_CUDA_DECLARE_PAIR)
#define RAD_CUDA_DECLARE_SOME(name, n_sums, n_header) RAD_CUDA_DECLARE(some_##name);
RAD_CUDA_FOR_FORMATS(RAD_CUDA_DECLARE_SOME)
#define RAD_CUDA_DECLARE_MANY(name, n_sums, n_header) RAD_CUDA_DECLARE(many_##name);
RAD_CUDA_FOR_FORMATS(RAD_CUDA_DECLARE_MANY)

#endif

/* kernels: the arithmetic of the CPU backend. A table of functions, filled by CPU feature; the
 * plain C version is always there and every other one gives the same bits. Nothing here knows of
 * models, sessions, files or threads: callers cut the work into ranges. */
#ifndef RAD_KERNELS_H
#define RAD_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/quant.h"

typedef enum rad_isa {
    RAD_ISA_SCALAR = 0,
    RAD_ISA_AVX2 = 1,   /* AVX2, FMA, F16C; AVX-VNNI where the CPU has it */
    RAD_ISA_AVX512 = 2, /* AVX-512 F, BW, VL, DQ; VNNI where the CPU has it */
    RAD_ISA_NEON = 3,   /* Armv8; SDOT and USDOT where the CPU has them */
    RAD_ISA_BEST = RAD_ISA_NEON
} rad_isa;

typedef enum rad_layout {
    RAD_LAYOUT_FILE = 0, /* rows of blocks, as in the file */
    RAD_LAYOUT_LANE = 1  /* groups of 16 rows interleaved, so that a vector lane is a row */
} rad_layout;

/* Rows of a lane group; also the height of a panel. Row ranges given to kernels start at a multiple
 * of it. */
#define RAD_LANE_ROWS 16

/* A weight matrix: y = W x, W of n_rows x n_columns. */
typedef struct rad_matrix {
    rad_type type;
    rad_layout layout;
    uint32_t n_rows;
    uint32_t n_columns; /* a multiple of the type's block_elements */
    const uint8_t *data;
} rad_matrix;

/* Quantized activations of 4 tokens x 256 columns side by side, so that a kernel which multiplies
 * the four reads them from one place (rad_arrange_tile()). All are 32-bit words, [word][token]: 64
 * words of 4 quants; 8 scales (Q8_64: four; Q8_ROW: one; Q8_256: one, and from RAD_TILE_PAIRS on 4
 * words of two int16, the sums of each 32 columns); 8 words of two int16, the sums of each 16
 * columns. */
enum {
    RAD_TILE_TOKENS = 4,
    RAD_TILE_COLUMNS = 256,
    RAD_TILE_SCALES = 1024, /* offsets in bytes */
    RAD_TILE_PAIRS = RAD_TILE_SCALES + 64,
    RAD_TILE_SUMS = RAD_TILE_SCALES + 128,
    RAD_TILE_BYTES = RAD_TILE_SUMS + 128
};

/* Activations of n_tokens rows, n_columns each, as a product wants them. F32: only `values` is
 * used. Q8_32, Q8_64, Q8_256 and Q8_ROW: `quants` and `scales` (one per block, a block being 32,
 * 64, 256 or all columns), and `sums`, the integer sums of each 16 quants. Rows are contiguous:
 * row t of quants starts at t * n_columns, of scales at t * n_columns / block, of sums at t *
 * n_columns /
 * 16. `tiles`: the same once more for products with several tokens, all tiles of the first 256
 * columns, then of the next; NULL: not there, and several tokens are multiplied one by one.
 * Q8_OUTLIERS: as Q8_ROW, with `values` as well and without `sums` and `tiles`. */
typedef struct rad_activations {
    rad_activation_kind kind;
    uint32_t n_tokens;
    uint32_t n_columns;
    const float *values;
    const int8_t *quants;
    const float *scales;
    const int16_t *sums;
    const uint8_t *tiles;
    float threshold; /* Q8_OUTLIERS */
} rad_activations;

/* Columns that share a scale, of a row of n columns. */
static inline uint32_t rad_activation_block(rad_activation_kind kind, uint32_t n)
{
    switch (kind) {
    case RAD_ACTIVATION_Q8_32:
        return 32;
    case RAD_ACTIVATION_Q8_64:
        return 64;
    case RAD_ACTIVATION_Q8_256:
        return 256;
    default:
        return n;
    }
}

typedef struct rad_kernels {
    rad_isa isa;
    const char *name; /* "scalar", "avx2", "avx512" */

    /* Numeric contract, rule 2: per block of 32, 64, 256 or n (one scale for the row): amax over
     * the bits of |x| as unsigned integers; q = round-half-even(x * (127 / amax)) in [-127, 127];
     * scale amax / 127; zeros when amax is below 2^-100. Not-finite input gives scale NaN and
     * zeros, so that it is noticed. */
    void (*quantize_q8_32)(const float *x, uint32_t n, int8_t *quants, float *scales,
                           int16_t *sums);
    void (*quantize_q8_64)(const float *x, uint32_t n, int8_t *quants, float *scales,
                           int16_t *sums);
    void (*quantize_q8_256)(const float *x, uint32_t n, int8_t *quants, float *scales,
                            int16_t *sums);
    void (*quantize_q8_row)(const float *x, uint32_t n, int8_t *quants, float *scale,
                            int16_t *sums);

    /* y[t * y_stride + r] = sum over columns of W[r] x[t], for rows first_row..last_row-1 and
     * tokens first_token..last_token-1. first_row is a multiple of RAD_LANE_ROWS; last_row too
     * unless it is the matrix's end. first_token is a multiple of RAD_TILE_TOKENS. Nothing is
     * written for other rows or tokens. `scratch` is 64-byte aligned, of
     * rad_product_scratch_bytes(). The bits of each output depend on its row of W and its row of x
     * only, by these rules (all in F32, each line one rounding per operation written):
     *
     * RAD_FAMILY_BLOCK (Q4_0 to Q8_0, IQ4_NL, MXFP4, Q1_0, Q2_0), with activations
     * Q8_32; each 32 columns in increasing order, from acc = 0:
     *     acc = fma(d_w * d_x, (float)sum_i(q_w[i] * q_x[i]), acc)
     *     acc = fma(m_w * d_x, (float)sum_i(q_x[i]), acc)               (Q4_1, Q5_1)
     * where q_w are the quants with the format's offset (8, 16) taken off, or the integer that a
     * code stands for. A block of Q1_0 or Q2_0 is 4 or 2 such steps with the same d_w.
     *
     * RAD_FAMILY_AFFINE (A2 to A8), with activations Q8_32 for blocks of 32, Q8_64 for those of
     * 128; each 32 or 64 columns in increasing order, z_w being the block's zero:
     *     acc = fma(d_w * d_x, (float)sum_i((q_w[i] - z_w) * q_x[i]), acc)
     *
     * RAD_FAMILY_BLOCK_16 (NVFP4), with activations Q8_32; each 16 columns in increasing order,
     * where d_x is that of the 32 around them:
     *     acc = fma(d_w * d_x, (float)sum_i(q_w[i] * q_x[i]), acc)
     *
     * RAD_FAMILY_SUPER_16 and SUPER_32 (Q2_K ... Q6_K, IQ1_*, IQ2_*, IQ3_*, IQ4_XS), with
     * activations Q8_256; super-blocks of 256 in increasing column order, sub-blocks j of 16 or 32
     * inside:
     *     acc = fma(d * d_x, (float)sum_j(scale_j * sum_i(q_w[i] * q_x[i])), acc)
     *     acc = fma(-dmin * d_x, (float)sum_j(minimum_j * sum_i(q_x[i])), acc)
     * (the second where the type has a minimum: Q2_K, Q4_K, Q5_K). What d, scale_j and q_w are says
     * the format's file: scale_j and q_w are integers, d takes up the powers of two.
     *
     * RAD_FAMILY_TERNARY (TQ1_0, TQ2_0), with activations Q8_256; blocks of 256:
     *     acc = fma(d * d_x, (float)sum_i(q_w[i] * q_x[i]), acc)
     *
     * RAD_FAMILY_ROW (I2_S, whose d_w is left to the caller), with activations Q8_ROW, of at most
     * RAD_ROW_COLUMNS_MAX columns:
     *     d_x * (float)sum_i(q_w[i] * q_x[i])                              over the whole row
     *
     * All sums in parentheses are exact integers below 2^31; (float) rounds to nearest even.
     *
     * RAD_FAMILY_INT8 (LLM.int8), with activations Q8_OUTLIERS, of at most RAD_INT8_COLUMNS_MAX
     * columns; s from 0, over the columns i of |x[i]| >= threshold in increasing order:
     *     s = fma((float)q_w[i], x[i], s)
     *     fma(d_x, (float)sum_i(q_w[i] * q_x[i]), s) * (d_w * (1 / 127))
     *
     * F32, F16, BF16, with F32 activations; weights are widened exactly; and RAD_FAMILY_SCALED
     * (NF4, FP4, FP8), whose weights are number * scale, rounded once. s[j], j = 0..15, from 0: s[i
     * % 16] = fma(w[i], x[i], s[i % 16])       for i increasing then s[j] += s[j + 8] (j < 8), s[j]
     * += s[j + 4] (j < 4), s[j] += s[j + 2] (j < 2), and the result is s[0] + s[1].
     *
     * Where the rules give NaN, the sign and payload of the NaN are not specified. */
    void (*product)(const rad_matrix *w, const rad_activations *x, uint32_t first_row,
                    uint32_t last_row, uint32_t first_token, uint32_t last_token, float *y,
                    size_t y_stride, void *scratch);

    /* rad_pack_lane_group(), sooner. */
    void (*pack_lane_group)(rad_type type, uint32_t n_columns, const uint8_t *rows, uint32_t n_rows,
                            uint8_t *group);

    /* The rest of a layer: kernels/cpu/layer.h says what each computes, in which order. */
    const struct rad_layer_kernels *layer;
} rad_kernels;

/* The best table that this CPU can run, at most `limit`; NULL when `limit` itself was asked for
 * exactly (exact) and the CPU lacks it. */
const rad_kernels *rad_kernels_find(rad_isa limit, bool exact);

/* Activations Q8_OUTLIERS of a row: one scale, as quantize_q8_row() where values that reach the
 * threshold are zeros (in a vector whose values are not finite: scale NaN, as there). */
void rad_quantize_q8_outliers(const float *x, uint32_t n, float threshold, int8_t *quants,
                              float *scale);

/* Scratch that product needs for this matrix, any token count, per calling thread. */
size_t rad_product_scratch_bytes(const rad_matrix *w);

/* Bytes of the tiles of n_tokens x n_columns activations; 0 on overflow. */
uint64_t rad_tiles_bytes(uint64_t n_tokens, uint64_t n_columns);
/* Writes the tiles of tokens 4 * tile to 4 * tile + 3 into `tiles`; zeros for tokens that are not
 * there. */
void rad_arrange_tile(const rad_activations *x, uint32_t tile, uint8_t *tiles);

/* Bytes of a matrix in a layout (lane: rows are padded to a multiple of 16); 0 on overflow. */
uint64_t rad_matrix_bytes(rad_type type, rad_layout layout, uint64_t n_rows, uint64_t n_columns);
/* True when rows of the type have a lane layout of their own (others stay in the file layout):
 * those of floats where n_columns is a multiple of 16. */
bool rad_has_lane_layout(rad_type type, uint64_t n_columns);
/* Packs file rows (n_rows of them, at most 16, contiguous blocks) into lane group `group` of dst
 * (the whole matrix's lane data). Missing rows of the last group become zeros. */
void rad_pack_lane_group(rad_type type, uint32_t n_columns, const uint8_t *rows, uint32_t n_rows,
                         uint8_t *group);
/* Bytes of one lane group. */
uint64_t rad_lane_group_bytes(rad_type type, uint64_t n_columns);
/* Decodes one row to floats, from either layout (embedding lookup). */
void rad_matrix_decode_row(const rad_matrix *w, uint32_t row, float *values);

#endif

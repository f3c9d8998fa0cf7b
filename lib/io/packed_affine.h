/* Weights of GPTQ, AWQ, EXL2 and compressed-tensors: scale * (quant - zero), with a scale and a
 * zero for each row and group of columns. How they are stored, and how rows are put together. */
#ifndef RAD_PACKED_AFFINE_H
#define RAD_PACKED_AFFINE_H

#include "io/packed.h"

/* Words of quants: [in, out] of the matrix or [out, in]. */
typedef enum rad_quant_form {
    RAD_QUANTS_BY_COLUMN, /* a stream of bits down 32 columns, a word for each row beside it */
    RAD_QUANTS_AWQ,       /* a word of eight rows for each column */
    RAD_QUANTS_BY_ROW     /* a stream of bits along a row */
} rad_quant_form;

typedef enum rad_zero_form {
    RAD_ZEROS_MIDDLE,    /* none stored: half of the quants' range */
    RAD_ZEROS_BY_COLUMN, /* [groups, rows], a stream of bits along rows */
    RAD_ZEROS_AWQ,       /* the same, in AWQ's order */
    RAD_ZEROS_BY_ROW,    /* [rows, groups], a stream of bits along rows */
    RAD_ZEROS_BYTES      /* [rows, groups], int8 */
} rad_zero_form;

/* EXL2: a stretch of columns with one number of bits. */
typedef struct rad_exl2_group {
    uint32_t bits, first_word; /* the row of words that it begins with */
    uint32_t first_column;
} rad_exl2_group;

typedef struct rad_packed_affine {
    rad_packed packed;
    rad_quant_form quant_form;
    rad_zero_form zero_form;
    rad_type scale_type;
    int bits, stored_bits; /* of a quant in our blocks, and in the file */
    uint32_t flip, less;   /* what a stored quant is xor-ed with, and what is taken off then */
    uint32_t zero_plus;    /* GPTQ v1: 1 for each zero, */
    uint32_t words_plus;   /* or for all of a word of them, with what is carried over */
    uint32_t elements, block_bytes;
    uint64_t pitch; /* rows of the matrix as they are stored: EXL2 pads them */
    uint32_t n_in, n_groups;
    rad_piece quants, scales, zeros;
    const uint32_t *places;      /* where each column stands in a row; NULL: as they are */
    const uint32_t *first_block; /* of each group, and the end */
    const rad_exl2_group *exl2;  /* NULL: it is none */
    const float *maxima;         /* EXL2: of each group */
    /* Of rows in F32, whose scales need more bits than blocks have: how they would stand in blocks;
     * NULL: they do. */
    const struct rad_packed_affine *blocks;
} rad_packed_affine;

/* What blocks must hold, of several weights: most bits, and as many columns as all groups have. */
typedef struct rad_affine_blocks {
    int bits;
    uint32_t elements;
} rad_affine_blocks;

/* Experts of one layer may have other widths each (EXL2): their blocks are made alike, after those
 * of all have been taken into *blocks, {0, 128} at first. What is in no such blocks stays. */
void rad_affine_gather(const rad_stored *stored, rad_affine_blocks *blocks);
void rad_affine_set_blocks(rad_stored *stored, const rad_affine_blocks *blocks);

/* Whether blocks hold all scales as they are, which may be F32. */
radllm_status rad_affine_fits(const rad_source *source, const rad_packed_affine *affine,
                              uint64_t n_scales, bool *fits, radllm_error *error);

radllm_status rad_affine_rows(const rad_source *source, const rad_packed *packed, uint64_t first,
                              uint64_t count, uint8_t *out, radllm_error *error);
/* The same in F32, columns in their own order: scale * (quant - zero), rounded once. */
radllm_status rad_affine_wide_rows(const rad_source *source, const rad_packed *packed,
                                   uint64_t first, uint64_t count, uint8_t *out,
                                   radllm_error *error);

/* ---- for the methods ------------------------------------------------------------------------ */

/* Columns of a block. */
enum { RAD_AFFINE_BLOCK = 32, RAD_AFFINE_WIDE_BLOCK = 128 };

/* In the source's arena; NULL: memory. */
uint32_t *rad_affine_numbers(const rad_packing *packing, uint64_t n);
rad_piece rad_affine_piece(const rad_stored *stored);
bool rad_affine_is_matrix(const rad_stored *stored, rad_type type, uint64_t rows, uint64_t columns);
/* A new weight of so many columns and groups, which the products can bear. */
radllm_status rad_affine_begin(rad_packing *packing, const char *module, uint64_t n_in,
                               uint64_t n_groups, rad_packed_affine **out);
/* With bits and the order of columns known. */
radllm_status rad_affine_finish(rad_packing *packing, const char *module, rad_packed_affine *a,
                                uint64_t n_rows);
/* Whether a weight before has this order of columns, which is then used; else it is to be kept. */
bool rad_affine_share_order(rad_packing *packing, rad_packed_affine *a, const uint32_t *columns);
void rad_affine_keep_order(rad_packing *packing, rad_packed_affine *a, const uint32_t *columns);

#endif

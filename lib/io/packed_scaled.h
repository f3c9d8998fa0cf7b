/* Weights of bitsandbytes, FP8, NVFP4, MXFP4 and BitNet: numbers of 2 to 8 bits with scales beside
 * them, no zero points, columns in their order. What a method knows is how its codes and scales are
 * read; here rows of blocks are made of them. Where no type of blocks fits (columns that are no
 * whole blocks, levels that are not those of NF4 and FP4), rows are put together in F32. */
#ifndef RAD_PACKED_SCALED_H
#define RAD_PACKED_SCALED_H

#include "io/packed.h"

typedef struct rad_packed_scaled rad_packed_scaled;

/* Part of a row, as it is read: n columns from `column` on. */
typedef struct rad_scaled_part {
    const rad_source *source;
    const rad_packed_scaled *weight;
    uint64_t row;
    uint32_t column, n;
    uint8_t *codes; /* n, one each */
    float *scales;  /* one for each `step` columns of the part */
    radllm_error *error;
} rad_scaled_part;

struct rad_packed_scaled {
    rad_packed packed;
    rad_type type;        /* that rows are made of */
    uint32_t n_in;        /* columns */
    uint32_t step;        /* columns that share a scale as they are read */
    uint32_t block_bytes; /* of `step` columns, as they are used */
    radllm_status (*read)(const rad_scaled_part *part);
    float (*number)(const rad_packed_scaled *weight, uint8_t code, float scale); /* for F32 */
    rad_piece codes, scales;
    /* bitsandbytes */
    float levels[16];
    uint32_t block, nested_block; /* elements of the matrix, absmaxes; 0: these are F32 */
    rad_piece nested_scales;
    const float *nested_levels; /* 256 */
    float nested_offset;
    /* FP8 */
    rad_type scale_type;
    uint32_t block_rows, block_columns, grid_columns;
    /* BitNet */
    uint64_t packed_rows;
    float scale;
};

/* Adds a weight of [n_rows, weight->n_in]: of `type`, or of F32 where its blocks do not fit or
 * `plain` asks for it. *weight is copied. */
radllm_status rad_scaled_add(rad_packing *packing, const char *module, uint64_t n_rows,
                             rad_type type, bool plain, rad_packed_scaled *weight);
radllm_status rad_scaled_fail(const rad_scaled_part *part, const char *what);
/* The numbers of a small tensor (scales), of type F32, F16, BF16 or E8M0, as F32. */
radllm_status rad_scaled_numbers(const rad_source *source, rad_type type, rad_piece at,
                                 uint64_t first, uint32_t n, float *out, radllm_error *error);
/* The shape [rows, columns] of a matrix whose columns an int32_t can count; false: it is none. */
bool rad_scaled_is_matrix(const rad_stored *stored);
float rad_e8m0_to_f32(uint8_t e);         /* 2^(e - 127); NaN for 255 */
bool rad_scaled_is_number(rad_type type); /* of a plain float type */

#endif

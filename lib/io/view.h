/* Tensors that no file has as they are used: rows taken out of larger tensors, experts that are
 * tensors of their own, transposed matrices, numbers in another form. Nothing wider is kept in
 * memory: rows are put together whenever they are read. */
#ifndef RAD_VIEW_H
#define RAD_VIEW_H

#include "io/source.h"

typedef enum rad_view_form {
    RAD_VIEW_ROWS,     /* units as they are stored */
    RAD_VIEW_COLUMNS,  /* a row is a column of what is stored */
    RAD_VIEW_PLUS_ONE, /* numbers plus one, in F32 (Gemma's norms) */
    RAD_VIEW_BF16,     /* F8_E4M3 or F8_E5M2 as BF16, which holds all of both */
    RAD_VIEW_MXFP4,    /* nibbles and scales that are tensors of their own, as blocks */
    RAD_VIEW_PACKED,   /* quantized in a folder's way; pieces and units count rows (packed.h) */
    RAD_VIEW_DERIVED   /* rows of another source's tensors (derived.h) */
} rad_view_form;

/* Where a matrix, or a run of numbers, begins. */
typedef struct rad_piece {
    uint64_t offset; /* absolute, inside the part */
    uint32_t part;
} rad_piece;

/* A tensor is made of units: the rows of matrices, the numbers of vectors. Unit u comes from piece
 * u / piece_units; the r-th of a piece is unit first + r / block * stride + r % block of what is
 * stored there (with COLUMNS: that column). */
struct rad_view {
    rad_view_form form;
    rad_type stored; /* of the numbers in the file */
    const rad_piece *pieces;
    const rad_piece *scales; /* MXFP4: of each piece */
    const struct rad_packed *packed;
    uint64_t piece_units;
    uint64_t first, block, stride;
    uint64_t n_numbers;                      /* in a unit, as it is used */
    uint64_t unit_bytes;                     /* as it is used */
    uint64_t stored_bytes;                   /* of a unit in the file; COLUMNS: of a row there */
    const struct rad_derivation *derivation; /* DERIVED */
};

radllm_status rad_view_read(const rad_source *source, const rad_view *view, uint64_t offset,
                            uint8_t *buffer, size_t size, radllm_error *error);

#endif

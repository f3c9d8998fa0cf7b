/* The kernel table of one instruction set: instances of the templates for each format, family and
 * number of tokens. The file that includes this defines TABLE_NAME, TABLE_ISA, TABLE_TEXT and
 * TABLE_LAYER. */
#ifndef RAD_X86_TABLE_H
#define RAD_X86_TABLE_H

#include "kernels/cpu/x86/codes.h"
#include "kernels/cpu/x86/float_product.h"
#include "kernels/cpu/x86/folded.h"
#include "kernels/cpu/x86/int8_dots.h"
#include "kernels/cpu/x86/product.h"
#include "kernels/cpu/x86/quantize.h"
#include "kernels/cpu/x86/scaled_product.h"
#include "kernels/cpu/x86/small.h"

/* ---- families of panels ---------------------------------------------------------------------- */

/* Tokens at a time: without VNNI chains of a few groups need a second set of sums. */
#define BLOCK_TOKENS(bits)                                                                         \
    (WIDE_DOT || (bits) == 4 || (bits) == 8 ? PANEL_TOKENS : PANEL_TOKENS_TWO)

#define BLOCK_TILE(name, suffix, bits, minimum, n_panels)                                          \
    static void name##_##suffix(const panel *panels, uint32_t n_blocks, const uint8_t *tile,       \
                                const tile_terms *terms, float *acc)                               \
    {                                                                                              \
        const block_panel *at[PANEL_GROUPS];                                                       \
        for (int i = 0; i < (n_panels); i++)                                                       \
            at[i] = &panels[i].blocks;                                                             \
        for (int first = 0; first < RAD_TILE_TOKENS; first += BLOCK_TOKENS(bits))                  \
            block_tile_part(bits, minimum, n_panels, first, BLOCK_TOKENS(bits), at, n_blocks,      \
                            tile, terms, acc);                                                     \
    }

#define SUPER_TILE(name, suffix, bits, groups, sums, n_panels)                                     \
    static void name##_##suffix(const panel *panels, uint32_t n_blocks, const uint8_t *tile,       \
                                const tile_terms *terms, float *acc)                               \
    {                                                                                              \
        const super_panel *at[PANEL_GROUPS];                                                       \
        (void)n_blocks;                                                                            \
        for (int i = 0; i < (n_panels); i++)                                                       \
            at[i] = &panels[i].super;                                                              \
        for (int first = 0; first < RAD_TILE_TOKENS; first += PANEL_TOKENS_TWO)                    \
            super_tile_part(bits, groups, sums, n_panels, first, PANEL_TOKENS_TWO, at, tile,       \
                            terms, acc);                                                           \
    }

#define WHOLE_TILE(name, suffix, kind, n_panels)                                                   \
    static void name##_##suffix(const panel *panels, uint32_t n_blocks, const uint8_t *tile,       \
                                const tile_terms *terms, float *acc)                               \
    {                                                                                              \
        const whole_panel *at[PANEL_GROUPS];                                                       \
        for (int i = 0; i < (n_panels); i++)                                                       \
            at[i] = &panels[i].whole;                                                              \
        for (int first = 0; first < RAD_TILE_TOKENS; first += PANEL_TOKENS_TWO)                    \
            whole_tile_part(kind, n_panels, first, PANEL_TOKENS_TWO, at,                           \
                            (kind) == WHOLE_ROW ? n_blocks : 8, tile, terms, acc);                 \
    }

#define BLOCK_16_TILE(name, suffix, n_panels)                                                      \
    static void name##_##suffix(const panel *panels, uint32_t n_blocks, const uint8_t *tile,       \
                                const tile_terms *terms, float *acc)                               \
    {                                                                                              \
        const block_16_panel *at[PANEL_GROUPS];                                                    \
        for (int i = 0; i < (n_panels); i++)                                                       \
            at[i] = &panels[i].blocks_16;                                                          \
        for (int first = 0; first < RAD_TILE_TOKENS; first += PANEL_TOKENS_TWO)                    \
            block_16_tile_part(n_panels, first, PANEL_TOKENS_TWO, at, n_blocks, tile, terms, acc); \
    }

#define AFFINE_TILE(name, suffix, bits, n_panels)                                                  \
    static void name##_##suffix(const panel *panels, uint32_t n_blocks, const uint8_t *tile,       \
                                const tile_terms *terms, float *acc)                               \
    {                                                                                              \
        const affine_panel *at[PANEL_GROUPS];                                                      \
        for (int i = 0; i < (n_panels); i++)                                                       \
            at[i] = &panels[i].affine;                                                             \
        for (int first = 0; first < RAD_TILE_TOKENS; first += BLOCK_TOKENS(bits))                  \
            affine_tile_part(bits, n_panels, first, BLOCK_TOKENS(bits), at, n_blocks, tile, terms, \
                             acc);                                                                 \
    }

#define BLOCK_FAMILY(name, bits, minimum)                                                          \
    BLOCK_TILE(name, several, bits, minimum, PANEL_GROUPS)                                         \
    BLOCK_TILE(name, one, bits, minimum, 1)                                                        \
    static const panel_kernels name = {name##_several, name##_one, block_terms,                    \
                                       !WIDE_DOT && (bits) == 8};

#define SUPER_TERMS_OF(groups, sums)                                                               \
    (!WIDE_DOT || (sums) != SUMS_OFFSET ? NULL : (groups) == 4 ? super_terms_16 : super_terms_32)
#define SUPER_FAMILY(name, bits, groups, sums)                                                     \
    SUPER_TILE(name, several, bits, groups, sums, PANEL_GROUPS)                                    \
    SUPER_TILE(name, one, bits, groups, sums, 1)                                                   \
    static const panel_kernels name = {name##_several, name##_one, SUPER_TERMS_OF(groups, sums),   \
                                       !WIDE_DOT && (bits) == 8};

#define WHOLE_FAMILY(name, kind)                                                                   \
    WHOLE_TILE(name, several, kind, PANEL_GROUPS)                                                  \
    WHOLE_TILE(name, one, kind, 1)                                                                 \
    static const panel_kernels name = {name##_several, name##_one, whole_terms, false};

/* The kernels are the same for both sizes of blocks. */
#define AFFINE_FAMILY(bits)                                                                        \
    AFFINE_TILE(affines_##bits, several, bits, PANEL_GROUPS)                                       \
    AFFINE_TILE(affines_##bits, one, bits, 1)                                                      \
    static const panel_kernels affines_##bits##_32 = {affines_##bits##_several,                    \
                                                      affines_##bits##_one, affine_terms_32,       \
                                                      !WIDE_DOT && (bits) == 8};                   \
    static const panel_kernels affines_##bits##_128 = {affines_##bits##_several,                   \
                                                       affines_##bits##_one, affine_terms_128,     \
                                                       !WIDE_DOT && (bits) == 8};

/* With VNNI the number of bits does not matter. */
#if WIDE_DOT
BLOCK_FAMILY(blocks, 8, false)
BLOCK_FAMILY(blocks_minimum, 8, true)
AFFINE_FAMILY(8)
SUPER_FAMILY(supers_32_minimum, 8, 8, SUMS_MINIMUM)
#if SIGNED_BYTES
SUPER_FAMILY(supers_16_minimum, 8, 4, SUMS_MINIMUM)
#define supers_4_16_minimum supers_16_minimum
#define supers_4_16_offset  supers_16_offset
#endif
SUPER_FAMILY(supers_32_offset, 8, 8, SUMS_OFFSET)
SUPER_FAMILY(supers_16_offset, 8, 4, SUMS_OFFSET)
#define blocks_4            blocks
#define blocks_5            blocks
#define blocks_8            blocks
#define blocks_4_minimum    blocks_minimum
#define blocks_5_minimum    blocks_minimum
#define affines_4_32        affines_8_32
#define affines_4_128       affines_8_128
#define supers_4_32_minimum supers_32_minimum
#define supers_5_32_minimum supers_32_minimum
#define supers_6_16_offset  supers_16_offset
#define supers_7_16_offset  supers_16_offset
#define supers_7_32_offset  supers_32_offset
#define supers_8_32_signed  supers_32_offset
#else
BLOCK_FAMILY(blocks_4, 4, false)
BLOCK_FAMILY(blocks_5, 5, false)
BLOCK_FAMILY(blocks_8, 8, false)
BLOCK_FAMILY(blocks_4_minimum, 4, true)
BLOCK_FAMILY(blocks_5_minimum, 5, true)
AFFINE_FAMILY(4)
AFFINE_FAMILY(8)
SUPER_FAMILY(supers_4_32_minimum, 4, 8, SUMS_MINIMUM)
SUPER_FAMILY(supers_5_32_minimum, 5, 8, SUMS_MINIMUM)
SUPER_FAMILY(supers_4_16_minimum, 4, 4, SUMS_MINIMUM)
SUPER_FAMILY(supers_4_16_offset, 4, 4, SUMS_OFFSET)
SUPER_FAMILY(supers_6_16_offset, 6, 4, SUMS_OFFSET)
SUPER_FAMILY(supers_7_16_offset, 7, 4, SUMS_OFFSET)
SUPER_FAMILY(supers_7_32_offset, 7, 8, SUMS_OFFSET)
SUPER_FAMILY(supers_8_32_signed, 8, 8, SUMS_NONE)
#endif
#define affines_5_32  affines_8_32
#define affines_5_128 affines_8_128
BLOCK_16_TILE(blocks_16, several, PANEL_GROUPS)
BLOCK_16_TILE(blocks_16, one, 1)
static const panel_kernels blocks_16 = {blocks_16_several, blocks_16_one, super_terms_16, false};
WHOLE_FAMILY(wholes, WHOLE_BLOCK)
WHOLE_FAMILY(whole_rows, WHOLE_ROW)
#if !SIGNED_BYTES
WHOLE_FAMILY(wholes_minimum, WHOLE_MINIMUM)
#endif

/* ---- formats --------------------------------------------------------------------------------- */

#define DIRECT(type, shape, n)                                                                     \
    static void direct_##type##_##n(const uint8_t *lanes, uint32_t n_blocks, const token_view *x,  \
                                    float *acc)                                                    \
    {                                                                                              \
        shape##_direct(RAD_TYPE_##type, n, lanes, n_blocks, *x, acc);                              \
    }

#if DIRECT_TOKENS == 8
#define DIRECTS(type, shape)                                                                       \
    DIRECT(type, shape, 1)                                                                         \
    DIRECT(type, shape, 2)                                                                         \
    DIRECT(type, shape, 4)                                                                         \
    DIRECT(type, shape, 8)
#define DIRECT_LIST(type)                                                                          \
    {                                                                                              \
        direct_##type##_1, direct_##type##_2, direct_##type##_4, direct_##type##_8                 \
    }
#else
#define DIRECTS(type, shape)                                                                       \
    DIRECT(type, shape, 1)                                                                         \
    DIRECT(type, shape, 2)                                                                         \
    DIRECT(type, shape, 4)
#define DIRECT_LIST(type)                                                                          \
    {                                                                                              \
        direct_##type##_1, direct_##type##_2, direct_##type##_4, NULL                              \
    }
#endif

#define BLOCK_FORMAT(type)                                                                         \
    DIRECTS(type, block)                                                                           \
    static void unpack_##type(const uint8_t *lanes, uint32_t n_blocks, panel *out)                 \
    {                                                                                              \
        unpack_blocks(RAD_TYPE_##type, lanes, n_blocks, &out->blocks);                             \
    }

#define SUPER_FORMAT(type)                                                                         \
    DIRECTS(type, super)                                                                           \
    static void unpack_##type(const uint8_t *lanes, uint32_t n_blocks, panel *out)                 \
    {                                                                                              \
        (void)n_blocks;                                                                            \
        unpack_super(RAD_TYPE_##type, lanes, &out->super);                                         \
    }

#define FOLDED_FORMAT(type)                                                                        \
    DIRECTS(type, super)                                                                           \
    static void unpack_##type(const uint8_t *lanes, uint32_t n_blocks, panel *out)                 \
    {                                                                                              \
        (void)n_blocks;                                                                            \
        unpack_folded(RAD_TYPE_##type, lanes, &out->whole);                                        \
    }

/* Formats that have kernels for one and for four tokens: the fewer, the sooner they are compiled.
 */
#define FEW_DIRECT_LIST(type)                                                                      \
    {                                                                                              \
        direct_##type##_1, NULL, direct_##type##_4, NULL                                           \
    }
#define FEW_DIRECTS(type, call_1, call_4)                                                          \
    static void direct_##type##_1(const uint8_t *lanes, uint32_t n_blocks, const token_view *x,    \
                                  float *acc)                                                      \
    {                                                                                              \
        call_1;                                                                                    \
    }                                                                                              \
    static void direct_##type##_4(const uint8_t *lanes, uint32_t n_blocks, const token_view *x,    \
                                  float *acc)                                                      \
    {                                                                                              \
        call_4;                                                                                    \
    }
#define FEW_UNPACK(type, call)                                                                     \
    static void unpack_##type(const uint8_t *lanes, uint32_t n_blocks, panel *out)                 \
    {                                                                                              \
        (void)n_blocks;                                                                            \
        call;                                                                                      \
    }

/* Kernels that the codebook formats share. */
#define CODE_KERNELS(shape, wide_codes)                                                            \
    static NOT_INLINE void shape##_1(const code_format *format, const uint8_t *lanes,              \
                                     uint32_t n_blocks, const token_view *x, float *acc)           \
    {                                                                                              \
        code_direct(wide_codes, 1, format, lanes, n_blocks, *x, acc);                              \
    }                                                                                              \
    static NOT_INLINE void shape##_4(const code_format *format, const uint8_t *lanes,              \
                                     uint32_t n_blocks, const token_view *x, float *acc)           \
    {                                                                                              \
        code_direct(wide_codes, 4, format, lanes, n_blocks, *x, acc);                              \
    }                                                                                              \
    static NOT_INLINE void shape##_panel(const code_format *format, const uint8_t *lanes,          \
                                         super_panel *out)                                         \
    {                                                                                              \
        unpack_code_panel(wide_codes, format, lanes, out);                                         \
    }
#define CODE_FORMAT(type, shape)                                                                   \
    FEW_DIRECTS(type, shape##_1(&codes_##type, lanes, n_blocks, x, acc),                           \
                shape##_4(&codes_##type, lanes, n_blocks, x, acc))                                 \
    FEW_UNPACK(type, shape##_panel(&codes_##type, lanes, &out->super))

#define FORMAT_ENTRY(type, family, offset)                                                         \
    [RAD_TYPE_##type] = {DIRECT_LIST(type), unpack_##type, &(family), offset, false}

#define FOLDED_ENTRY(type, family, offset)                                                         \
    [RAD_TYPE_##type] = {DIRECT_LIST(type), unpack_##type, &(family), offset, true}

BLOCK_FORMAT(Q4_0)
BLOCK_FORMAT(Q4_1)
BLOCK_FORMAT(Q5_0)
BLOCK_FORMAT(Q5_1)
BLOCK_FORMAT(Q8_0)
SUPER_FORMAT(Q4_K)
SUPER_FORMAT(Q5_K)
SUPER_FORMAT(Q6_K)
BLOCK_FORMAT(IQ4_NL)
BLOCK_FORMAT(MXFP4)
SUPER_FORMAT(IQ4_XS)
#if !SIGNED_BYTES
FOLDED_FORMAT(Q2_K)
FOLDED_FORMAT(Q3_K)
#else
SUPER_FORMAT(Q2_K)
SUPER_FORMAT(Q3_K)
#endif

CODE_KERNELS(nibble_codes, true)
CODE_KERNELS(triple_codes, false)
CODE_FORMAT(IQ3_XXS, nibble_codes)
CODE_FORMAT(IQ3_S, nibble_codes)
CODE_FORMAT(IQ2_XXS, triple_codes)
CODE_FORMAT(IQ2_XS, triple_codes)
CODE_FORMAT(IQ2_S, triple_codes)
CODE_FORMAT(IQ1_S, triple_codes)
CODE_FORMAT(IQ1_M, triple_codes)
FEW_DIRECTS(TQ2_0, ternary_direct(1, lanes, n_blocks, *x, acc),
            ternary_direct(4, lanes, n_blocks, *x, acc))
FEW_UNPACK(TQ2_0, unpack_ternary(false, lanes, n_blocks, &out->whole))
FEW_DIRECTS(I2_S, row_direct(1, lanes, n_blocks, *x, acc), row_direct(4, lanes, n_blocks, *x, acc))
FEW_UNPACK(I2_S, unpack_ternary(true, lanes, n_blocks, &out->whole))
FEW_DIRECTS(NVFP4, block_16_direct(1, lanes, n_blocks, *x, acc),
            block_16_direct(4, lanes, n_blocks, *x, acc))
FEW_UNPACK(NVFP4, unpack_nvfp4(lanes, n_blocks, &out->blocks_16))
DIRECT(NF4_INT8, block, 1)
FEW_UNPACK(NF4_INT8, unpack_blocks(RAD_TYPE_NF4_INT8, lanes, n_blocks, &out->blocks))
FEW_DIRECTS(Q1_0, wide_block_direct(RAD_TYPE_Q1_0, 1, lanes, n_blocks, *x, acc),
            wide_block_direct(RAD_TYPE_Q1_0, 4, lanes, n_blocks, *x, acc))
FEW_UNPACK(Q1_0, unpack_wide_blocks(RAD_TYPE_Q1_0, lanes, n_blocks, &out->blocks))
FEW_DIRECTS(Q2_0, wide_block_direct(RAD_TYPE_Q2_0, 1, lanes, n_blocks, *x, acc),
            wide_block_direct(RAD_TYPE_Q2_0, 4, lanes, n_blocks, *x, acc))
FEW_UNPACK(Q2_0, unpack_wide_blocks(RAD_TYPE_Q2_0, lanes, n_blocks, &out->blocks))

/* One copy of each kernel for both sizes of blocks. */
#define AFFINE_DIRECT(bits, n)                                                                     \
    static ONE_COPY void affine_##bits##_##n(const uint8_t *lanes, uint32_t n_blocks,              \
                                             uint32_t steps, const token_view *x, float *acc)      \
    {                                                                                              \
        affine_direct(bits, n, lanes, n_blocks, steps, *x, acc);                                   \
    }
#define AFFINE_PANEL(bits)                                                                         \
    static ONE_COPY void affine_##bits##_panel(const uint8_t *lanes, uint32_t n_blocks,            \
                                               uint32_t steps, affine_panel *out)                  \
    {                                                                                              \
        unpack_affine(bits, lanes, n_blocks, steps, out);                                          \
    }
#define AFFINE_TYPE(bits, elements, n)                                                             \
    static void direct_A##bits##_##elements##_##n(const uint8_t *lanes, uint32_t n_blocks,         \
                                                  const token_view *x, float *acc)                 \
    {                                                                                              \
        affine_##bits##_##n(lanes, n_blocks, (elements) / 32, x, acc);                             \
    }
#define AFFINE_UNPACK(bits, elements)                                                              \
    FEW_UNPACK(A##bits##_##elements,                                                               \
               affine_##bits##_panel(lanes, n_blocks, (elements) / 32, &out->affine))
#define AFFINE_FORMATS(bits)                                                                       \
    AFFINE_DIRECT(bits, 1)                                                                         \
    AFFINE_PANEL(bits)                                                                             \
    AFFINE_TYPE(bits, 32, 1)                                                                       \
    AFFINE_TYPE(bits, 128, 1)                                                                      \
    AFFINE_UNPACK(bits, 32)                                                                        \
    AFFINE_UNPACK(bits, 128)
#define AFFINE_FOURS(bits)                                                                         \
    AFFINE_DIRECT(bits, 4)                                                                         \
    AFFINE_TYPE(bits, 32, 4)                                                                       \
    AFFINE_TYPE(bits, 128, 4)
AFFINE_FORMATS(2)
AFFINE_FORMATS(3)
AFFINE_FORMATS(4)
AFFINE_FORMATS(5)
AFFINE_FORMATS(6)
AFFINE_FORMATS(8)
AFFINE_FOURS(4)
AFFINE_FOURS(8)

#define AFFINE_ENTRY(bits, elements, four, family)                                                 \
    [RAD_TYPE_A##bits##_##elements] = {{direct_A##bits##_##elements##_1, NULL, four, NULL},        \
                                       unpack_A##bits##_##elements,                                \
                                       &(family##_##elements),                                     \
                                       0,                                                          \
                                       false}
#define AFFINE_ENTRIES(bits, family)                                                               \
    AFFINE_ENTRY(bits, 32, NULL, family), AFFINE_ENTRY(bits, 128, NULL, family)

#define FEW_ENTRY(type, shape, family, quant_offset)                                               \
    [RAD_TYPE_##type] = {FEW_DIRECT_LIST(shape), unpack_##shape, &(family), quant_offset, false}

static const format_kernels formats[] = {
    FORMAT_ENTRY(Q4_0, blocks_4, 8),
    FORMAT_ENTRY(Q4_1, blocks_4_minimum, 0),
    FORMAT_ENTRY(Q5_0, blocks_5, 16),
    FORMAT_ENTRY(Q5_1, blocks_5_minimum, 0),
    FORMAT_ENTRY(Q8_0, blocks_8, SIGNED_BYTES ? 0 : 128),
    FORMAT_ENTRY(Q4_K, supers_4_32_minimum, 0),
    FORMAT_ENTRY(Q5_K, supers_5_32_minimum, 0),
    FORMAT_ENTRY(Q6_K, supers_6_16_offset, 32),
#if !SIGNED_BYTES
    FOLDED_ENTRY(Q2_K, wholes_minimum, 0),
    FOLDED_ENTRY(Q3_K, wholes, FOLDED_OFFSET_Q3_K),
#else
    FORMAT_ENTRY(Q2_K, supers_4_16_minimum, 0),
    FORMAT_ENTRY(Q3_K, supers_4_16_offset, 4),
#endif
    FORMAT_ENTRY(IQ4_NL, blocks_8, SIGNED_BYTES ? 0 : 128),
    FORMAT_ENTRY(IQ4_XS, supers_8_32_signed, SIGNED_BYTES ? 0 : 128),
    FORMAT_ENTRY(MXFP4, blocks_5, 12),
    FEW_ENTRY(NVFP4, NVFP4, blocks_16, 12),
    [RAD_TYPE_NF4_INT8] = {{direct_NF4_INT8_1, NULL, NULL, NULL},
                           unpack_NF4_INT8,
                           &blocks_8,
                           SIGNED_BYTES ? 0 : 128,
                           false},
    FEW_ENTRY(Q1_0, Q1_0, blocks_4, 1),
    FEW_ENTRY(Q2_0, Q2_0, blocks_4, 1),
    FEW_ENTRY(IQ1_S, IQ1_S, supers_7_32_offset, 9),
    FEW_ENTRY(IQ1_M, IQ1_M, supers_7_16_offset, 9),
    FEW_ENTRY(IQ2_XXS, IQ2_XXS, supers_7_32_offset, 43),
    FEW_ENTRY(IQ2_XS, IQ2_XS, supers_7_16_offset, 43),
    FEW_ENTRY(IQ2_S, IQ2_S, supers_7_16_offset, 43),
    FEW_ENTRY(IQ3_XXS, IQ3_XXS, supers_7_32_offset, 62),
    FEW_ENTRY(IQ3_S, IQ3_S, supers_7_32_offset, 62),
    FEW_ENTRY(TQ1_0, TQ2_0, wholes, 1),
    FEW_ENTRY(TQ2_0, TQ2_0, wholes, 1),
    FEW_ENTRY(I2_S, I2_S, whole_rows, 1),
    AFFINE_ENTRIES(2, affines_4),
    AFFINE_ENTRIES(3, affines_4),
    AFFINE_ENTRY(4, 32, direct_A4_32_4, affines_4),
    AFFINE_ENTRY(4, 128, direct_A4_128_4, affines_4),
    AFFINE_ENTRIES(5, affines_5),
    AFFINE_ENTRIES(6, affines_8),
    AFFINE_ENTRY(8, 32, direct_A8_32_4, affines_8),
    AFFINE_ENTRY(8, 128, direct_A8_128_4, affines_8),
};

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
    if (info->family == RAD_FAMILY_SCALED) {
        product_scaled(w, info, x, first_row, last_row, first_token, last_token, y, y_stride,
                       scratch);
        return;
    }
    if (info->family == RAD_FAMILY_INT8) {
        product_int8(w, x, first_row, last_row, first_token, last_token, y, y_stride, scratch);
        return;
    }
    product_job job = {.w = w,
                       .x = x,
                       .format = &formats[w->type],
                       .info = info,
                       .form = rad_lane_form_of(w->type),
                       .n_blocks = w->n_columns / info->block_elements,
                       .blocks_a_chunk = CHUNK_COLUMNS / info->block_elements,
                       .scratch = scratch,
                       .y = y,
                       .y_stride = y_stride};
    job.has_lanes = w->layout == RAD_LAYOUT_LANE || !job.form->is_recoded;
    job.row_bytes = (size_t)job.n_blocks * info->block_bytes;
    job.lane_row_bytes = (size_t)job.n_blocks * job.form->block_bytes;
    product_quantized(&job, first_row, last_row, first_token, last_token);
}

const rad_kernels TABLE_NAME = {
    .isa = TABLE_ISA,
    .name = TABLE_TEXT,
    .quantize_q8_32 = quantize_q8_32,
    .quantize_q8_64 = quantize_q8_64,
    .quantize_q8_256 = quantize_q8_256,
    .quantize_q8_row = quantize_q8_row,
    .product = product,
    .pack_lane_group = pack_lane_group,
    .layer = TABLE_LAYER,
};

#endif

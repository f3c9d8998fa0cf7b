/* quant: the number formats of weights. One file per format: block layout, decode, encode, and how
 * a block comes apart into the integers that the products multiply. Nothing here knows of models,
 * threads or instruction sets. */
#ifndef RAD_QUANT_H
#define RAD_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tensor types, numbered as in GGUF. */
typedef enum rad_type {
    RAD_TYPE_F32 = 0,
    RAD_TYPE_F16 = 1,
    RAD_TYPE_Q4_0 = 2,
    RAD_TYPE_Q4_1 = 3,
    RAD_TYPE_Q5_0 = 6,
    RAD_TYPE_Q5_1 = 7,
    RAD_TYPE_Q8_0 = 8,
    RAD_TYPE_Q8_1 = 9,
    RAD_TYPE_Q2_K = 10,
    RAD_TYPE_Q3_K = 11,
    RAD_TYPE_Q4_K = 12,
    RAD_TYPE_Q5_K = 13,
    RAD_TYPE_Q6_K = 14,
    RAD_TYPE_Q8_K = 15,
    RAD_TYPE_IQ2_XXS = 16,
    RAD_TYPE_IQ2_XS = 17,
    RAD_TYPE_IQ3_XXS = 18,
    RAD_TYPE_IQ1_S = 19,
    RAD_TYPE_IQ4_NL = 20,
    RAD_TYPE_IQ3_S = 21,
    RAD_TYPE_IQ2_S = 22,
    RAD_TYPE_IQ4_XS = 23,
    RAD_TYPE_I8 = 24,
    RAD_TYPE_I16 = 25,
    RAD_TYPE_I32 = 26,
    RAD_TYPE_I64 = 27,
    RAD_TYPE_F64 = 28,
    RAD_TYPE_IQ1_M = 29,
    RAD_TYPE_BF16 = 30,
    RAD_TYPE_TQ1_0 = 34,
    RAD_TYPE_TQ2_0 = 35,
    RAD_TYPE_I2_S = 36, /* of the BitNet fork; ggml once had another type of this number */
    RAD_TYPE_MXFP4 = 39,
    RAD_TYPE_NVFP4 = 40,
    RAD_TYPE_Q1_0 = 41,
    RAD_TYPE_Q2_0 = 42,
    /* Of folders alone, with numbers that no GGUF file may use. Known by their size: */
    RAD_TYPE_FOREIGN = 64,
    RAD_TYPE_BOOL = 64,
    RAD_TYPE_U8 = 65,
    RAD_TYPE_U16 = 66,
    RAD_TYPE_U32 = 67,
    RAD_TYPE_U64 = 68,
    RAD_TYPE_C64 = 69,
    RAD_TYPE_F8_E4M3 = 70,
    RAD_TYPE_F8_E5M2 = 71,
    RAD_TYPE_F8_E8M0 = 72,
    RAD_TYPE_F8_E4M3FNUZ = 73,
    RAD_TYPE_F8_E5M2FNUZ = 74,
    RAD_TYPE_F6_E2M3 = 75,
    RAD_TYPE_F6_E3M2 = 76,
    RAD_TYPE_F4 = 77,
    /* Made of what folders store (affine.c): 2 to 8 bits in blocks of 32, and of 128. */
    RAD_TYPE_A2_32 = 80,
    RAD_TYPE_A3_32 = 81,
    RAD_TYPE_A4_32 = 82,
    RAD_TYPE_A5_32 = 83,
    RAD_TYPE_A6_32 = 84,
    RAD_TYPE_A8_32 = 85,
    RAD_TYPE_A2_128 = 86,
    RAD_TYPE_A3_128 = 87,
    RAD_TYPE_A4_128 = 88,
    RAD_TYPE_A5_128 = 89,
    RAD_TYPE_A6_128 = 90,
    RAD_TYPE_A8_128 = 91,
    RAD_TYPE_NF4_INT8 = 92, /* NF4 with rounded levels: option nf4=int8 */
    /* Of weights that folders store in several tensors, put together as they are read. */
    RAD_TYPE_NF4 = 112,
    RAD_TYPE_FP4 = 113,
    RAD_TYPE_FP8 = 114,
    RAD_TYPE_INT8 = 115
} rad_type;

/* How activations are given to a product with weights of a type (numeric contract, rules 2, 3). */
typedef enum rad_activation_kind {
    RAD_ACTIVATION_NONE = 0, /* this version cannot compute with the type */
    RAD_ACTIVATION_F32 = 1,
    RAD_ACTIVATION_Q8_32 = 2,       /* int8 per 32 values with an F32 scale */
    RAD_ACTIVATION_Q8_256 = 3,      /* int8 per 256 values with an F32 scale */
    RAD_ACTIVATION_Q8_OUTLIERS = 5, /* the same, but for values at and above a threshold, which
                                     * stay F32 (and are 0 in int8) */
    RAD_ACTIVATION_Q8_ROW = 4,      /* int8 with one F32 scale for the row */
    RAD_ACTIVATION_Q8_64 = 6        /* int8 per 64 values with an F32 scale */
} rad_activation_kind;

/* How the blocks of a type take part in a product; formats of one family share every kernel. */
typedef enum rad_family {
    RAD_FAMILY_NONE = 0,
    RAD_FAMILY_FLOAT = 1,    /* plain numbers */
    RAD_FAMILY_BLOCK = 2,    /* one scale (and perhaps a minimum) per 32, or per some times 32 */
    RAD_FAMILY_SUPER_16 = 3, /* integer sub-scales (and perhaps sub-minima) per 16 inside 256 */
    RAD_FAMILY_SUPER_32 = 4, /* integer sub-scales (and perhaps sub-minima) per 32 inside 256 */
    RAD_FAMILY_BLOCK_16 = 5, /* one scale per 16, no minimum */
    RAD_FAMILY_TERNARY = 6,  /* one scale per 256 */
    RAD_FAMILY_ROW = 7,      /* integers alone, activations per row; a scale for the tensor */
    RAD_FAMILY_SCALED = 8, /* numbers of 4 or 8 bits with an F32 scale per 64: widened to F32, then
                            * as FLOAT */
    RAD_FAMILY_INT8 = 9,   /* int8 with a scale for the row, activations with outliers */
    RAD_FAMILY_AFFINE = 10 /* one scale and a whole number, the zero, per 32 or 128 */
} rad_family;

#define RAD_SUPER_BLOCK  256
#define RAD_SCALED_BLOCK 64

/* One block taken apart into the integers and floats that a product needs (numeric contract, rule
 * 2). A weight is scale * sub_scale * quant + minimum * sub_minimum; outside the SUPER families
 * sub-scales and sub-minima are 1 and not written, in BLOCK_16 scales_16[i / 16] takes the place of
 * scale, in ROW scale is 1. In AFFINE it is scale * (quant - zero). Offsets of the format are
 * already taken off `quants`. */
typedef struct rad_block {
    float scale;
    float minimum;
    int8_t quants[RAD_SUPER_BLOCK];
    int8_t sub_scales[16]; /* SUPER_16: 16 of them; SUPER_32: 8 */
    int8_t sub_minima[16];
    float scales_16[4];
    int32_t zero; /* AFFINE: from -128 to 255 */
} rad_block;

/* The most columns that a row of RAD_FAMILY_ROW may have: its sum of quants (at most 2) times
 * activations (at most 127) stays below 2^31. */
#define RAD_ROW_COLUMNS_MAX ((uint32_t)1 << 23)

/* DO(bits, elements) for each of the affine formats A<bits>_<elements> (affine.c). */
#define RAD_FOR_AFFINE_FORMATS(DO)                                                                 \
    DO(2, 32)                                                                                      \
    DO(3, 32)                                                                                      \
    DO(4, 32)                                                                                      \
    DO(5, 32)                                                                                      \
    DO(6, 32)                                                                                      \
    DO(8, 32)                                                                                      \
    DO(2, 128)                                                                                     \
    DO(3, 128)                                                                                     \
    DO(4, 128)                                                                                     \
    DO(5, 128)                                                                                     \
    DO(6, 128)                                                                                     \
    DO(8, 128)

typedef struct rad_type_info {
    const char *name; /* "Q4_K" */
    uint32_t block_elements;
    uint32_t block_bytes;
    rad_activation_kind activation;
    /* n (a multiple of block_elements) values of one row; NULL where the activation kind is none.
     */
    void (*decode)(const void *blocks, float *values, size_t n);
    /* The same bytes on every machine; values that are not finite count as zero in the quantized
     * types. importance: how much each of the n columns matters, at least zero; NULL: all alike.
     * NULL where decode is, in the codebook types, and in those of folders alone. */
    void (*encode)(const float *values, const float *importance, void *blocks, size_t n);
    /* For the families of blocks of integers; NULL in the others. */
    rad_family family;
    bool has_minimum;
    void (*unpack)(const void *block, rad_block *out);
    /* Bytes behind the last block of a tensor. I2_S: the first four are the F32 scale that all
     * weights of the tensor are to be multiplied with, which decode leaves out. */
    uint32_t tail_bytes;
} rad_type_info;

/* NULL for a number that is no type or a removed one. */
const rad_type_info *rad_type_find(uint32_t type);

/* Values of a block of the families SUPER and TERNARY that is taken apart already, as the type's
 * own decode function gives them. */
void rad_decode_unpacked(const rad_block *block, rad_family family, float values[RAD_SUPER_BLOCK]);

/* The most columns that a row of RAD_FAMILY_INT8 may have: 127 * 128 times these is below 2^31. */
#define RAD_INT8_COLUMNS_MAX ((uint32_t)1 << 17)
/* 1 / 127 as bitsandbytes has it. */
#define RAD_INT8_STEP 0.007874015718698502f

/* The sixteen levels of NF4 and FP4, and one block of either of them from its scale and codes. */
extern const float rad_levels_nf4[16];
extern const float rad_levels_fp4[16];
void rad_pack_nf4(float scale, const uint8_t codes[RAD_SCALED_BLOCK], uint8_t *block);
/* Makes NF4_INT8 of n blocks of NF4, in their place: two blocks of 32 of each, the same bytes.
 * False where a scale is beyond F16, which leaves the blocks behind it as they were. */
bool rad_round_nf4(uint8_t *blocks, size_t n);

/* The bits of an F16 number 2^8 times as small as one of type E4M3 (fp8.c). */
static inline uint16_t rad_e4m3_to_f16(uint8_t code)
{
    return (uint16_t)((code & 0x80) << 8 | (code & 0x7f) << 7);
}

/* Scalar conversions, exact and with IEEE rounding to nearest even; F16 keeps infinities and NaN.
 */
float rad_f16_to_f32(uint16_t value);
uint16_t rad_f32_to_f16(float value);           /* overflow gives infinity */
uint16_t rad_f32_to_f16_saturated(float value); /* finite values beyond 65504 become +-65504 */
static inline float rad_bf16_to_f32(uint16_t value)
{
    union {
        uint32_t bits;
        float number;
    } u = {(uint32_t)value << 16};
    return u.number;
}
uint16_t rad_f32_to_bf16(float value);

#endif

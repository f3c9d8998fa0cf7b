/* The table of tensor types. Types without functions are known by their size alone: a file that
 * holds them can be read and listed, not computed with. */
#include "quant/formats.h"

#define SIZE_ONLY(number, elements, bytes)                                                         \
    [RAD_TYPE_##number] = {.name = #number, .block_elements = (elements), .block_bytes = (bytes)}

#define PLAIN(number, suffix, bytes)                                                               \
    [RAD_TYPE_##number] = {.name = #number,                                                        \
                           .block_elements = 1,                                                    \
                           .block_bytes = (bytes),                                                 \
                           .activation = RAD_ACTIVATION_F32,                                       \
                           .decode = rad_decode_##suffix,                                          \
                           .encode = rad_encode_##suffix,                                          \
                           .family = RAD_FAMILY_FLOAT}

#define BLOCKS(number, suffix, elements, bytes, kind, family_, minimum)                            \
    [RAD_TYPE_##number] = {.name = #number,                                                        \
                           .block_elements = (elements),                                           \
                           .block_bytes = (bytes),                                                 \
                           .activation = (kind),                                                   \
                           .decode = rad_decode_##suffix,                                          \
                           .encode = rad_encode_##suffix,                                          \
                           .family = (family_),                                                    \
                           .has_minimum = (minimum),                                               \
                           .unpack = rad_unpack_##suffix}

#define SCALED(number, suffix, bytes)                                                              \
    [RAD_TYPE_##number] = {.name = #number,                                                        \
                           .block_elements = RAD_SCALED_BLOCK,                                     \
                           .block_bytes = (bytes),                                                 \
                           .activation = RAD_ACTIVATION_F32,                                       \
                           .decode = rad_decode_##suffix,                                          \
                           .family = RAD_FAMILY_SCALED}

/* Decoded and computed with, not encoded. */
#define CODEBOOK(number, suffix, bytes, family_)                                                   \
    [RAD_TYPE_##number] = {.name = #number,                                                        \
                           .block_elements = RAD_SUPER_BLOCK,                                      \
                           .block_bytes = (bytes),                                                 \
                           .activation = RAD_ACTIVATION_Q8_256,                                    \
                           .decode = rad_decode_##suffix,                                          \
                           .family = (family_),                                                    \
                           .unpack = rad_unpack_##suffix}

#define BESIDE_AFFINE(elements) ((elements) == 32 ? RAD_ACTIVATION_Q8_32 : RAD_ACTIVATION_Q8_64)
#define AFFINE(bits, elements)                                                                     \
    [RAD_TYPE_A##bits##_##elements] = {.name = "A" #bits "_" #elements,                            \
                                       .block_elements = (elements),                               \
                                       .block_bytes = 4 + (elements) / 8 * (bits),                 \
                                       .activation = BESIDE_AFFINE(elements),                      \
                                       .decode = rad_decode_a##bits##_##elements,                  \
                                       .family = RAD_FAMILY_AFFINE,                                \
                                       .unpack = rad_unpack_a##bits##_##elements},

static const rad_type_info types[] = {
    PLAIN(F32, f32, 4),
    PLAIN(F16, f16, 2),
    PLAIN(BF16, bf16, 2),
    BLOCKS(Q4_0, q4_0, 32, 18, RAD_ACTIVATION_Q8_32, RAD_FAMILY_BLOCK, false),
    BLOCKS(Q4_1, q4_1, 32, 20, RAD_ACTIVATION_Q8_32, RAD_FAMILY_BLOCK, true),
    BLOCKS(Q5_0, q5_0, 32, 22, RAD_ACTIVATION_Q8_32, RAD_FAMILY_BLOCK, false),
    BLOCKS(Q5_1, q5_1, 32, 24, RAD_ACTIVATION_Q8_32, RAD_FAMILY_BLOCK, true),
    BLOCKS(Q8_0, q8_0, 32, 34, RAD_ACTIVATION_Q8_32, RAD_FAMILY_BLOCK, false),
    BLOCKS(Q4_K, q4_k, 256, 144, RAD_ACTIVATION_Q8_256, RAD_FAMILY_SUPER_32, true),
    BLOCKS(Q5_K, q5_k, 256, 176, RAD_ACTIVATION_Q8_256, RAD_FAMILY_SUPER_32, true),
    BLOCKS(Q6_K, q6_k, 256, 210, RAD_ACTIVATION_Q8_256, RAD_FAMILY_SUPER_16, false),
    BLOCKS(Q2_K, q2_k, 256, 84, RAD_ACTIVATION_Q8_256, RAD_FAMILY_SUPER_16, true),
    BLOCKS(Q3_K, q3_k, 256, 110, RAD_ACTIVATION_Q8_256, RAD_FAMILY_SUPER_16, false),
    BLOCKS(IQ4_NL, iq4_nl, 32, 18, RAD_ACTIVATION_Q8_32, RAD_FAMILY_BLOCK, false),
    BLOCKS(IQ4_XS, iq4_xs, 256, 136, RAD_ACTIVATION_Q8_256, RAD_FAMILY_SUPER_32, false),
    CODEBOOK(IQ1_S, iq1_s, 50, RAD_FAMILY_SUPER_32),
    CODEBOOK(IQ1_M, iq1_m, 56, RAD_FAMILY_SUPER_16),
    CODEBOOK(IQ2_XXS, iq2_xxs, 66, RAD_FAMILY_SUPER_32),
    CODEBOOK(IQ2_XS, iq2_xs, 74, RAD_FAMILY_SUPER_16),
    CODEBOOK(IQ2_S, iq2_s, 82, RAD_FAMILY_SUPER_16),
    CODEBOOK(IQ3_XXS, iq3_xxs, 98, RAD_FAMILY_SUPER_32),
    CODEBOOK(IQ3_S, iq3_s, 110, RAD_FAMILY_SUPER_32),
    BLOCKS(MXFP4, mxfp4, 32, 17, RAD_ACTIVATION_Q8_32, RAD_FAMILY_BLOCK, false),
    BLOCKS(NVFP4, nvfp4, 64, 36, RAD_ACTIVATION_Q8_32, RAD_FAMILY_BLOCK_16, false),
    BLOCKS(Q1_0, q1_0, 128, 18, RAD_ACTIVATION_Q8_32, RAD_FAMILY_BLOCK, false),
    BLOCKS(Q2_0, q2_0, 64, 18, RAD_ACTIVATION_Q8_32, RAD_FAMILY_BLOCK, false),
    BLOCKS(TQ1_0, tq1_0, 256, 54, RAD_ACTIVATION_Q8_256, RAD_FAMILY_TERNARY, false),
    BLOCKS(TQ2_0, tq2_0, 256, 66, RAD_ACTIVATION_Q8_256, RAD_FAMILY_TERNARY, false),
    [RAD_TYPE_I2_S] = {.name = "I2_S",
                       .block_elements = 128,
                       .block_bytes = 32,
                       .activation = RAD_ACTIVATION_Q8_ROW,
                       .decode = rad_decode_i2_s,
                       .encode = rad_encode_i2_s,
                       .family = RAD_FAMILY_ROW,
                       .unpack = rad_unpack_i2_s,
                       .tail_bytes = 32},
    RAD_FOR_AFFINE_FORMATS(AFFINE) SIZE_ONLY(Q8_1, 32, 36),
    SIZE_ONLY(Q8_K, 256, 292),
    SIZE_ONLY(I8, 1, 1),
    SIZE_ONLY(I16, 1, 2),
    SIZE_ONLY(I32, 1, 4),
    SIZE_ONLY(I64, 1, 8),
    SIZE_ONLY(F64, 1, 8),
    SIZE_ONLY(BOOL, 1, 1),
    SIZE_ONLY(U8, 1, 1),
    SIZE_ONLY(U16, 1, 2),
    SIZE_ONLY(U32, 1, 4),
    SIZE_ONLY(U64, 1, 8),
    SIZE_ONLY(C64, 1, 8),
    SIZE_ONLY(F8_E4M3, 1, 1),
    SIZE_ONLY(F8_E5M2, 1, 1),
    SIZE_ONLY(F8_E8M0, 1, 1),
    SIZE_ONLY(F8_E4M3FNUZ, 1, 1),
    SIZE_ONLY(F8_E5M2FNUZ, 1, 1),
    SIZE_ONLY(F6_E2M3, 4, 3),
    SIZE_ONLY(F6_E3M2, 4, 3),
    SIZE_ONLY(F4, 2, 1),
    SCALED(NF4, nf4, 36),
    SCALED(FP4, fp4, 36),
    SCALED(FP8, fp8, 68),
    [RAD_TYPE_INT8] = {.name = "INT8",
                       .block_elements = RAD_SCALED_BLOCK,
                       .block_bytes = 68,
                       .activation = RAD_ACTIVATION_Q8_OUTLIERS,
                       .decode = rad_decode_int8,
                       .family = RAD_FAMILY_INT8},
    [RAD_TYPE_NF4_INT8] = {.name = "NF4_INT8",
                           .block_elements = 32,
                           .block_bytes = 18,
                           .activation = RAD_ACTIVATION_Q8_32,
                           .decode = rad_decode_nf4_int8,
                           .family = RAD_FAMILY_BLOCK,
                           .unpack = rad_unpack_nf4_int8},
};

const rad_type_info *rad_type_find(uint32_t type)
{
    if (type >= sizeof(types) / sizeof(types[0]) || types[type].name == NULL)
        return NULL;
    return &types[type];
}

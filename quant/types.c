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
    SIZE_ONLY(Q8_1, 32, 36),
    SIZE_ONLY(Q2_K, 256, 84),
    SIZE_ONLY(Q3_K, 256, 110),
    SIZE_ONLY(Q8_K, 256, 292),
    SIZE_ONLY(IQ2_XXS, 256, 66),
    SIZE_ONLY(IQ2_XS, 256, 74),
    SIZE_ONLY(IQ3_XXS, 256, 98),
    SIZE_ONLY(IQ1_S, 256, 50),
    SIZE_ONLY(IQ4_NL, 32, 18),
    SIZE_ONLY(IQ3_S, 256, 110),
    SIZE_ONLY(IQ2_S, 256, 82),
    SIZE_ONLY(IQ4_XS, 256, 136),
    SIZE_ONLY(I8, 1, 1),
    SIZE_ONLY(I16, 1, 2),
    SIZE_ONLY(I32, 1, 4),
    SIZE_ONLY(I64, 1, 8),
    SIZE_ONLY(F64, 1, 8),
    SIZE_ONLY(IQ1_M, 256, 56),
    SIZE_ONLY(TQ1_0, 256, 54),
    SIZE_ONLY(TQ2_0, 256, 66),
    SIZE_ONLY(MXFP4, 32, 17),
    SIZE_ONLY(NVFP4, 64, 36),
    SIZE_ONLY(Q1_0, 128, 18),
    SIZE_ONLY(Q2_0, 64, 18),
};

const rad_type_info *rad_type_find(uint32_t type)
{
    if (type >= sizeof(types) / sizeof(types[0]) || types[type].name == NULL)
        return NULL;
    return &types[type];
}

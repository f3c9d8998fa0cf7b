/* Inside quant/: the functions of each format file, and small helpers that they share. */
#ifndef RAD_QUANT_FORMATS_H
#define RAD_QUANT_FORMATS_H

#include "quant/quant.h"

#include <string.h>

#define RAD_DECLARE_FORMAT(name)                                                                   \
    void rad_decode_##name(const void *blocks, float *values, size_t n);                           \
    void rad_encode_##name(const float *values, const float *importance, void *blocks, size_t n);
#define RAD_DECLARE_BLOCK_FORMAT(name)                                                             \
    RAD_DECLARE_FORMAT(name)                                                                       \
    void rad_unpack_##name(const void *block, rad_block *out);

/* Codebook formats, and those of folders alone: they are not encoded here. */
#define RAD_DECLARE_READ_ONLY_FORMAT(name)                                                         \
    void rad_decode_##name(const void *blocks, float *values, size_t n);                           \
    void rad_unpack_##name(const void *block, rad_block *out);

RAD_DECLARE_FORMAT(f32)
RAD_DECLARE_FORMAT(f16)
RAD_DECLARE_FORMAT(bf16)
RAD_DECLARE_BLOCK_FORMAT(q4_0)
RAD_DECLARE_BLOCK_FORMAT(q4_1)
RAD_DECLARE_BLOCK_FORMAT(q5_0)
RAD_DECLARE_BLOCK_FORMAT(q5_1)
RAD_DECLARE_BLOCK_FORMAT(q8_0)
RAD_DECLARE_BLOCK_FORMAT(q4_k)
RAD_DECLARE_BLOCK_FORMAT(q5_k)
RAD_DECLARE_BLOCK_FORMAT(q6_k)
RAD_DECLARE_BLOCK_FORMAT(q2_k)
RAD_DECLARE_BLOCK_FORMAT(q3_k)
RAD_DECLARE_BLOCK_FORMAT(iq4_nl)
RAD_DECLARE_BLOCK_FORMAT(iq4_xs)
RAD_DECLARE_BLOCK_FORMAT(tq1_0)
RAD_DECLARE_BLOCK_FORMAT(tq2_0)
RAD_DECLARE_BLOCK_FORMAT(mxfp4)
RAD_DECLARE_BLOCK_FORMAT(nvfp4)
RAD_DECLARE_BLOCK_FORMAT(q1_0)
RAD_DECLARE_BLOCK_FORMAT(q2_0)
RAD_DECLARE_BLOCK_FORMAT(i2_s)
void rad_decode_nf4(const void *blocks, float *values, size_t n);
void rad_decode_nf4_int8(const void *blocks, float *values, size_t n);
void rad_unpack_nf4_int8(const void *block, rad_block *out);
void rad_decode_fp4(const void *blocks, float *values, size_t n);
void rad_decode_int8(const void *blocks, float *values, size_t n);
void rad_decode_fp8(const void *blocks, float *values, size_t n);
RAD_DECLARE_READ_ONLY_FORMAT(iq1_s)
RAD_DECLARE_READ_ONLY_FORMAT(iq1_m)
RAD_DECLARE_READ_ONLY_FORMAT(iq2_xxs)
RAD_DECLARE_READ_ONLY_FORMAT(iq2_xs)
RAD_DECLARE_READ_ONLY_FORMAT(iq2_s)
RAD_DECLARE_READ_ONLY_FORMAT(iq3_xxs)
RAD_DECLARE_READ_ONLY_FORMAT(iq3_s)
#define RAD_DECLARE_AFFINE(bits, elements) RAD_DECLARE_READ_ONLY_FORMAT(a##bits##_##elements)
RAD_FOR_AFFINE_FORMATS(RAD_DECLARE_AFFINE)

/* Files hold little-endian numbers at any alignment. */
static inline uint16_t rad_load_u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline uint32_t rad_load_u32(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static inline void rad_store_u16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

static inline void rad_store_u32(uint8_t *bytes, uint32_t value)
{
    rad_store_u16(bytes, (uint16_t)value);
    rad_store_u16(bytes + 2, (uint16_t)(value >> 16));
}

static inline float rad_load_f16(const uint8_t *bytes)
{
    return rad_f16_to_f32(rad_load_u16(bytes));
}

static inline float rad_load_f32(const uint8_t *bytes)
{
    uint32_t bits = rad_load_u32(bytes);
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline void rad_store_f32(uint8_t *bytes, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    rad_store_u32(bytes, bits);
}

/* ---- decoding (decode.c) ------------------------------------------------------------------- */

typedef void (*rad_unpack_fn)(const void *block, rad_block *out);

typedef struct rad_block_shape {
    uint32_t elements;
    uint32_t bytes;
} rad_block_shape;

/* value = quant * scale, blocks with one scale. */
void rad_decode_blocks(const void *blocks, float *values, size_t n, rad_block_shape shape,
                       rad_unpack_fn unpack);
/* value = (scale * sub_scale) * quant, super-blocks of 256 with a sub-scale per sub_block. */
void rad_decode_super(const void *blocks, float *values, size_t n, size_t block_bytes,
                      uint32_t sub_block, rad_unpack_fn unpack);

/* ---- tables -------------------------------------------------------------------------------- */

/* IQ4_NL and IQ4_XS (iq4_nl.c): increasing levels. */
extern const int8_t rad_levels_iq4[16];
/* E2M1 of MXFP4 and NVFP4 (mxfp4.c), doubled to be integers: bit 3 is the sign. */
extern const int8_t rad_levels_e2m1[16];

/* ---- encoding (search.c) ------------------------------------------------------------------- */

/* Nearest integer, halves away from zero, held between low and high; NaN gives low. */
int rad_nearest(float value, int low, int high);

/* Copies n values with those that are not finite replaced by zero. */
void rad_copy_finite(const float *values, float *out, size_t n);

float rad_largest_magnitude(const float *x, size_t n);

#endif

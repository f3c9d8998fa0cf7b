/* Inside quant/: the functions of each format file, and small helpers that they share. */
#ifndef RAD_QUANT_FORMATS_H
#define RAD_QUANT_FORMATS_H

#include "quant/quant.h"

#include <string.h>

#define RAD_DECLARE_FORMAT(name)                                                                   \
    void rad_decode_##name(const void *blocks, float *values, size_t n);                           \
    void rad_encode_##name(const float *values, void *blocks, size_t n);
#define RAD_DECLARE_BLOCK_FORMAT(name)                                                             \
    RAD_DECLARE_FORMAT(name)                                                                       \
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

/* ---- encoding (search.c) ------------------------------------------------------------------- */

/* Nearest integer, halves away from zero, held between low and high; NaN gives low. */
int rad_nearest(float value, int low, int high);

/* Copies n values with those that are not finite replaced by zero. */
void rad_copy_finite(const float *values, float *out, size_t n);

/* The factor s that makes s * q nearest to x (least squares weighted by x^2) with integers q in
 * -half..half-1, where half is a power of two; found by trying a fixed list of ranges. Writes q.
 * Zero when x is all zero. */
float rad_search_scale(const float *x, uint32_t n, int half, int8_t *q);

/* The pair (scale >= 0, minimum) that makes scale * q + minimum nearest to x with q in 0..high.
 * Where `minimum_not_positive`, the minimum is at most zero. */
float rad_search_scale_minimum(const float *x, uint32_t n, int high, bool minimum_not_positive,
                               float *minimum);

#endif

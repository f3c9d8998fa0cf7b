/* The functions of lanes.h for one lane at a time, on any machine, and helpers for all widths. A
 * header, since where there are vectors the library does not need them: tests compare with these.
 */
#ifndef RAD_QUANT_LANES_PLAIN_H
#define RAD_QUANT_LANES_PLAIN_H

#include "quant/formats.h"
#include "quant/lanes.h"

/* How far the two ends are moved in, in steps of the quants: outliers may cost less than a coarser
 * grid does. The first few pairs do where time counts most. */
static const float first_in[RAD_LANES] = {0.0f, 0.4f,  -0.1f, 0.2f,  -0.1f, 0.2f, 0.4f, 0.75f,
                                          0.0f, 0.75f, 0.4f,  0.75f, 1.2f,  0.2f, 1.2f, 0.0f};
static const float last_in[RAD_LANES] = {0.2f,  -0.1f, 0.4f,  0.0f,  -0.1f, 0.2f, 0.4f, 0.0f,
                                         0.75f, 0.4f,  0.75f, 0.75f, 0.2f,  1.2f, 1.2f, 0.0f};

static inline float power_of_two(int exponent) /* -126..127 */
{
    uint32_t bits = (uint32_t)(exponent + 127) << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* floor(log2(x)) of a positive normal number; less than -126 for others. */
static inline int exponent_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (int)(bits >> 23 & 255u) - 127;
}

/* The best pair of scale and minimum yet. */
typedef struct affine_choice {
    float scale, minimum;
    float gain;    /* how much less the error is than that of the mean alone */
    float reached; /* how much of the numbers' spread is left */
} affine_choice;

static inline float magnitude_of(float x)
{
    return x < 0.0f ? -x : x;
}

static void plain_from_f16(const uint8_t *halves, float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = rad_load_f16(halves + 2 * i);
}

static void plain_to_f16(const float *values, uint8_t *halves, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rad_store_u16(halves + 2 * i, rad_f32_to_f16(values[i]));
}

static inline float least(float a, float b)
{
    return a < b ? a : b;
}

static inline float greatest(float a, float b)
{
    return a > b ? a : b;
}

#define NAME(function) plain_##function
#define TARGET
#define VECTOR           float
#define WIDTH            1
#define SET(value)       (value)
#define LOAD(from)       (*(from))
#define STORE(to, value) (*(to) = (value))
#define ADD(a, b)        ((a) + (b))
#define SUB(a, b)        ((a) - (b))
#define MUL(a, b)        ((a) * (b))
#define DIV(a, b)        ((a) / (b))
#define MIN(a, b)        least((a), (b))
#define MAX(a, b)        greatest((a), (b))
#define ADD_WHERE_ABOVE(sum, v, threshold, difference)                                             \
    ((sum) + ((v) > (threshold) ? (difference) : 0.0f))
#define ROUND(v)                    rad_round(v)
#define SELECT_ABOVE(a, b, yes, no) ((a) > (b) ? (yes) : (no))
#define SUM(v)                      (v)
#define GREATEST(v)                 (v)
#define EQUAL(a, b)                 ((a) == (b))
#define ABS(v)                      magnitude_of(v)
#define STORE_BYTES(to, v)          (*(to) = (int8_t)(int32_t)(v))
#define FROM_F16                    plain_from_f16
#define TO_F16                      plain_to_f16
#include "quant/lanes_template.h"

#endif

/* Inside quant/: sixteen candidates for a scale, tried at the same time on some numbers. A lane is
 * a candidate, so sums are added up in the order of the numbers, and the result is the same bits at
 * any width of vectors. */
#ifndef RAD_QUANT_LANES_H
#define RAD_QUANT_LANES_H

#include <stdint.h>

#define RAD_LANES 16

/* Levels of a codebook: the lowest, and from one to the next the threshold half way and the
 * difference. Unused steps have an infinite threshold. */
typedef struct rad_level_steps {
    float lowest;
    float thresholds[15];
    float differences[15];
} rad_level_steps;

typedef struct rad_lanes {
    /* q = nearest integer to x * inverse, held to low..high; sums of w x q and w q q. */
    void (*scaled)(const float *x, const float *w, uint32_t n, const float inverse[RAD_LANES],
                   float low, float high, float xq[RAD_LANES], float qq[RAD_LANES]);
    /* q = nearest integer to x * inverse + shift, held to 0..high; sums of w q as well. */
    void (*affine)(const float *x, const float *w, uint32_t n, const float inverse[RAD_LANES],
                   const float shift[RAD_LANES], float high, float xq[RAD_LANES],
                   float qq[RAD_LANES], float q[RAD_LANES]);
    /* q = the level nearest to x * inverse, a tie to the lower one. */
    void (*levels)(const float *x, const float *w, uint32_t n, const float inverse[RAD_LANES],
                   const rad_level_steps *steps, float xq[RAD_LANES], float qq[RAD_LANES]);
} rad_lanes;

/* level: rad_vector_level(), or less, for the same result. */
const rad_lanes *rad_lanes_find(int level);

/* Nearest integer, halves to even, for |x| < 2^22. */
static inline float rad_round(float x)
{
    const float shift = 0x1.8p23f;
    return (x + shift) - shift;
}

#endif

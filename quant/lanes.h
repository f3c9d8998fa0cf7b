/* Inside quant/: sixteen candidates for a scale, tried at the same time on some numbers. A lane is
 * a candidate, and sums over numbers alone have sixteen parts and then a fixed tree, so that the
 * result is the same bits at any width of vectors. n is a multiple of 16 everywhere. */
#ifndef RAD_QUANT_LANES_H
#define RAD_QUANT_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAD_LANES 16
#define RAD_FEW   4 /* candidates that are tried where time counts most */

/* Levels of a codebook: the lowest, and from one to the next the threshold half way and the
 * difference. Unused steps have an infinite threshold. */
typedef struct rad_level_steps {
    float lowest;
    float thresholds[15];
    float differences[15];
} rad_level_steps;

/* What numbers may become, in units of a scale: integers from low to high, or the levels of steps
 * where these are not NULL. */
typedef struct rad_grid {
    float low, high;
    const rad_level_steps *steps;
} rad_grid;

/* Weighted sums of a block's numbers. */
typedef struct rad_moments {
    float w, wx, wxx;
} rad_moments;

/* Least squares give numbers that spread less than those they stand for, by the share of the error:
 * every product would be a little too small, and all in the same direction, which costs more than
 * the error itself. So quants are chosen with `scale`, and what is stored is gain times as large.
 */
typedef struct rad_factor {
    float scale, gain;
} rad_factor;

typedef struct rad_affine {
    float scale, minimum; /* that quants are chosen with */
    float stored_minimum, gain;
} rad_affine;

/* A sub-block's integers for its scale and minimum, the weighted sums of the quants that they lead
 * to, and how much less the error is than that of zeros. */
typedef struct rad_sub_choice {
    float scale, minimum;
    float xq, qq, q;
    float gain;
} rad_sub_choice;

/* Where the integers of sub-blocks are looked for: from low to high (minima from 0), around what
 * the sub-block would like, with the common factors at hand. */
typedef struct rad_sub_range {
    float factor, minimum_factor;
    float low, high;
} rad_sub_range;

typedef struct rad_lanes {
    /* values as numbers of a block: divided by the power of two that is returned, so that the
     * largest is in 1..2; zero where they are not finite, and all of them where they are too small
     * for any scale in half precision. w: the weights of the errors' squares;
     * weighted: whether importance says anything. */
    float (*take)(const float *values, const float *importance, uint32_t n, float *x, float *w,
                  bool *weighted);
    /* The value of largest magnitude, with its sign; of several a positive one. */
    float (*extreme)(const float *x, uint32_t n);
    void (*moments)(const float *x, const float *w, uint32_t n, rad_moments *out);
    /* q = nearest to x * inverse on the grid, a tie of levels to the lower one; sums of w x q and
     * w q q. */
    void (*sums)(const float *x, const float *w, uint32_t n, const float *inverse,
                 const rad_grid *grid, float *xq, float *qq);
    /* The same of one candidate. */
    void (*sums_of_one)(const float *x, const float *w, uint32_t n, float inverse,
                        const rad_grid *grid, float *xq, float *qq);
    /* The best scale that is found from the candidates 1 / inverse, moved to where it leaves the
     * least error so many times; how much less the error is than that of zeros. */
    float (*scale)(const float *x, const float *w, uint32_t n, bool quick, const float *inverse,
                   const rad_grid *grid, int rounds, float *reached);
    /* The best scale and minimum for quants in 0..high; where not_positive, minimum <= 0. */
    rad_affine (*affine)(const float *x, const float *w, uint32_t n, const rad_moments *sums,
                         float high, bool not_positive, bool quick, int passes);
    /* One sub-block of a super-block; wanted: the integers around which to look. */
    void (*sub_scale)(const float *x, const float *w, uint32_t n, const rad_grid *grid,
                      const rad_sub_range *range, float wanted, rad_sub_choice *out);
    void (*sub_affine)(const float *x, const float *w, uint32_t n, const rad_moments *sums,
                       float high, const rad_sub_range *range, float wanted, float wanted_minimum,
                       rad_sub_choice *out);
    /* The nearest integers to x * inverse + shift, held to low..high. */
    void (*quants)(const float *x, uint32_t n, float inverse, float shift, float low, float high,
                   int8_t *q);
    /* How many thresholds x * inverse is above. */
    void (*codes)(const float *x, uint32_t n, float inverse, const rad_level_steps *steps,
                  int8_t *codes);
    /* A block of 32 of Q8_0. */
    void (*q8_0)(const float *values, uint8_t *block);
    void (*from_f16)(const uint8_t *halves, float *values, size_t n);
    void (*to_f16)(const float *values, uint8_t *halves, size_t n);
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

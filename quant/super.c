/* Scales of super-blocks: first each sub-block for itself, then the common factors and the integers
 * that stand for sub-scales, in turns: integers near to what is wanted are tried with the quants
 * that they lead to, and the factors are solved for by least squares. */
#include "quant/search.h"

/* What the sub-blocks chose. */
typedef struct choice {
    int sub_scales[16], sub_minima[16];
    float xq[16], qq[16], q[16]; /* weighted sums of the quants chosen */
    float error;                 /* less the squares of the numbers */
} choice;

typedef struct fitting {
    const rad_numbers *numbers;
    const rad_super_shape *shape;
    uint32_t n_sub;
    float scales[16], minima[16]; /* what each sub-block would like */
    float w[16], wx[16];          /* sums over each sub-block */
} fitting;

static float held(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

/* ---- scales alone -------------------------------------------------------------------------------
 */

static void choose_scales(const fitting *f, float factor, choice *out)
{
    const rad_super_shape *shape = f->shape;
    const rad_lanes *lanes = f->numbers->lanes;
    out->error = 0.0f;
    for (uint32_t j = 0; j < f->n_sub; j++) {
        const float *x = f->numbers->x + j * shape->sub_block;
        const float *w = f->numbers->w + j * shape->sub_block;
        float inverse[RAD_LANES], xq[RAD_LANES], qq[RAD_LANES], sub[RAD_LANES], best = 0.0f;
        float middle = rad_round(held(f->scales[j] / factor, shape->sub_low, shape->sub_high));
        for (int lane = 0; lane < RAD_LANES; lane++) {
            sub[lane] = held(middle + (float)(lane - 8), shape->sub_low, shape->sub_high);
            inverse[lane] = sub[lane] != 0.0f ? 1.0f / (factor * sub[lane]) : 0.0f;
        }
        if (shape->steps != NULL)
            lanes->levels(x, w, shape->sub_block, inverse, shape->steps, xq, qq);
        else
            lanes->scaled(x, w, shape->sub_block, inverse, shape->low, shape->high, xq, qq);
        out->sub_scales[j] = 0;
        out->xq[j] = out->qq[j] = 0.0f;
        for (int lane = 0; lane < RAD_LANES; lane++) {
            float scale = factor * sub[lane];
            float error = scale * (scale * qq[lane] - 2.0f * xq[lane]);
            if (error < best) {
                best = error;
                out->sub_scales[j] = (int)sub[lane];
                out->xq[j] = xq[lane];
                out->qq[j] = qq[lane];
            }
        }
        out->error += best;
    }
}

static void keep(const choice *chosen, const fitting *f, rad_super_fit *fit)
{
    float all = 0.0f, reached = 0.0f;
    for (uint32_t i = 0; i < RAD_SUPER_BLOCK; i++)
        all += f->numbers->w[i] * f->numbers->x[i] * f->numbers->x[i];
    for (uint32_t j = 0; j < f->n_sub; j++) {
        fit->sub_scales[j] = chosen->sub_scales[j];
        fit->sub_minima[j] = chosen->sub_minima[j];
        reached += fit->scale * (float)chosen->sub_scales[j] * chosen->xq[j] -
                   fit->minimum * (float)chosen->sub_minima[j] * f->wx[j];
    }
    float gain = reached > 0.5f * all ? all / reached : 1.0f;
    fit->half_scale = rad_half_in_units(fit->scale * gain, f->numbers->unit);
    fit->half_minimum = rad_half_in_units(fit->minimum * gain, f->numbers->unit);
}

/* Starting points: the largest sub-scale has the number of largest magnitude, or nearly so. */
static const float starts[] = {1.0f, 0.94f, 1.06f};

void rad_fit_super_scales(const rad_numbers *numbers, const rad_super_shape *shape,
                          rad_super_fit *fit)
{
    fitting f = {.numbers = numbers, .shape = shape, .n_sub = RAD_SUPER_BLOCK / shape->sub_block};
    float extreme = 0.0f, largest = 0.0f, best = 0.0f;
    memset(fit, 0, sizeof *fit);
    for (uint32_t j = 0; j < f.n_sub; j++) {
        const float *x = numbers->x + j * shape->sub_block;
        const float *w = numbers->w + j * shape->sub_block;
        rad_factor found =
            shape->steps != NULL
                ? rad_search_level_scale(numbers->lanes, x, w, shape->sub_block, shape->steps)
                : rad_search_scale(numbers->lanes, x, w, shape->sub_block, shape->low, shape->high);
        f.scales[j] = found.scale;
        float magnitude = f.scales[j] < 0.0f ? -f.scales[j] : f.scales[j];
        if (magnitude > largest) {
            largest = magnitude;
            extreme = f.scales[j];
        }
    }
    for (size_t start = 0; start < sizeof starts / sizeof starts[0]; start++) {
        float wanted = extreme * starts[start] / shape->sub_low;
        for (int round = 0; round < 2; round++) {
            choice chosen = {.error = 0.0f};
            if (wanted == 0.0f)
                break;
            choose_scales(&f, wanted, &chosen);
            if (chosen.error < best) {
                best = chosen.error;
                fit->scale = wanted;
                keep(&chosen, &f, fit);
            }
            float up = 0.0f, down = 0.0f;
            for (uint32_t j = 0; j < f.n_sub; j++) {
                float sub = (float)chosen.sub_scales[j];
                up += sub * chosen.xq[j];
                down += sub * sub * chosen.qq[j];
            }
            if (!(down > 0.0f))
                break;
            wanted = up / down;
        }
    }
}

/* ---- scales and minima --------------------------------------------------------------------------
 */

static void choose_affine(const fitting *f, float factor, float minimum_factor, choice *out)
{
    const rad_super_shape *shape = f->shape;
    out->error = 0.0f;
    for (uint32_t j = 0; j < f->n_sub; j++) {
        const float *x = f->numbers->x + j * shape->sub_block;
        const float *w = f->numbers->w + j * shape->sub_block;
        float inverse[RAD_LANES], shift[RAD_LANES], xq[RAD_LANES], qq[RAD_LANES], q[RAD_LANES];
        float sub[RAD_LANES], sub_minimum[RAD_LANES], best = 1e30f;
        float middle = factor > 0.0f ? held(f->scales[j] / factor, 0.0f, shape->sub_high) : 0.0f;
        float middle_minimum = minimum_factor > 0.0f
                                   ? held(f->minima[j] / minimum_factor, 0.0f, shape->sub_high)
                                   : 0.0f;
        for (int lane = 0; lane < RAD_LANES; lane++) {
            int at = lane < 15 ? lane : 7;
            sub[lane] = held(rad_round(middle) + (float)(at / 5 - 1), 0.0f, shape->sub_high);
            sub_minimum[lane] =
                held(rad_round(middle_minimum) + (float)(at % 5 - 2), 0.0f, shape->sub_high);
            float scale = factor * sub[lane];
            inverse[lane] = scale > 0.0f ? 1.0f / scale : 0.0f;
            shift[lane] = minimum_factor * sub_minimum[lane] * inverse[lane];
        }
        f->numbers->lanes->affine(x, w, shape->sub_block, inverse, shift, shape->high, xq, qq, q);
        for (int lane = 0; lane < RAD_LANES; lane++) {
            float scale = factor * sub[lane], minimum = minimum_factor * sub_minimum[lane];
            float error = scale * (scale * qq[lane] - 2.0f * xq[lane] - 2.0f * minimum * q[lane]) +
                          minimum * (minimum * f->w[j] + 2.0f * f->wx[j]);
            if (error < best) {
                best = error;
                out->sub_scales[j] = (int)sub[lane];
                out->sub_minima[j] = (int)sub_minimum[lane];
                out->xq[j] = xq[lane];
                out->qq[j] = qq[lane];
                out->q[j] = q[lane];
            }
        }
        out->error += best;
    }
}

/* The two factors that are best for the integers chosen; false where they are not determined. */
static bool solve_factors(const fitting *f, const choice *chosen, float *factor, float *minimum)
{
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f, e = 0.0f;
    for (uint32_t j = 0; j < f->n_sub; j++) {
        float sub = (float)chosen->sub_scales[j], sub_minimum = (float)chosen->sub_minima[j];
        a += sub * sub * chosen->qq[j];
        b += sub * sub_minimum * chosen->q[j];
        c += sub_minimum * sub_minimum * f->w[j];
        d += sub * chosen->xq[j];
        e += sub_minimum * f->wx[j];
    }
    float determinant = a * c - b * b;
    if (determinant > 0.0f) {
        *factor = (d * c - b * e) / determinant;
        *minimum = (b * d - a * e) / determinant;
    } else if (a > 0.0f) {
        *factor = d / a;
        *minimum = 0.0f;
    } else {
        return false;
    }
    return *factor > 0.0f && *minimum >= 0.0f;
}

void rad_fit_super_affine(const rad_numbers *numbers, const rad_super_shape *shape,
                          rad_super_fit *fit)
{
    fitting f = {.numbers = numbers, .shape = shape, .n_sub = RAD_SUPER_BLOCK / shape->sub_block};
    float largest = 0.0f, largest_minimum = 0.0f, best = 0.0f;
    memset(fit, 0, sizeof *fit);
    for (uint32_t j = 0; j < f.n_sub; j++) {
        const float *x = numbers->x + j * shape->sub_block;
        const float *w = numbers->w + j * shape->sub_block;
        for (uint32_t i = 0; i < shape->sub_block; i++) {
            f.w[j] += w[i];
            f.wx[j] += w[i] * x[i];
        }
        rad_affine found =
            rad_search_affine(numbers->lanes, x, w, shape->sub_block, shape->high, true);
        f.scales[j] = found.scale;
        f.minima[j] = -found.minimum; /* the formats subtract it */
        largest = f.scales[j] > largest ? f.scales[j] : largest;
        largest_minimum = f.minima[j] > largest_minimum ? f.minima[j] : largest_minimum;
    }
    for (size_t start = 0; start < sizeof starts / sizeof starts[0]; start++) {
        float wanted = largest * starts[start] / shape->sub_high;
        float wanted_minimum = largest_minimum * starts[start] / shape->sub_high;
        for (int round = 0; round < 2; round++) {
            choice chosen = {.error = 0.0f};
            choose_affine(&f, wanted, wanted_minimum, &chosen);
            if (chosen.error < best) {
                best = chosen.error;
                fit->scale = wanted;
                fit->minimum = wanted_minimum;
                keep(&chosen, &f, fit);
            }
            if (!solve_factors(&f, &chosen, &wanted, &wanted_minimum))
                break;
        }
    }
}

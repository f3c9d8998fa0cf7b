/* Scales of super-blocks: first each sub-block for itself, then the common factors and the integers
 * that stand for sub-scales, in turns: integers near to what is wanted are tried with the quants
 * that they lead to, and the factors are solved for by least squares. */
#include "quant/search.h"

/* What the sub-blocks chose. */
typedef struct choice {
    int sub_scales[16], sub_minima[16];
    float xq[16], qq[16], q[16]; /* weighted sums of the quants chosen */
    float gain;                  /* how much less the error is than that of zeros */
} choice;

typedef struct fitting {
    const rad_numbers *numbers;
    const rad_super_shape *shape;
    uint32_t n_sub;
    float scales[16], minima[16]; /* what each sub-block would like */
    rad_moments sums[16];
} fitting;

static float held(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

static void note(choice *out, uint32_t j, const rad_sub_choice *sub)
{
    out->sub_scales[j] = (int)sub->scale;
    out->sub_minima[j] = (int)sub->minimum;
    out->xq[j] = sub->xq;
    out->qq[j] = sub->qq;
    out->q[j] = sub->q;
    out->gain += sub->gain;
}

/* ---- scales alone -------------------------------------------------------------------------------
 */

static void choose_scales(const fitting *f, float factor, choice *out)
{
    const rad_super_shape *shape = f->shape;
    rad_sub_range range = {factor, 0.0f, shape->sub_low, shape->sub_high};
    float inverse = 1.0f / factor;
    out->gain = 0.0f;
    for (uint32_t j = 0; j < f->n_sub; j++) {
        rad_sub_choice sub;
        float wanted = held(f->scales[j] * inverse, shape->sub_low, shape->sub_high);
        f->numbers->lanes->sub_scale(f->numbers->x + j * shape->sub_block,
                                     f->numbers->w + j * shape->sub_block, shape->sub_block,
                                     &shape->grid, &range, wanted, &sub);
        note(out, j, &sub);
    }
}

/* The gains of both factors: with them the products with the numbers themselves, and the sums where
 * there are minima, are what the numbers' are. One gain for both would move the sums of rows whose
 * numbers have a mean. */
static void keep(const choice *chosen, const fitting *f, rad_super_fit *fit)
{
    float all = 0.0f, sum = 0.0f;             /* of the numbers: w x x, w x */
    float by_scales = 0.0f, by_minima = 0.0f; /* the parts of w x y */
    float sum_scales = 0.0f, sum_minima = 0.0f;
    for (uint32_t j = 0; j < f->n_sub; j++) {
        float scale = fit->scale * (float)chosen->sub_scales[j];
        float minimum = fit->minimum * (float)chosen->sub_minima[j];
        fit->sub_scales[j] = chosen->sub_scales[j];
        fit->sub_minima[j] = chosen->sub_minima[j];
        all += f->sums[j].wxx;
        sum += f->sums[j].wx;
        by_scales += scale * chosen->xq[j];
        by_minima += minimum * f->sums[j].wx;
        sum_scales += scale * chosen->q[j];
        sum_minima += minimum * f->sums[j].w;
    }
    float reached = by_scales - by_minima, gain = reached > 0.5f * all ? all / reached : 1.0f;
    float determinant = by_scales * sum_minima - by_minima * sum_scales, minimum_gain = gain;
    float of_scales = all * sum_minima - by_minima * sum;
    float of_minima = all * sum_scales - by_scales * sum;
    if (of_scales > 0.8f * determinant && of_scales < 1.3f * determinant &&
        of_minima > 0.8f * determinant && of_minima < 1.3f * determinant) {
        gain = of_scales / determinant;
        minimum_gain = of_minima / determinant;
    }
    fit->half_scale = rad_half_in_units(fit->scale * gain, f->numbers->unit);
    fit->half_minimum = rad_half_in_units(fit->minimum * minimum_gain, f->numbers->unit);
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
        float reached;
        numbers->lanes->moments(x, w, shape->sub_block, &f.sums[j]);
        f.scales[j] = rad_search_scale(numbers->lanes, x, w, shape->sub_block, &shape->grid, false,
                                       0, &reached);
        float magnitude = f.scales[j] < 0.0f ? -f.scales[j] : f.scales[j];
        if (magnitude > largest) {
            largest = magnitude;
            extreme = f.scales[j];
        }
    }
    for (size_t start = 0; start < shape->n_starts; start++) {
        float wanted = extreme * starts[start] / shape->sub_low;
        for (int round = 0; round < 2; round++) {
            choice chosen = {.gain = 0.0f};
            if (wanted == 0.0f)
                break;
            choose_scales(&f, wanted, &chosen);
            if (chosen.gain > best) {
                best = chosen.gain;
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
    rad_sub_range range = {factor, minimum_factor, 0.0f, shape->sub_high};
    float inverse = 1.0f / factor;
    float inverse_minimum = minimum_factor > 0.0f ? 1.0f / minimum_factor : 0.0f;
    out->gain = 0.0f;
    for (uint32_t j = 0; j < f->n_sub; j++) {
        rad_sub_choice sub;
        f->numbers->lanes->sub_affine(
            f->numbers->x + j * shape->sub_block, f->numbers->w + j * shape->sub_block,
            shape->sub_block, &f->sums[j], shape->grid.high, &range,
            held(f->scales[j] * inverse, 0.0f, shape->sub_high),
            held(f->minima[j] * inverse_minimum, 0.0f, shape->sub_high), &sub);
        note(out, j, &sub);
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
        c += sub_minimum * sub_minimum * f->sums[j].w;
        d += sub * chosen->xq[j];
        e += sub_minimum * f->sums[j].wx;
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
        numbers->lanes->moments(x, w, shape->sub_block, &f.sums[j]);
        rad_affine found = numbers->lanes->affine(x, w, shape->sub_block, &f.sums[j],
                                                  shape->grid.high, true, false, 2);
        f.scales[j] = found.scale;
        f.minima[j] = -found.minimum; /* the formats subtract it */
        largest = f.scales[j] > largest ? f.scales[j] : largest;
        largest_minimum = f.minima[j] > largest_minimum ? f.minima[j] : largest_minimum;
    }
    for (size_t start = 0; start < shape->n_starts; start++) {
        float wanted = largest * starts[start] / shape->sub_high;
        float wanted_minimum = largest_minimum * starts[start] / shape->sub_high;
        for (int round = 0; round < 2; round++) {
            choice chosen = {.gain = 0.0f};
            if (!(wanted > 0.0f))
                break;
            choose_affine(&f, wanted, wanted_minimum, &chosen);
            if (chosen.gain > best) {
                best = chosen.gain;
                fit->scale = wanted;
                fit->minimum = wanted_minimum;
                keep(&chosen, &f, fit);
            }
            if (!solve_factors(&f, &chosen, &wanted, &wanted_minimum))
                break;
        }
    }
}

#include "quant/search.h"

#include "base/platform.h"

/* ---- numbers ------------------------------------------------------------------------------------
 */

static float power_of_two(int exponent) /* -126..127 */
{
    uint32_t bits = (uint32_t)(exponent + 127) << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* floor(log2(x)) of a positive normal number; less than -126 for others. */
static int exponent_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (int)(bits >> 23 & 255u) - 127;
}

/* Scales numbers of the same sign-free size, so that the largest is in 1..2. */
static float normalise(float *x, uint32_t n)
{
    int exponent = exponent_of(rad_largest_magnitude(x, n));
    if (exponent < -60) {
        memset(x, 0, n * sizeof *x);
        return 1.0f;
    }
    float inverse = power_of_two(-exponent >= -126 ? -exponent : -126);
    float rest = exponent > 126 ? 0.5f : 1.0f;
    for (uint32_t i = 0; i < n; i++)
        x[i] = x[i] * inverse * rest;
    return power_of_two(exponent);
}

/* The importance of a column times what makes larger numbers matter somewhat more: errors of small
 * ones are many and cancel each other. */
void rad_numbers_take(const float *values, const float *importance, uint32_t n, rad_numbers *out)
{
    float sum = 0.0f, squares = 0.0f;
    out->lanes = rad_lanes_find(rad_vector_level());
    rad_copy_finite(values, out->x, n);
    out->unit = normalise(out->x, n);
    if (importance != NULL) {
        rad_copy_finite(importance, out->w, n);
        (void)normalise(out->w, n);
        for (uint32_t i = 0; i < n; i++)
            sum += out->w[i];
    }
    for (uint32_t i = 0; i < n; i++)
        squares += out->x[i] * out->x[i];
    float base = 4.0f * __builtin_sqrtf(squares / (float)n), least = 1e-4f * sum / (float)n;
    for (uint32_t i = 0; i < n; i++) {
        float magnitude = out->x[i] < 0.0f ? -out->x[i] : out->x[i];
        float weight = sum > 0.0f ? out->w[i] + least : 1.0f;
        out->w[i] = weight * (base + magnitude) + 1e-30f;
    }
}

uint16_t rad_half_in_units(float value, float unit)
{
    float wanted = value * unit;
    wanted = wanted > 65504.0f ? 65504.0f : wanted < -65504.0f ? -65504.0f : wanted;
    return rad_f32_to_f16(wanted);
}

void rad_copy_finite(const float *values, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof(bits));
        out[i] = (bits & 0x7f800000u) == 0x7f800000u ? 0.0f : values[i];
    }
}

float rad_largest_magnitude(const float *x, size_t n)
{
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++) {
        float magnitude = x[i] < 0.0f ? -x[i] : x[i];
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* The value of largest magnitude, with its sign. */
static float extreme_of(const float *x, uint32_t n)
{
    float extreme = 0.0f, largest = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        float magnitude = x[i] < 0.0f ? -x[i] : x[i];
        if (magnitude > largest) {
            largest = magnitude;
            extreme = x[i];
        }
    }
    return extreme;
}

/* ---- one factor ---------------------------------------------------------------------------------
 */

/* What a search tries numbers with: integers, or levels where steps is not NULL. */
typedef struct one_factor {
    const rad_lanes *lanes;
    const float *x, *w;
    uint32_t n;
    float low, high;
    const rad_level_steps *steps;
} one_factor;

static void try_factors(const one_factor *s, const float inverse[RAD_LANES], float xq[RAD_LANES],
                        float qq[RAD_LANES])
{
    if (s->steps != NULL)
        s->lanes->levels(s->x, s->w, s->n, inverse, s->steps, xq, qq);
    else
        s->lanes->scaled(s->x, s->w, s->n, inverse, s->low, s->high, xq, qq);
}

/* For given integers the best factor is <x, q> / <q, q>, and its error <x, x> - <x, q>^2 / <q, q>.
 * New integers for that factor are no worse, so candidates move to where they leave the least
 * error; the best of them is taken. */
static rad_factor refine_factors(const one_factor *s, float inverse[RAD_LANES], int rounds)
{
    float xq[RAD_LANES], qq[RAD_LANES], best = 0.0f, all = 0.0f;
    rad_factor found = {0.0f, 1.0f};
    for (uint32_t i = 0; i < s->n; i++)
        all += s->w[i] * s->x[i] * s->x[i];
    for (int round = 0; round < rounds; round++) {
        try_factors(s, inverse, xq, qq);
        for (int lane = 0; lane < RAD_LANES; lane++) {
            bool possible = qq[lane] > 0.0f && xq[lane] != 0.0f;
            float gain = possible ? xq[lane] * xq[lane] / qq[lane] : 0.0f;
            if (gain > best) {
                best = gain;
                found.scale = xq[lane] / qq[lane];
            }
            inverse[lane] = possible ? qq[lane] / xq[lane] : 0.0f;
        }
    }
    if (best > 0.0f)
        found.gain = all / best;
    return found;
}

rad_factor rad_search_scale(const rad_lanes *lanes, const float *x, const float *w, uint32_t n,
                            float low, float high)
{
    one_factor s = {lanes, x, w, n, low, high, NULL};
    float extreme = extreme_of(x, n), inverse[RAD_LANES];
    if (extreme == 0.0f)
        return (rad_factor){0.0f, 1.0f};
    /* The extreme value is near to the lower end, which reaches furthest, or to the upper one. */
    for (int lane = 0; lane < 10; lane++)
        inverse[lane] = (low - 1.0f + 0.3f * (float)lane) / extreme;
    for (int lane = 10; lane < RAD_LANES; lane++)
        inverse[lane] = (high + 0.8f - 0.35f * (float)(lane - 10)) / extreme;
    return refine_factors(&s, inverse, 3);
}

rad_factor rad_search_level_scale(const rad_lanes *lanes, const float *x, const float *w,
                                  uint32_t n, const rad_level_steps *steps)
{
    one_factor s = {lanes, x, w, n, 0.0f, 0.0f, steps};
    float extreme = extreme_of(x, n), inverse[RAD_LANES], highest = steps->lowest;
    if (extreme == 0.0f)
        return (rad_factor){0.0f, 1.0f};
    for (int k = 0; k < 15; k++)
        highest += steps->differences[k];
    for (int lane = 0; lane < 9; lane++)
        inverse[lane] = steps->lowest * (1.12f - 0.045f * (float)lane) / extreme;
    for (int lane = 9; lane < RAD_LANES; lane++)
        inverse[lane] = highest * (1.12f - 0.05f * (float)(lane - 9)) / extreme;
    return refine_factors(&s, inverse, 2);
}

rad_factor rad_search_ternary_scale(const rad_lanes *lanes, const float *x, const float *w,
                                    uint32_t n)
{
    one_factor s = {lanes, x, w, n, -1.0f, 1.0f, NULL};
    float largest = rad_largest_magnitude(x, n), inverse[RAD_LANES];
    if (largest == 0.0f)
        return (rad_factor){0.0f, 1.0f};
    for (int lane = 0; lane < RAD_LANES; lane++)
        inverse[lane] = (1.0f + 0.25f * (float)lane) / largest;
    return refine_factors(&s, inverse, 3);
}

/* ---- scale and minimum --------------------------------------------------------------------------
 */

/* How far the two ends are moved in, in steps of the quants: outliers may cost less than a coarser
 * grid does. */
static const float moved_in[4] = {0.0f, 0.35f, 0.75f, 1.2f};

/* Sums that do not depend on the candidate. */
typedef struct fixed_sums {
    float w, wx, wxx;
} fixed_sums;

/* The least squares pair for a lane's integers and the error that it leaves. */
static float solve(const fixed_sums *fixed, float xq, float qq, float q, bool not_positive,
                   float *scale, float *minimum)
{
    float determinant = fixed->w * qq - q * q;
    if (determinant > 0.0f) {
        *scale = (fixed->w * xq - q * fixed->wx) / determinant;
        *minimum = (qq * fixed->wx - q * xq) / determinant;
    } else { /* one integer for all */
        *scale = 0.0f;
        *minimum = fixed->wx / fixed->w;
    }
    if (not_positive && *minimum > 0.0f) {
        *minimum = 0.0f;
        *scale = qq > 0.0f ? xq / qq : 0.0f;
    }
    return fixed->wxx - *scale * xq - *minimum * fixed->wx;
}

rad_affine rad_search_affine(const rad_lanes *lanes, const float *x, const float *w, uint32_t n,
                             float high, bool not_positive)
{
    float low = x[0], top = x[0];
    fixed_sums fixed = {0.0f, 0.0f, 0.0f};
    for (uint32_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        top = x[i] > top ? x[i] : top;
        fixed.w += w[i];
        fixed.wx += w[i] * x[i];
        fixed.wxx += w[i] * x[i] * x[i];
    }
    low = not_positive && low > 0.0f ? 0.0f : low;
    rad_affine found = {0.0f, low, low, 1.0f};
    float step = (top - low) / high;
    if (!(step > 0.0f))
        return found;
    float inverse[RAD_LANES], shift[RAD_LANES], xq[RAD_LANES], qq[RAD_LANES], q[RAD_LANES];
    for (int lane = 0; lane < RAD_LANES; lane++) {
        float first = low + step * moved_in[lane / 4], last = top - step * moved_in[lane % 4];
        inverse[lane] = high / (last - first);
        shift[lane] = -first * inverse[lane];
    }
    float best = fixed.wxx * 2.0f + 1.0f, mean = fixed.wx / fixed.w;
    for (int round = 0; round < 3; round++) {
        lanes->affine(x, w, n, inverse, shift, high, xq, qq, q);
        for (int lane = 0; lane < RAD_LANES; lane++) {
            float scale, minimum;
            float error =
                solve(&fixed, xq[lane], qq[lane], q[lane], not_positive, &scale, &minimum);
            if (!(scale > 0.0f))
                continue;
            if (error < best) {
                float reached = scale * (xq[lane] - q[lane] * mean);
                best = error;
                found.scale = scale;
                found.minimum = minimum;
                found.gain = reached > 0.0f ? (fixed.wxx - fixed.wx * mean) / reached : 1.0f;
            }
            inverse[lane] = 1.0f / scale;
            shift[lane] = -minimum * inverse[lane];
        }
    }
    /* With the gain the numbers spread as they did, around the same mean. */
    found.stored_minimum = mean - found.gain * (mean - found.minimum);
    return found;
}

/* ---- for formats with few scales ----------------------------------------------------------------
 */

int rad_nearest(float value, int low, int high)
{
    if (!(value > (float)low))
        return low;
    if (value >= (float)high)
        return high;
    return (int)(value < 0.0f ? value - 0.5f : value + 0.5f);
}

int rad_nearest_level(float x, const int8_t levels[16])
{
    int index = 0;
    while (index < 15 && x > 0.5f * (float)(levels[index] + levels[index + 1]))
        index++;
    return index;
}

int rad_nearest_e2m1(float x)
{
    float magnitude = x < 0.0f ? -x : x;
    int code = 0;
    while (code < 7 &&
           magnitude > 0.5f * (float)(rad_levels_e2m1[code] + rad_levels_e2m1[code + 1]))
        code++;
    return x < 0.0f && code != 0 ? code + 8 : code;
}

void rad_encode_scaled(const float *values, const float *importance, uint32_t n, float low,
                       float high, uint8_t half[2], int *quants)
{
    rad_numbers numbers;
    rad_numbers_take(values, importance, n, &numbers);
    rad_factor factor = rad_search_scale(numbers.lanes, numbers.x, numbers.w, n, low, high);
    rad_store_u16(half, rad_half_in_units(factor.scale * factor.gain, numbers.unit));
    float inverse = factor.scale != 0.0f ? 1.0f / factor.scale : 0.0f;
    for (uint32_t i = 0; i < n; i++)
        quants[i] = rad_quant(numbers.x[i], inverse, 0.0f, low, high);
}

void rad_encode_affine(const float *values, const float *importance, uint32_t n, float high,
                       uint8_t halves[4], int *quants)
{
    rad_numbers numbers;
    rad_numbers_take(values, importance, n, &numbers);
    rad_affine found = rad_search_affine(numbers.lanes, numbers.x, numbers.w, n, high, false);
    rad_store_u16(halves, rad_half_in_units(found.scale * found.gain, numbers.unit));
    rad_store_u16(halves + 2, rad_half_in_units(found.stored_minimum, numbers.unit));
    float inverse = found.scale > 0.0f ? 1.0f / found.scale : 0.0f;
    float shift = -found.minimum * inverse;
    for (uint32_t i = 0; i < n; i++)
        quants[i] = rad_quant(numbers.x[i], inverse, shift, 0.0f, high);
}

/* Searches for scales and minima when encoding. Everything is plain deterministic float arithmetic;
 * the result decides how good a quantized file is, never whether it is valid. */
#include "quant/formats.h"

int rad_nearest(float value, int low, int high)
{
    if (!(value > (float)low))
        return low;
    if (value >= (float)high)
        return high;
    return (int)(value < 0.0f ? value - 0.5f : value + 0.5f);
}

void rad_copy_finite(const float *values, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof(bits));
        out[i] = (bits & 0x7f800000u) == 0x7f800000u ? 0.0f : values[i];
    }
}

/* The best factor for given integers is <x, q> / <q, q> (weighted); the error it leaves is
 * <x, x> - <x, q>^2 / <q, q>, so candidates are ranked by the second term. Doubles keep the squares
 * of any float in range. */
float rad_search_scale(const float *x, uint32_t n, int half, int8_t *q)
{
    float extreme = 0.0f; /* the value of largest magnitude, with its sign */
    for (uint32_t i = 0; i < n; i++) {
        float magnitude = x[i] < 0.0f ? -x[i] : x[i];
        if (magnitude > (extreme < 0.0f ? -extreme : extreme))
            extreme = x[i];
    }
    memset(q, 0, n);
    if (extreme == 0.0f)
        return 0.0f;
    double best = -1.0, best_scale = 0.0;
    for (int step = -9; step <= 9; step++) {
        double inverse = -((double)half + 0.1 * step) / extreme;
        double xq = 0.0, qq = 0.0;
        int8_t candidate[32];
        for (uint32_t i = 0; i < n; i++) {
            int value = rad_nearest((float)(inverse * x[i]), -half, half - 1);
            double weight = (double)x[i] * x[i];
            candidate[i] = (int8_t)value;
            xq += weight * x[i] * value;
            qq += weight * value * value;
        }
        if (qq > 0.0 && xq * xq > best * qq) {
            best = xq * xq / qq;
            best_scale = xq / qq;
            memcpy(q, candidate, n);
        }
    }
    return (float)best_scale;
}

typedef struct affine {
    double scale;
    double minimum;
} affine;

/* Least squares of x = scale * q + minimum over given q; false where q is constant. */
static bool fit(const float *x, const int *q, uint32_t n, bool minimum_not_positive, affine *out)
{
    double sum_q = 0.0, sum_qq = 0.0, sum_x = 0.0, sum_xq = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        sum_q += q[i];
        sum_qq += (double)q[i] * q[i];
        sum_x += x[i];
        sum_xq += (double)x[i] * q[i];
    }
    double determinant = n * sum_qq - sum_q * sum_q;
    if (!(determinant > 0.0))
        return false;
    out->scale = (n * sum_xq - sum_q * sum_x) / determinant;
    out->minimum = (sum_qq * sum_x - sum_q * sum_xq) / determinant;
    if (minimum_not_positive && out->minimum > 0.0) {
        out->minimum = 0.0;
        out->scale = sum_xq / sum_qq;
    }
    return out->scale > 0.0;
}

static double squared_error(const float *x, const int *q, uint32_t n, affine a)
{
    double error = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        double difference = a.scale * q[i] + a.minimum - x[i];
        error += difference * difference;
    }
    return error;
}

static void assign(const float *x, uint32_t n, int high, affine a, int *q)
{
    for (uint32_t i = 0; i < n; i++)
        q[i] = rad_nearest((float)((x[i] - a.minimum) / a.scale), 0, high);
}

float rad_search_scale_minimum(const float *x, uint32_t n, int high, bool minimum_not_positive,
                               float *minimum)
{
    float low = x[0], top = x[0];
    for (uint32_t i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        top = x[i] > top ? x[i] : top;
    }
    if (minimum_not_positive && low > 0.0f)
        low = 0.0f;
    *minimum = low;
    double range = (double)top - low;
    if (!(range > 0.0))
        return 0.0f;

    int q[32];
    affine best = {range / high, low};
    assign(x, n, high, best, q);
    double best_error = squared_error(x, q, n, best);
    for (int step = -5; step <= 15; step++) {
        affine candidate = {range / (high + 0.1 * step), low};
        assign(x, n, high, candidate, q);
        if (!fit(x, q, n, minimum_not_positive, &candidate))
            continue;
        assign(x, n, high, candidate, q);
        double error = squared_error(x, q, n, candidate);
        if (error < best_error) {
            best_error = error;
            best = candidate;
        }
    }
    *minimum = (float)best.minimum;
    return (float)best.scale;
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

float rad_search_level_scale(const float *x, uint32_t n, const int8_t levels[16])
{
    float extreme = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        float magnitude = x[i] < 0.0f ? -x[i] : x[i];
        if (magnitude > (extreme < 0.0f ? -extreme : extreme))
            extreme = x[i];
    }
    if (extreme == 0.0f)
        return 0.0f;
    double best = -1.0, best_scale = 0.0;
    for (int step = 0; step < 32; step++) {
        /* The extreme value falls near to the lowest level, or near to the highest. */
        double target = (step % 2 == 0 ? levels[0] : levels[15]) * (1.0 + 0.02 * (step / 2 - 8));
        double inverse = target / extreme, xq = 0.0, qq = 0.0;
        for (uint32_t i = 0; i < n; i++) {
            int level = levels[rad_nearest_level((float)(inverse * x[i]), levels)];
            double weight = (double)x[i] * x[i];
            xq += weight * x[i] * level;
            qq += weight * level * level;
        }
        if (qq > 0.0 && xq * xq > best * qq) {
            best = xq * xq / qq;
            best_scale = xq / qq;
        }
    }
    return (float)best_scale;
}

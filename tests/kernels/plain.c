#include "tests/kernels/plain.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/numeric_f32.h"

float plain_tree(const float *values, uint32_t n)
{
    float copy[32];
    memcpy(copy, values, n * sizeof *values);
    for (uint32_t width = n / 2; width >= 1; width /= 2)
        for (uint32_t j = 0; j < width; j++)
            copy[j] = copy[j] + copy[j + width];
    return copy[0];
}

/* ---- rows ------------------------------------------------------------------------------------ */

void plain_rms_norm(const row_arguments *a)
{
    float lanes[16] = {0};
    for (uint32_t i = 0; i < a->n; i++)
        lanes[i % 16] = fmaf(a->x[i], a->x[i], lanes[i % 16]);
    float factor = 1.0f / sqrtf(plain_tree(lanes, 16) / (float)a->n + ROW_EPSILON);
    for (uint32_t i = 0; i < a->n; i++) {
        float scaled = a->x[i] * factor;
        a->y[i] = a->second != NULL ? scaled * a->second[i] : scaled;
    }
}

void plain_layer_norm(const row_arguments *a)
{
    float lanes[16] = {0};
    for (uint32_t i = 0; i < a->n; i++)
        lanes[i % 16] = lanes[i % 16] + a->x[i];
    float mean = plain_tree(lanes, 16) / (float)a->n;
    memset(lanes, 0, sizeof lanes);
    for (uint32_t i = 0; i < a->n; i++)
        lanes[i % 16] = fmaf(a->x[i] - mean, a->x[i] - mean, lanes[i % 16]);
    float factor = 1.0f / sqrtf(plain_tree(lanes, 16) / (float)a->n + ROW_EPSILON);
    for (uint32_t i = 0; i < a->n; i++) {
        float value = (a->x[i] - mean) * factor;
        if (a->second != NULL)
            value = value * a->second[i];
        a->y[i] = a->third != NULL ? value + a->third[i] : value;
    }
}

static void rotate_pair(const row_arguments *a, uint32_t i, uint32_t first, uint32_t second)
{
    float x = a->x[first], y = a->x[second], cosine = a->second[i], sine = a->third[i];
    float down = -(y * sine);
    a->y[first] = fmaf(x, cosine, down);
    a->y[second] = fmaf(x, sine, y * cosine);
}

void plain_rotate(const row_arguments *a)
{
    for (uint32_t i = 0; i < a->n; i++)
        rotate_pair(a, i, i, i + a->n);
}

void plain_rotate_interleaved(const row_arguments *a)
{
    for (uint32_t i = 0; i < a->n; i++)
        rotate_pair(a, i, 2 * i, 2 * i + 1);
}

/* y[i] = value, in which `x` is x[i] and `second` is second[i]. */
#define PLAIN_ROW(name, value)                                                                     \
    void plain_##name(const row_arguments *a)                                                      \
    {                                                                                              \
        for (uint32_t i = 0; i < a->n; i++) {                                                      \
            const float x = a->x[i], second = a->second != NULL ? a->second[i] : 0.0f;             \
            (void)second;                                                                          \
            a->y[i] = (value);                                                                     \
        }                                                                                          \
    }

static float held(float x, float low, float high)
{
    return x > high ? high : x < low ? low : x;
}

static float above_zero(float x)
{
    return x < 0.0f ? 0.0f : x;
}

PLAIN_ROW(silu_multiply, x / (1.0f + rad_expf(-x)) * second)
PLAIN_ROW(gelu_tanh_multiply, rad_gelu_tanhf(x) * second)
PLAIN_ROW(relu2_multiply, above_zero(x) * above_zero(x) * second)
PLAIN_ROW(clamped_multiply, held(x, -INFINITY, 7.0f) /
                                (1.0f + rad_expf(-(1.702f * held(x, -INFINITY, 7.0f)))) *
                                (held(second, -7.0f, 7.0f) + 1.0f))
PLAIN_ROW(gelu_tanh, rad_gelu_tanhf(x))
PLAIN_ROW(gelu_erf, rad_gelu_erff(x))
PLAIN_ROW(clamp, held(x, -ROW_LIMIT, ROW_LIMIT))
PLAIN_ROW(add, x + second)
PLAIN_ROW(scale, x *ROW_FACTOR)
PLAIN_ROW(add_scaled, fmaf(x, ROW_PART, a->y[i]))
PLAIN_ROW(soft_cap, ROW_CAP *rad_tanhf(x / ROW_CAP))

/* ---- cached keys and values ------------------------------------------------------------------ */

static int32_t plain_round(float x)
{
    float whole = rintf(x); /* the tests' rounding mode is to nearest even */
    return (int32_t)whole;
}

static float greatest_of(const float *x, uint32_t n, bool *finite)
{
    float greatest = 0.0f;
    *finite = true;
    for (uint32_t i = 0; i < n; i++) {
        greatest = fabsf(x[i]) > greatest ? fabsf(x[i]) : greatest;
        *finite = *finite && isfinite(x[i]);
    }
    return greatest;
}

static void plain_quantize(const float *x, uint32_t n, rad_cache_type type, int32_t *quants,
                           uint16_t *scale)
{
    float highest = type == RAD_CACHE_Q8_0 ? 127.0f : 7.0f;
    float lowest = type == RAD_CACHE_Q8_0 ? -127.0f : -8.0f;
    bool finite, positive = false;
    float greatest = greatest_of(x, n, &finite);
    for (uint32_t i = 0; i < n; i++)
        positive = positive || x[i] == greatest;
    float d = greatest / -lowest;
    d = type == RAD_CACHE_Q4_0 && positive ? -d : d;
    *scale = finite ? rad_half_saturated(d) : 0x7e00;
    float stored = rad_float_of_half(*scale);
    for (uint32_t i = 0; i < n; i++) {
        float scaled = finite && stored != 0.0f ? x[i] * (1.0f / stored) : 0.0f;
        quants[i] = plain_round(held(scaled, lowest, highest));
    }
}

void plain_store(const float *x, uint32_t dim, rad_cache_type type, plain_row *row)
{
    for (uint32_t d = 0; d < dim; d++)
        row->values[d] = type == RAD_CACHE_F16    ? rad_float_of_half(rad_half_saturated(x[d]))
                         : type == RAD_CACHE_BF16 ? rad_float_of_bf16(rad_bf16_saturated(x[d]))
                         : type == RAD_CACHE_FP8  ? rad_float_of_fp8(rad_fp8_saturated(x[d]))
                                                  : x[d];
    if (type == RAD_CACHE_Q8_0 || type == RAD_CACHE_Q4_0)
        for (uint32_t b = 0; b < dim; b += 32)
            plain_quantize(x + b, dim - b < 32 ? dim - b : 32, type, row->quants + b,
                           &row->scales[b / 32]);
}

void plain_quantize_query(const float *x, uint32_t n, int32_t *quants, float *scale)
{
    bool finite;
    float greatest = greatest_of(x, n, &finite);
    bool zero = !finite || greatest < 0x1p-100f;
    *scale = !finite ? NAN : zero ? 0.0f : greatest / 127.0f;
    for (uint32_t i = 0; i < n; i++)
        quants[i] = zero ? 0 : plain_round(x[i] * (127.0f / greatest));
}

/* ---- attention ------------------------------------------------------------------------------- */

static float plain_score(const float *query, const plain_row *key, uint32_t dim,
                         rad_cache_type type)
{
    float score = 0.0f;
    if (type != RAD_CACHE_Q8_0 && type != RAD_CACHE_Q4_0) {
        for (uint32_t d = 0; d < dim; d++)
            score = fmaf(query[d], key->values[d], score);
        return score;
    }
    for (uint32_t b = 0; b < dim; b += 32) {
        int32_t quants[32], sum = 0;
        uint32_t n = dim - b < 32 ? dim - b : 32;
        float scale;
        plain_quantize_query(query + b, n, quants, &scale);
        for (uint32_t i = 0; i < n; i++)
            sum += quants[i] * key->quants[b + i];
        score = fmaf(scale * rad_float_of_half(key->scales[b / 32]), (float)sum, score);
    }
    return score;
}

/* Adds the outputs of integers to a state whose maximum and sum are merged. */
static void plain_integer_outputs(const float *p, const plain_query *query, uint32_t dim,
                                  const plain_row *values, float a, float b, float *state)
{
    for (uint32_t d = 0; d < dim; d++) {
        float greatest = 0.0f;
        for (uint32_t s = query->first; s < query->last && greatest == greatest; s++) {
            float scale = fabsf(rad_float_of_half(values[s].scales[d / 32]));
            greatest = scale > greatest || scale != scale ? scale : greatest;
        }
        int64_t sum = 0;
        for (uint32_t s = query->first; s < query->last; s++) {
            float factor = greatest > 0.0f ? 32767.0f / greatest : 0.0f;
            float weight = rad_float_of_half(values[s].scales[d / 32]) * factor;
            double exact = (double)p[s] * (double)weight;
            if (exact == exact) /* else c is NaN */
                sum += (int64_t)rint(exact) * values[s].quants[d];
        }
        float total = state[dim + 1];
        float c = total == total ? greatest / 32767.0f * b : NAN;
        state[d] = fmaf(state[d], a, (float)sum * c);
    }
}

void plain_attend(const rad_attention_shape *shape, const plain_query *query, const plain_row *keys,
                  const plain_row *values, float *state)
{
    const uint32_t first = query->first, last = query->last;
    if (first >= last)
        return;
    float p[32] = {0}, m = -INFINITY;
    for (uint32_t s = first; s < last; s++) {
        p[s] = plain_score(query->values, &keys[s], shape->key_dim, shape->key_type) * shape->scale;
        if (shape->cap > 0.0f)
            p[s] = shape->cap * rad_tanhf(p[s] / shape->cap);
        if (query->slope != 0.0f)
            p[s] = fmaf(query->slope, (float)(query->distance + (int32_t)s), p[s]);
        m = p[s] > m ? p[s] : m;
    }
    for (uint32_t s = first; s < last; s++)
        p[s] = rad_expf(p[s] - m);
    float *maximum = state + shape->value_dim, *sum = maximum + 1;
    float merged = *maximum > m ? *maximum : m;
    float a = rad_expf(*maximum - merged), b = rad_expf(m - merged);
    *maximum = merged;
    *sum = fmaf(*sum, a, plain_tree(p, 32) * b);
    if (shape->value_type == RAD_CACHE_Q8_0 || shape->value_type == RAD_CACHE_Q4_0) {
        plain_integer_outputs(p, query, shape->value_dim, values, a, b, state);
        return;
    }
    for (uint32_t d = 0; d < shape->value_dim; d++) {
        float o = 0.0f;
        for (uint32_t s = first; s < last; s++)
            o = fmaf(p[s], values[s].values[d], o);
        state[d] = fmaf(state[d], a, o * b);
    }
}

void plain_merge_states(float *state, const float *part, uint32_t value_dim)
{
    const uint32_t n = value_dim;
    if (part[n] == -INFINITY && part[n + 1] == 0.0f)
        return;
    if (state[n] == -INFINITY && state[n + 1] == 0.0f) {
        memcpy(state, part, (n + 2) * sizeof *state);
        return;
    }
    float most = state[n] > part[n] ? state[n] : part[n];
    float a = rad_expf(state[n] - most), b = rad_expf(part[n] - most);
    state[n] = most;
    state[n + 1] = fmaf(state[n + 1], a, part[n + 1] * b);
    for (uint32_t d = 0; d < n; d++)
        state[d] = fmaf(state[d], a, part[d] * b);
}

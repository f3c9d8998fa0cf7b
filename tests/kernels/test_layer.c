/* Every table of layer kernels against the text of kernels/cpu/layer.h, written out here plainly:
 * equal bits on random and extreme input, nothing written beyond the outputs. */
#include "layer_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_N 6000

/* ---- the text of layer.h ------------------------------------------------------------------- */

static float plain_tree(const float *lanes, int n)
{
    float copy[32];
    memcpy(copy, lanes, (size_t)n * sizeof *lanes);
    for (int width = n / 2; width >= 1; width /= 2) {
        for (int j = 0; j < width; j++)
            copy[j] = copy[j] + copy[j + width];
    }
    return copy[0];
}

static void plain_rms_norm(const float *x, const float *weight, float epsilon, uint32_t n, float *y)
{
    float lanes[16] = {0};
    for (uint32_t i = 0; i < n; i++)
        lanes[i % 16] = fmaf(x[i], x[i], lanes[i % 16]);
    float factor = 1.0f / sqrtf(plain_tree(lanes, 16) / (float)n + epsilon);
    for (uint32_t i = 0; i < n; i++) {
        float scaled = x[i] * factor;
        y[i] = weight != NULL ? scaled * weight[i] : scaled;
    }
}

static void plain_layer_norm(const float *x, const float *weight, const float *bias, float epsilon,
                             uint32_t n, float *y)
{
    float lanes[16] = {0};
    for (uint32_t i = 0; i < n; i++)
        lanes[i % 16] = lanes[i % 16] + x[i];
    float mean = plain_tree(lanes, 16) / (float)n;
    memset(lanes, 0, sizeof lanes);
    for (uint32_t i = 0; i < n; i++)
        lanes[i % 16] = fmaf(x[i] - mean, x[i] - mean, lanes[i % 16]);
    float factor = 1.0f / sqrtf(plain_tree(lanes, 16) / (float)n + epsilon);
    for (uint32_t i = 0; i < n; i++) {
        float value = (x[i] - mean) * factor;
        if (weight != NULL)
            value = value * weight[i];
        y[i] = bias != NULL ? value + bias[i] : value;
    }
}

/* One query at a time, on keys and values as floats. */
static void plain_attend(const rad_attention_shape *shape, const float *query, uint32_t first,
                         uint32_t last, const float *keys, const float *values, float slope,
                         int32_t distance, float *state)
{
    if (first >= last)
        return;
    float p[32], l[32] = {0}, m = -INFINITY;
    for (uint32_t s = first; s < last; s++) {
        float score = 0.0f;
        for (uint32_t d = 0; d < shape->key_dim; d++)
            score = fmaf(query[d], keys[d * 32 + s], score);
        p[s] = score * shape->scale;
        if (shape->cap > 0.0f)
            p[s] = shape->cap * rad_tanhf(p[s] / shape->cap);
        if (slope != 0.0f)
            p[s] = fmaf(slope, (float)(distance + (int32_t)s), p[s]);
        m = p[s] > m ? p[s] : m;
    }
    for (uint32_t s = first; s < last; s++)
        l[s] = p[s] = rad_expf(p[s] - m);
    float *maximum = state + shape->value_dim, *sum = maximum + 1;
    float merged = *maximum > m ? *maximum : m;
    float a = rad_expf(*maximum - merged), b = rad_expf(m - merged);
    *maximum = merged;
    *sum = fmaf(*sum, a, plain_tree(l, 32) * b);
    for (uint32_t d = 0; d < shape->value_dim; d++) {
        float o = 0.0f;
        for (uint32_t s = first; s < last; s++)
            o = fmaf(p[s], values[s * shape->value_dim + d], o);
        state[d] = fmaf(state[d], a, o * b);
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

static const uint32_t lengths[] = {1,  2,  7,  8,   15,  16,  17,  31,   32,   33,
                                   47, 64, 65, 100, 129, 288, 768, 2048, 2051, 5632};
static float x[MAX_N], w[MAX_N], b[MAX_N], expected[MAX_N], got[MAX_N + GUARDS];

START_TEST(norms_follow_the_text)
{
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
        for (int kind = 0; kind < FLAVOURS; kind++) {
            uint32_t n = lengths[l];
            fill(x, n, kind);
            fill(w, n, kind);
            fill(b, n, kind);
            for (int with = 0; with < 4; with++) {
                const float *weight = with & 1 ? w : NULL, *bias = with & 2 ? b : NULL;
                for (size_t t = 0; t < n_tables; t++) {
                    const rad_layer_kernels *k = tables[t].kernels;
                    fill_guards(got, n + GUARDS);
                    plain_rms_norm(x, weight, 1e-5f, n, expected);
                    k->rms_norm(x, weight, 1e-5f, n, got);
                    check_same(expected, got, n, "rms_norm", tables[t].name);
                    memcpy(got, x, n * sizeof *x);
                    k->rms_norm(got, weight, 1e-5f, n, got);
                    check_same(expected, got, n, "rms_norm in place", tables[t].name);
                    plain_layer_norm(x, weight, bias, 1e-6f, n, expected);
                    k->layer_norm(x, weight, bias, 1e-6f, n, got);
                    check_same(expected, got, n, "layer_norm", tables[t].name);
                    memcpy(got, x, n * sizeof *x);
                    k->layer_norm(got, weight, bias, 1e-6f, n, got);
                    check_same(expected, got, n, "layer_norm in place", tables[t].name);
                    check_guards(got + n, GUARDS, "a norm");
                }
            }
        }
    }
}
END_TEST

START_TEST(elementwise_functions_follow_the_text)
{
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
        for (int kind = 0; kind < FLAVOURS; kind++) {
            uint32_t n = lengths[l];
            fill(x, n, kind);
            fill(w, n, kind);
            for (size_t t = 0; t < n_tables; t++) {
                const rad_layer_kernels *k = tables[t].kernels;
                const char *name = tables[t].name;
                fill_guards(got, n + GUARDS);
                for (uint32_t i = 0; i < n; i++)
                    expected[i] = x[i] / (1.0f + rad_expf(-x[i])) * w[i];
                k->silu_multiply(x, w, n, got);
                check_same(expected, got, n, "silu_multiply", name);
                memcpy(got, x, n * sizeof *x);
                k->silu_multiply(got, w, n, got);
                check_same(expected, got, n, "silu_multiply in place", name);
                memcpy(got, w, n * sizeof *x);
                k->silu_multiply(x, got, n, got);
                check_same(expected, got, n, "silu_multiply into up", name);
                for (uint32_t i = 0; i < n; i++)
                    expected[i] = rad_gelu_tanhf(x[i]) * w[i];
                k->gelu_tanh_multiply(x, w, n, got);
                check_same(expected, got, n, "gelu_tanh_multiply", name);
                for (uint32_t i = 0; i < n; i++)
                    expected[i] = (x[i] < 0.0f ? 0.0f : x[i]) * (x[i] < 0.0f ? 0.0f : x[i]) * w[i];
                k->relu2_multiply(x, w, n, got);
                check_same(expected, got, n, "relu2_multiply", name);
                for (uint32_t i = 0; i < n; i++)
                    expected[i] = rad_gelu_tanhf(x[i]);
                k->gelu_tanh(x, n, got);
                check_same(expected, got, n, "gelu_tanh", name);
                for (uint32_t i = 0; i < n; i++)
                    expected[i] = rad_gelu_erff(x[i]);
                k->gelu_erf(x, n, got);
                check_same(expected, got, n, "gelu_erf", name);
                for (uint32_t i = 0; i < n; i++)
                    expected[i] = x[i] > 1.5f ? 1.5f : x[i] < -1.5f ? -1.5f : x[i];
                memcpy(got, x, n * sizeof *x);
                k->clamp(got, 1.5f, n, got);
                check_same(expected, got, n, "clamp", name);
                for (uint32_t i = 0; i < n; i++) {
                    float g = x[i] > 7.0f ? 7.0f : x[i], u = w[i] > 7.0f ? 7.0f : w[i];
                    u = u < -7.0f ? -7.0f : u;
                    expected[i] = g / (1.0f + rad_expf(-(1.702f * g))) * (u + 1.0f);
                }
                k->clamped_multiply(x, w, n, got);
                check_same(expected, got, n, "clamped_multiply", name);
                for (uint32_t i = 0; i < n; i++)
                    expected[i] = x[i] + w[i];
                k->add(x, w, n, got);
                check_same(expected, got, n, "add", name);
                memcpy(got, w, n * sizeof *x);
                k->add(x, got, n, got);
                check_same(expected, got, n, "add in place", name);
                for (uint32_t i = 0; i < n; i++)
                    expected[i] = x[i] * 1.7f;
                k->scale(x, 1.7f, n, got);
                check_same(expected, got, n, "scale", name);
                memcpy(got, w, n * sizeof *x);
                for (uint32_t i = 0; i < n; i++)
                    expected[i] = fmaf(x[i], 0.7f, w[i]);
                k->add_scaled(x, 0.7f, n, got);
                check_same(expected, got, n, "add_scaled", name);
                for (uint32_t i = 0; i < n; i++)
                    expected[i] = 30.0f * rad_tanhf(x[i] / 30.0f);
                k->soft_cap(x, 30.0f, n, got);
                check_same(expected, got, n, "soft_cap", name);
                check_guards(got + n, GUARDS, "an elementwise function");
            }
        }
    }
}
END_TEST

START_TEST(rotation_follows_the_text)
{
    for (uint32_t pairs = 1; pairs <= 130; pairs += pairs < 35 ? 1 : 31) {
        for (int kind = 0; kind < FLAVOURS; kind++) {
            for (int interleaved = 0; interleaved < 2; interleaved++) {
                fill(x, 2 * pairs, kind);
                fill(w, pairs, kind);
                fill(b, pairs, kind);
                for (uint32_t i = 0; i < pairs; i++) {
                    uint32_t first = interleaved ? 2 * i : i;
                    uint32_t second = interleaved ? 2 * i + 1 : i + pairs;
                    float down = -(x[second] * b[i]);
                    expected[first] = fmaf(x[first], w[i], down);
                    expected[second] = fmaf(x[first], b[i], x[second] * w[i]);
                }
                for (size_t t = 0; t < n_tables; t++) {
                    fill_guards(got, 2 * pairs + GUARDS);
                    memcpy(got, x, 2 * pairs * sizeof *x);
                    tables[t].kernels->rotate(got, w, b, pairs, interleaved);
                    check_same(expected, got, 2 * pairs, "rotate", tables[t].name);
                    check_guards(got + 2 * pairs, GUARDS, "rotate");
                }
            }
        }
    }
}
END_TEST

/* ---- attention ----------------------------------------------------------------------------------
 */

static float tile_keys[MAX_DIM * 32 + GUARDS], tile_values[MAX_DIM * 32 + GUARDS];
static uint16_t half_keys[MAX_DIM * 32 + GUARDS], half_values[MAX_DIM * 32 + GUARDS];
static float rounded_keys[MAX_DIM * 32], rounded_values[MAX_DIM * 32];
static float queries[MAX_QUERY * (MAX_DIM + 3)];
static float states[MAX_QUERY * (MAX_DIM + 7) + GUARDS], want[MAX_QUERY * (MAX_DIM + 7) + GUARDS];

START_TEST(stores_convert_and_place)
{
    static const uint32_t dims[] = {1, 3, 8, 64, 80, 256};
    for (size_t l = 0; l < sizeof dims / sizeof dims[0]; l++) {
        uint32_t dim = dims[l];
        for (size_t t = 0; t < n_tables; t++) {
            const rad_layer_kernels *k = tables[t].kernels;
            memset(half_keys, 0xee, sizeof half_keys);
            memset(half_values, 0xee, sizeof half_values);
            fill_guards(tile_keys, dim * 32 + GUARDS);
            fill_guards(tile_values, dim * 32 + GUARDS);
            for (uint32_t slot = 0; slot < 32; slot++) {
                fill(x, dim, slot % FLAVOURS);
                k->store_key(x, dim, RAD_CACHE_F32, tile_keys, slot);
                k->store_value(x, dim, RAD_CACHE_F32, tile_values, slot);
                k->store_key(x, dim, RAD_CACHE_F16, half_keys, slot);
                k->store_value(x, dim, RAD_CACHE_F16, half_values, slot);
                for (uint32_t d = 0; d < dim; d++) {
                    require(same(tile_keys[d * 32 + slot], x[d]));
                    require(same(tile_values[slot * dim + d], x[d]));
                    require(half_keys[d * 32 + slot] == rad_half_saturated(x[d]));
                    require(half_values[slot * dim + d] == rad_half_saturated(x[d]));
                }
            }
            check_guards(tile_keys + dim * 32, GUARDS, "store_key");
            check_guards(tile_values + dim * 32, GUARDS, "store_value");
            for (uint32_t i = 0; i < GUARDS; i++) {
                require(half_keys[dim * 32 + i] == 0xeeee);
                require(half_values[dim * 32 + i] == 0xeeee);
            }
        }
    }
}
END_TEST

static void make_ranges(uint8_t *first, uint8_t *last, uint32_t n, uint32_t style)
{
    for (uint32_t i = 0; i < n; i++) {
        first[i] = 0;
        last[i] = 32;
        if (style == 1) { /* the diagonal */
            last[i] = (uint8_t)(i % 33);
        } else if (style == 2) { /* anything, some of it empty */
            first[i] = (uint8_t)random_below(33);
            last[i] = (uint8_t)random_below(33);
        } else if (style == 3) { /* a window's edge */
            first[i] = (uint8_t)(i % 32);
        }
    }
}

/* Rounds values as the cache does; gives what a kernel is handed. */
static const void *as_cached(rad_cache_type type, const float *values, size_t n, uint16_t *halves,
                             float *rounded)
{
    memcpy(rounded, values, n * sizeof *values);
    if (type == RAD_CACHE_F32)
        return values;
    for (size_t i = 0; i < n; i++) {
        halves[i] = rad_half_saturated(values[i]);
        rounded[i] = rad_float_of_half(halves[i]);
    }
    return halves;
}

/* Fresh states, and states that something came into before. */
static void make_states(float *before, uint32_t n, uint32_t value_dim, size_t stride)
{
    fill_guards(before, n * stride);
    for (uint32_t i = 0; i < n; i++) {
        float *state = before + i * stride;
        memset(state, 0, (value_dim + 2) * sizeof *state);
        state[value_dim] = -INFINITY;
        if (i % 2 != 0) {
            fill(state, value_dim + 2, ORDINARY);
            state[value_dim + 1] = 3.0f;
        }
    }
}

/* Slopes as of heads, distances as of positions. */
static void make_slopes(float *slopes, int32_t *distances, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        slopes[i] = 1.0f / (float)(1 + random_below(300));
        distances[i] = -(int32_t)random_below(i % 8 == 0 ? 1u << 26 : 200);
    }
}

static void check_tables(const rad_attention_shape *shape, rad_tile_queries *rows,
                         const float *before, const void *keys, const void *values)
{
    size_t stride = rows->state_stride, width = shape->value_dim + 2;
    for (size_t t = 0; t < n_tables; t++) {
        fill_guards(states, rows->n * stride + GUARDS);
        memcpy(states, before, rows->n * stride * sizeof *states);
        tables[t].kernels->attend_tile(shape, rows, keys, values);
        for (uint32_t i = 0; i < rows->n; i++) { /* a maximum of 0 may have either sign */
            size_t at = i * stride + shape->value_dim;
            if (states[at] == 0.0f && want[at] == 0.0f)
                states[at] = want[at];
        }
        check_same(want, states, rows->n * stride, "attend_tile", tables[t].name);
        for (uint32_t i = 0; i < rows->n; i++)
            check_guards(states + i * stride + width, stride - width, "attend_tile");
        check_guards(states + rows->n * stride, GUARDS, "attend_tile");
    }
}

static void check_attention(const rad_attention_shape *shape, uint32_t n, int kind, uint32_t style,
                            bool biased)
{
    size_t key_dim = shape->key_dim, value_dim = shape->value_dim;
    size_t stride = key_dim + random_below(4), state_stride = value_dim + 2 + random_below(6);
    uint8_t first[MAX_QUERY], last[MAX_QUERY];
    float slopes[MAX_QUERY] = {0};
    int32_t distances[MAX_QUERY] = {0};
    make_ranges(first, last, n, style);
    if (biased)
        make_slopes(slopes, distances, n);
    fill(queries, n * stride, kind);
    fill(tile_keys, key_dim * 32, kind);
    fill(tile_values, value_dim * 32, kind);
    const void *keys = as_cached(shape->key_type, tile_keys, key_dim * 32, half_keys, rounded_keys);
    const void *values =
        as_cached(shape->value_type, tile_values, value_dim * 32, half_values, rounded_values);
    static float before[MAX_QUERY * (MAX_DIM + 7)];
    make_states(before, n, shape->value_dim, state_stride);
    fill_guards(want, n * state_stride + GUARDS);
    memcpy(want, before, n * state_stride * sizeof *want);
    for (uint32_t i = 0; i < n; i++)
        plain_attend(shape, queries + i * stride, first[i], last[i], rounded_keys, rounded_values,
                     slopes[i], distances[i], want + i * state_stride);
    rad_tile_queries rows = {.values = queries,
                             .stride = stride,
                             .n = n,
                             .first = first,
                             .last = last,
                             .slopes = biased ? slopes : NULL,
                             .distances = biased ? distances : NULL,
                             .states = states,
                             .state_stride = state_stride};
    check_tables(shape, &rows, before, keys, values);
}

static rad_attention_shape random_shape(uint32_t key_dim, uint32_t value_dim, float cap)
{
    return (rad_attention_shape){.key_dim = key_dim,
                                 .value_dim = value_dim,
                                 .key_type = random_below(2) ? RAD_CACHE_F16 : RAD_CACHE_F32,
                                 .value_type = random_below(2) ? RAD_CACHE_F16 : RAD_CACHE_F32,
                                 .scale = 1.0f / sqrtf((float)key_dim),
                                 .cap = cap};
}

START_TEST(attention_follows_the_text)
{
    /* Keys and values of a head; the last are those of DeepSeek's compressed attention. */
    static const uint32_t dims[][2] = {{1, 1},   {2, 2},     {8, 8},     {15, 15},  {24, 24},
                                       {40, 40}, {64, 64},   {80, 80},   {96, 96},  {128, 128},
                                       {192, 8}, {256, 256}, {192, 128}, {33, 200}, {576, 512}};
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 8, 11, 31, 33, 40};
    for (size_t l = 0; l < sizeof dims / sizeof dims[0]; l++) {
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            for (uint32_t style = 0; style < 4; style++) {
                rad_attention_shape shape =
                    random_shape(dims[l][0], dims[l][1], style % 2 ? 50.0f : 0.0f);
                check_attention(&shape, counts[c], (int)random_below(FLAVOURS), style, style == 2);
            }
        }
    }
    for (uint32_t i = 0; i < 300; i++) {
        rad_attention_shape shape =
            random_shape(1 + random_below(70), 1 + random_below(70), i % 3 ? 0.0f : 2.0f);
        check_attention(&shape, 1 + random_below(12), ORDINARY, i % 4, i % 5 < 2);
    }
}
END_TEST

START_TEST(masked_slots_may_hold_anything)
{
    enum { DIM = 64 };
    fill(queries, 5 * DIM, ORDINARY);
    fill(tile_keys, DIM * 32, ORDINARY);
    fill(tile_values, DIM * 32, ORDINARY);
    for (uint32_t d = 0; d < DIM; d++) {
        for (uint32_t s = 20; s < 32; s++) {
            tile_keys[d * 32 + s] = s % 2 ? NAN : INFINITY;
            tile_values[s * DIM + d] = s % 2 ? INFINITY : NAN;
        }
    }
    uint8_t first[5] = {0, 3, 0, 19, 5}, last[5] = {20, 20, 1, 20, 12};
    for (size_t t = 0; t < n_tables; t++) {
        float state[5 * (DIM + 2)] = {0}, out[DIM];
        for (int i = 0; i < 5; i++)
            state[i * (DIM + 2) + DIM] = -INFINITY;
        rad_attention_shape shape = {DIM, DIM, RAD_CACHE_F32, RAD_CACHE_F32, 0.125f, 0.0f};
        rad_tile_queries rows = {.values = queries,
                                 .stride = DIM,
                                 .n = 5,
                                 .first = first,
                                 .last = last,
                                 .states = state,
                                 .state_stride = DIM + 2};
        tables[t].kernels->attend_tile(&shape, &rows, tile_keys, tile_values);
        for (int i = 0; i < 5 * (DIM + 2); i++)
            require(isfinite(state[i]));
        tables[t].kernels->finish_attention(state + 2 * (DIM + 2), DIM, out);
        for (int d = 0; d < DIM; d++) /* query 2 sees slot 0 alone */
            require(same(out[d], tile_values[d]));
    }
}
END_TEST

START_TEST(attention_over_tiles_is_a_softmax)
{
    enum { DIM = 32, TILES = 5 };
    static float all_keys[TILES][DIM * 32], all_values[TILES][DIM * 32];
    fill(queries, DIM, ORDINARY);
    fill(all_keys[0], sizeof all_keys / sizeof(float), ORDINARY);
    fill(all_values[0], sizeof all_values / sizeof(float), ORDINARY);
    double sum = 0, out[DIM] = {0};
    for (int t = 0; t < TILES; t++) {
        for (int s = 0; s < 32; s++) {
            double score = 0;
            for (int d = 0; d < DIM; d++)
                score += (double)queries[d] * all_keys[t][d * 32 + s];
            double p = rad_exp(score * 0.2);
            sum += p;
            for (int d = 0; d < DIM; d++)
                out[d] += p * all_values[t][s * DIM + d];
        }
    }
    for (size_t k = 0; k < n_tables; k++) {
        float state[DIM + 2] = {[DIM] = -INFINITY}, result[DIM];
        uint8_t first = 0, last = 32;
        rad_attention_shape shape = {DIM, DIM, RAD_CACHE_F32, RAD_CACHE_F32, 0.2f, 0.0f};
        rad_tile_queries rows = {.values = queries,
                                 .stride = DIM,
                                 .n = 1,
                                 .first = &first,
                                 .last = &last,
                                 .states = state,
                                 .state_stride = DIM + 2};
        for (int t = 0; t < TILES; t++)
            tables[k].kernels->attend_tile(&shape, &rows, all_keys[t], all_values[t]);
        tables[k].kernels->finish_attention(state, DIM, result);
        for (int d = 0; d < DIM; d++)
            ck_assert_double_eq_tol(result[d], out[d] / sum, 1e-5);
    }
}
END_TEST

/* By the formula, bit for bit; what nothing came into changes nothing. */
START_TEST(states_merge_as_tiles_do)
{
    enum { MAX_STATE = 82 };
    static const uint32_t dims[] = {1, 7, 16, 33, 64, 80};
    for (size_t l = 0; l < sizeof dims / sizeof dims[0]; l++) {
        for (size_t t = 0; t < n_tables; t++) {
            const rad_layer_kernels *kernels = tables[t].kernels;
            uint32_t n = dims[l];
            float state[MAX_STATE + GUARDS], part[MAX_STATE], plain[MAX_STATE], empty[MAX_STATE];
            fill(part, n + 2, ORDINARY);
            fill(plain, n + 2, ORDINARY);
            memset(empty, 0, sizeof empty);
            empty[n] = -INFINITY;
            fill_guards(state, n + 2 + GUARDS);
            memcpy(state, empty, (n + 2) * sizeof *state);
            kernels->merge_states(state, part, n);
            check_same(part, state, n + 2, "merge_states into nothing", tables[t].name);
            kernels->merge_states(state, empty, n);
            check_same(part, state, n + 2, "merge_states of nothing", tables[t].name);
            memcpy(state, plain, (n + 2) * sizeof *state);
            float most = plain[n] > part[n] ? plain[n] : part[n];
            float a = rad_expf(plain[n] - most), weight = rad_expf(part[n] - most);
            plain[n] = most;
            plain[n + 1] = fmaf(plain[n + 1], a, part[n + 1] * weight);
            for (uint32_t d = 0; d < n; d++)
                plain[d] = fmaf(plain[d], a, part[d] * weight);
            kernels->merge_states(state, part, n);
            check_same(plain, state, n + 2, "merge_states", tables[t].name);
            check_guards(state + n + 2, GUARDS, "merge_states");
        }
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    find_tables();
    TCase *cases = rad_test_case(suite, "layer");
    tcase_add_test(cases, norms_follow_the_text);
    tcase_add_test(cases, elementwise_functions_follow_the_text);
    tcase_add_test(cases, rotation_follows_the_text);
    tcase_add_test(cases, stores_convert_and_place);
    tcase_add_test(cases, attention_follows_the_text);
    tcase_add_test(cases, masked_slots_may_hold_anything);
    tcase_add_test(cases, attention_over_tiles_is_a_softmax);
    tcase_add_test(cases, states_merge_as_tiles_do);
}

int main(void)
{
    return rad_test_main("layer", add_cases);
}

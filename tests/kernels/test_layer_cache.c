/* The number formats of cached keys and values: every table of layer kernels against the text of
 * kernels/cpu/layer.h, written out here plainly. */
#include "kernels/cpu/cached.h"
#include "layer_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEAD   256
#define MAX_BLOCKS (MAX_HEAD / 32)
#define MAX_TILE   (MAX_HEAD * 32 * 4 + 64 * MAX_BLOCKS)

static const uint32_t head_dims[] = {1, 3, 4, 8, 15, 31, 33, 40, 64, 80, 96, 112, 128, 256};

/* ---- numbers --------------------------------------------------------------------------------- */

START_TEST(narrow_floats_round_to_the_nearest)
{
    for (uint32_t code = 0; code < 256; code++) {
        float value = rad_float_of_fp8((uint8_t)code);
        require((code & 0x7f) == 0x7f ? value != value
                                      : rad_fp8_saturated(value) == code && fabsf(value) <= 448.0f);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        float x = random_value(i % 2 ? ORDINARY : WIDE) * (i % 3 ? 1.0f : 0.01f);
        uint8_t code = rad_fp8_saturated(x);
        float error = fabsf(rad_float_of_fp8(code) - x);
        for (uint32_t other = 0; other < 256; other++) {
            float distance = fabsf(rad_float_of_fp8((uint8_t)other) - x);
            require(!(distance < error));
            /* Of two that are as near, the even one. */
            require(distance != error || x == 0.0f || other == code || code % 2 == 0);
        }
        uint32_t exact = rad_float_bits(x), down = exact & 0xffff0000u;
        uint32_t up = down + 0x10000u, rest = exact & 0xffffu;
        bool upwards = rest > 0x8000u || (rest == 0x8000u && (down & 0x10000u) != 0);
        require(rad_float_bits(rad_float_of_bf16(rad_bf16_saturated(x))) == (upwards ? up : down));
    }
    require(rad_bf16_saturated(3.4028235e38f) == 0x7f7f && rad_bf16_saturated(-INFINITY) == 0xff80);
    require(rad_bf16_saturated(NAN) == 0x7fc0 && rad_fp8_saturated(1e30f) == 0x7e);
    require(rad_fp8_saturated(-449.0f) == 0xfe && (rad_fp8_saturated(-INFINITY) & 0x7f) == 0x7f);
    require((rad_fp8_saturated(NAN) & 0x7f) == 0x7f);
}
END_TEST

/* ---- the text of layer.h ------------------------------------------------------------------- */

/* A head's numbers in a format: floats, or integers with a scale for each block. */
typedef struct plain_row {
    float values[MAX_HEAD];
    int32_t quants[MAX_HEAD];
    uint16_t scales[MAX_BLOCKS];
} plain_row;

static int32_t plain_round(float x)
{
    float whole = rintf(x); /* the tests' rounding mode is to nearest even */
    return (int32_t)whole;
}

static void plain_quantize(const float *x, uint32_t n, rad_cache_type type, int32_t *quants,
                           uint16_t *scale)
{
    float highest = type == RAD_CACHE_Q8_0 ? 127.0f : 7.0f;
    float lowest = type == RAD_CACHE_Q8_0 ? -127.0f : -8.0f;
    float greatest = 0.0f;
    bool finite = true, positive = false;
    for (uint32_t i = 0; i < n; i++) {
        greatest = fabsf(x[i]) > greatest ? fabsf(x[i]) : greatest;
        finite = finite && isfinite(x[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        positive = positive || x[i] == greatest;
    float d = greatest / -lowest;
    d = type == RAD_CACHE_Q4_0 && positive ? -d : d;
    *scale = finite ? rad_half_saturated(d) : 0x7e00;
    float stored = rad_float_of_half(*scale);
    for (uint32_t i = 0; i < n; i++) {
        float scaled = finite && stored != 0.0f ? x[i] * (1.0f / stored) : 0.0f;
        scaled = scaled > highest ? highest : scaled < lowest ? lowest : scaled;
        quants[i] = plain_round(scaled);
    }
}

static void plain_store(const float *x, uint32_t dim, rad_cache_type type, plain_row *row)
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
        float greatest = 0.0f;
        bool finite = true;
        uint32_t n = dim - b < 32 ? dim - b : 32;
        for (uint32_t d = b; d < b + n; d++) {
            greatest = fabsf(query[d]) > greatest ? fabsf(query[d]) : greatest;
            finite = finite && isfinite(query[d]);
        }
        bool zero = !finite || greatest < 0x1p-100f;
        float scale = !finite ? NAN : zero ? 0.0f : greatest / 127.0f;
        int32_t sum = 0;
        for (uint32_t d = b; d < b + n; d++)
            sum += zero ? 0 : plain_round(query[d] * (127.0f / greatest)) * key->quants[d];
        score = fmaf(scale * rad_float_of_half(key->scales[b / 32]), (float)sum, score);
    }
    return score;
}

static float plain_sum(const float *values)
{
    float copy[32];
    memcpy(copy, values, sizeof copy);
    for (int width = 16; width >= 1; width /= 2) {
        for (int j = 0; j < width; j++)
            copy[j] = copy[j] + copy[j + width];
    }
    return copy[0];
}

/* Adds the outputs of integers to a state whose maximum and sum are merged. */
static void plain_integer_outputs(const float *p, uint32_t first, uint32_t last, uint32_t dim,
                                  const plain_row *values, float a, float b, float *state)
{
    for (uint32_t d = 0; d < dim; d++) {
        float greatest = 0.0f, weight[32];
        for (uint32_t s = first; s < last; s++) {
            float scale = fabsf(rad_float_of_half(values[s].scales[d / 32]));
            greatest = scale > greatest || scale != scale ? scale : greatest;
            if (greatest != greatest)
                break;
        }
        int64_t sum = 0;
        for (uint32_t s = first; s < last; s++) {
            float factor = greatest > 0.0f ? 32767.0f / greatest : 0.0f;
            weight[s] = rad_float_of_half(values[s].scales[d / 32]) * factor;
            double exact = (double)p[s] * (double)weight[s];
            if (exact == exact) /* else c is NaN */
                sum += (int64_t)rint(exact) * values[s].quants[d];
        }
        float total = state[dim + 1];
        float c = total == total ? greatest / 32767.0f * b : NAN;
        state[d] = fmaf(state[d], a, (float)sum * c);
    }
}

static void plain_attend(const rad_attention_shape *shape, const float *query, uint32_t first,
                         uint32_t last, const plain_row *keys, const plain_row *values,
                         float *state)
{
    if (first >= last)
        return;
    float p[32] = {0}, m = -INFINITY;
    for (uint32_t s = first; s < last; s++) {
        p[s] = plain_score(query, &keys[s], shape->key_dim, shape->key_type) * shape->scale;
        m = p[s] > m ? p[s] : m;
    }
    for (uint32_t s = first; s < last; s++)
        p[s] = rad_expf(p[s] - m);
    float *maximum = state + shape->value_dim, *sum = maximum + 1;
    float merged = *maximum > m ? *maximum : m;
    float a = rad_expf(*maximum - merged), b = rad_expf(m - merged);
    *maximum = merged;
    *sum = fmaf(*sum, a, plain_sum(p) * b);
    if (shape->value_type == RAD_CACHE_Q8_0 || shape->value_type == RAD_CACHE_Q4_0) {
        plain_integer_outputs(p, first, last, shape->value_dim, values, a, b, state);
        return;
    }
    for (uint32_t d = 0; d < shape->value_dim; d++) {
        float o = 0.0f;
        for (uint32_t s = first; s < last; s++)
            o = fmaf(p[s], values[s].values[d], o);
        state[d] = fmaf(state[d], a, o * b);
    }
}

/* ---- tiles ----------------------------------------------------------------------------------- */

static union {
    uint8_t bytes[MAX_TILE + GUARDS];
    float align;
} key_tile, value_tile, other_tile;
static plain_row key_rows[32], value_rows[32];
static float heads[32][MAX_HEAD];

/* Fills a tile slot by slot, in the kernels' layout and plainly. */
static void make_tile(const rad_layer_kernels *kernels, bool of_keys, rad_cache_type type,
                      uint32_t dim, uint8_t *tile, plain_row *rows)
{
    for (uint32_t slot = 0; slot < 32; slot++) {
        plain_store(heads[slot], dim, type, &rows[slot]);
        (of_keys ? kernels->store_key : kernels->store_value)(heads[slot], dim, type, tile, slot);
    }
}

/* What layer.h says about one slot of a tile of integers. */
static void check_slot(const uint8_t *tile, bool of_keys, rad_cache_type type, uint32_t dim,
                       uint32_t slot, const plain_row *row)
{
    bool four = type == RAD_CACHE_Q4_0;
    size_t bytes = of_keys ? rad_key_tile_bytes(type, dim) : rad_value_tile_bytes(type, dim);
    size_t pair_bytes = 2 * rad_value_row_bytes(type, dim), blocks = (dim + 31) / 32;
    for (uint32_t d = 0; d < dim; d++) {
        uint16_t scale;
        memcpy(&scale, tile + bytes - (blocks - d / 32) * 64 + slot * 2, sizeof scale);
        require(scale == row->scales[d / 32]);
        size_t at = slot / 2 * pair_bytes + slot % 2;
        if (of_keys)
            at = four ? (d / 8 * 32 + slot) * 4 + d % 4 : (d / 4 * 32 + slot) * 4 + d % 4;
        else
            at += four ? (size_t)d / 32 * 32 + d % 16 * 2 : (size_t)d * 2;
        bool high = of_keys ? d % 8 >= 4 : d % 32 >= 16;
        int32_t stored = four      ? (high ? tile[at] >> 4 : tile[at] & 15) - 8
                         : of_keys ? tile[at] - 128
                                   : (int8_t)tile[at];
        require(stored == row->quants[d]);
    }
}

static void check_store(uint32_t dim, rad_cache_type type, bool of_keys, int kind)
{
    size_t bytes = of_keys ? rad_key_tile_bytes(type, dim) : rad_value_tile_bytes(type, dim);
    require(bytes <= MAX_TILE);
    for (uint32_t slot = 0; slot < 32; slot++)
        fill(heads[slot], dim, kind);
    for (size_t t = 0; t < n_tables; t++) {
        memset(key_tile.bytes, 0xee, sizeof key_tile.bytes);
        make_tile(tables[t].kernels, of_keys, type, dim, key_tile.bytes, key_rows);
        for (uint32_t slot = 0; slot < 32; slot++) {
            if (rad_cache_type_is_integer(type))
                check_slot(key_tile.bytes, of_keys, type, dim, slot, &key_rows[slot]);
        }
        for (uint32_t i = 0; i < GUARDS; i++)
            require(key_tile.bytes[bytes + i] == 0xee);
        if (t == 0)
            memcpy(other_tile.bytes, key_tile.bytes, sizeof other_tile.bytes);
        require(memcmp(other_tile.bytes, key_tile.bytes, bytes) == 0);
        /* A slot stored again changes that slot alone, so that tasks may share a tile. */
        plain_store(heads[3], dim, type, &key_rows[17]);
        (of_keys ? tables[t].kernels->store_key
                 : tables[t].kernels->store_value)(heads[3], dim, type, key_tile.bytes, 17);
        for (uint32_t slot = 0; slot < 32 && rad_cache_type_is_integer(type); slot++)
            check_slot(key_tile.bytes, of_keys, type, dim, slot, &key_rows[slot]);
    }
}

START_TEST(stores_follow_the_text)
{
    for (size_t l = 0; l < sizeof head_dims / sizeof head_dims[0]; l++) {
        for (int type = 0; type < RAD_CACHE_TYPES; type++) {
            for (int kind = 0; kind < FLAVOURS; kind++) {
                check_store(head_dims[l], (rad_cache_type)type, true, kind);
                check_store(head_dims[l], (rad_cache_type)type, false, kind);
            }
        }
    }
}
END_TEST

START_TEST(small_and_huge_blocks)
{
    float x[32] = {0};
    int32_t quants[32];
    uint16_t scale;
    plain_quantize(x, 32, RAD_CACHE_Q8_0, quants, &scale);
    require(scale == 0 && quants[5] == 0);
    for (int type = RAD_CACHE_Q8_0; type <= RAD_CACHE_Q4_0; type++) {
        static const float amounts[] = {1e-45f, 1e-30f, 1e-6f, 4e6f, 9e6f, 1e30f, 3.4e38f};
        for (size_t i = 0; i < sizeof amounts / sizeof amounts[0]; i++) {
            for (uint32_t slot = 0; slot < 32; slot++)
                for (uint32_t d = 0; d < 40; d++)
                    heads[slot][d] = amounts[i] * (d % 3 == 0 ? 1.0f : -0.3f);
            for (size_t t = 0; t < n_tables; t++) {
                make_tile(tables[t].kernels, true, (rad_cache_type)type, 40, key_tile.bytes,
                          key_rows);
                check_slot(key_tile.bytes, true, (rad_cache_type)type, 40, 7, &key_rows[7]);
                require(rad_float_of_half(key_rows[7].scales[0]) <= 65504.0f);
            }
        }
    }
}
END_TEST

/* Keys come back as the text says, and a moved value is what would have been stored there. */
START_TEST(single_slots_can_be_read_and_moved)
{
    static float key[MAX_HEAD];
    for (size_t l = 0; l < sizeof head_dims / sizeof head_dims[0]; l++) {
        uint32_t dim = head_dims[l];
        for (int t = 0; t < RAD_CACHE_TYPES; t++) {
            rad_cache_type type = (rad_cache_type)t;
            size_t bytes = rad_value_tile_bytes(type, dim);
            for (uint32_t slot = 0; slot < 32; slot++)
                fill(heads[slot], dim, ORDINARY);
            make_tile(tables[0].kernels, true, type, dim, key_tile.bytes, key_rows);
            for (uint32_t slot = 0; slot < 32; slot++) {
                rad_cached_key(key_tile.bytes, dim, type, slot, key);
                for (uint32_t d = 0; d < dim; d++) {
                    const plain_row *row = &key_rows[slot];
                    float scale = rad_float_of_half(row->scales[d / 32]);
                    require(key[d] == (rad_cache_type_is_integer(type)
                                           ? scale * (float)row->quants[d]
                                           : row->values[d]));
                }
            }
            memset(value_tile.bytes, 0, sizeof value_tile.bytes); /* as pages start */
            make_tile(tables[0].kernels, false, type, dim, value_tile.bytes, value_rows);
            memcpy(other_tile.bytes, value_tile.bytes, sizeof other_tile.bytes);
            rad_cached_move_value(value_tile.bytes, 30, other_tile.bytes, 5, dim, type);
            rad_cached_move_value(other_tile.bytes, 8, other_tile.bytes, 9, dim, type);
            tables[0].kernels->store_value(heads[30], dim, type, value_tile.bytes, 5);
            tables[0].kernels->store_value(heads[8], dim, type, value_tile.bytes, 9);
            require(memcmp(other_tile.bytes, value_tile.bytes, bytes) == 0);
        }
    }
}
END_TEST

/* ---- attention ------------------------------------------------------------------------------- */

static float queries[MAX_QUERY * MAX_HEAD];
static float integers[MAX_QUERY * MAX_BLOCKS * 10];
static float states[MAX_QUERY * (MAX_HEAD + 2) + GUARDS];
static float want[MAX_QUERY * (MAX_HEAD + 2) + GUARDS];

static void make_ranges(uint8_t *first, uint8_t *last, uint32_t n, uint32_t style)
{
    for (uint32_t i = 0; i < n; i++) {
        first[i] = style == 2 ? (uint8_t)random_below(33) : 0;
        last[i] = style == 0 ? 32 : style == 1 ? (uint8_t)(i % 33) : (uint8_t)random_below(33);
    }
}

static void clear_state(float *state, uint32_t value_dim)
{
    memset(state, 0, (value_dim + 2) * sizeof *state);
    state[value_dim] = -INFINITY;
}

static void run_tile(const rad_layer_kernels *kernels, const rad_attention_shape *shape, uint32_t n,
                     const uint8_t *first, const uint8_t *last)
{
    size_t bytes = rad_query_bytes(shape->key_dim);
    rad_tile_queries rows = {.values = queries,
                             .stride = shape->key_dim,
                             .integers = (const uint8_t *)integers,
                             .integers_stride = bytes,
                             .n = n,
                             .first = first,
                             .last = last,
                             .states = states,
                             .state_stride = shape->value_dim + 2};
    for (uint32_t i = 0; i < n; i++)
        kernels->quantize_query(queries + i * shape->key_dim, shape->key_dim,
                                (uint8_t *)integers + i * bytes);
    kernels->attend_tile(shape, &rows, key_tile.bytes, value_tile.bytes);
}

static void check_attention(const rad_attention_shape *shape, uint32_t n, int kind, uint32_t style)
{
    uint8_t first[MAX_QUERY], last[MAX_QUERY];
    size_t width = shape->value_dim + 2;
    make_ranges(first, last, n, style);
    fill(queries, (size_t)n * shape->key_dim, kind);
    for (uint32_t slot = 0; slot < 32; slot++)
        fill(heads[slot], shape->key_dim, kind);
    make_tile(tables[0].kernels, true, shape->key_type, shape->key_dim, key_tile.bytes, key_rows);
    for (uint32_t slot = 0; slot < 32; slot++)
        fill(heads[slot], shape->value_dim, kind);
    make_tile(tables[0].kernels, false, shape->value_type, shape->value_dim, value_tile.bytes,
              value_rows);
    for (uint32_t i = 0; i < n; i++) {
        clear_state(want + i * width, shape->value_dim);
        if (i % 2 != 0) { /* something came before */
            fill(want + i * width, width, ORDINARY);
            want[i * width + shape->value_dim + 1] = 3.0f;
        }
    }
    static float before[MAX_QUERY * (MAX_HEAD + 2)];
    memcpy(before, want, n * width * sizeof *want);
    for (uint32_t i = 0; i < n; i++)
        plain_attend(shape, queries + (size_t)i * shape->key_dim, first[i], last[i], key_rows,
                     value_rows, want + i * width);
    for (size_t t = 0; t < n_tables; t++) {
        fill_guards(states, n * width + GUARDS);
        memcpy(states, before, n * width * sizeof *states);
        run_tile(tables[t].kernels, shape, n, first, last);
        for (uint32_t i = 0; i < n; i++) { /* a maximum of 0 may have either sign */
            size_t at = i * width + shape->value_dim;
            if (states[at] == 0.0f && want[at] == 0.0f)
                states[at] = want[at];
        }
        check_same(want, states, n * width, "attend_tile", tables[t].name);
        check_guards(states + n * width, GUARDS, "attend_tile");
    }
}

START_TEST(attention_follows_the_text)
{
    static const uint32_t counts[] = {1, 2, 3, 4, 7, 8, 11, 16, 33};
    uint32_t round = 0;
    for (int pair = 0; pair < RAD_CACHE_TYPES * RAD_CACHE_TYPES; pair++) {
        for (size_t l = 0; l < sizeof head_dims / sizeof head_dims[0]; l++, round++) {
            uint32_t other = head_dims[random_below(sizeof head_dims / sizeof head_dims[0])];
            rad_attention_shape shape = {.key_dim = head_dims[l],
                                         .value_dim = round % 3 ? head_dims[l] : other,
                                         .key_type = (rad_cache_type)(pair % RAD_CACHE_TYPES),
                                         .value_type = (rad_cache_type)(pair / RAD_CACHE_TYPES),
                                         .scale = 1.0f / sqrtf((float)head_dims[l])};
            for (uint32_t i = 0; i < 3; i++)
                check_attention(&shape, counts[random_below(9)], (int)((round + i) % FLAVOURS),
                                (round / 3 + i) % 3);
        }
    }
}
END_TEST

/* Whatever stands in hidden slots, also scales that are no numbers, changes no bit. */
START_TEST(hidden_slots_may_hold_anything)
{
    enum { DIM = 80, N = 9 };
    uint8_t first[N], last[N];
    for (int i = 0; i < N; i++) {
        first[i] = (uint8_t)(5 + i / 4);
        last[i] = (uint8_t)(20 - i % 3);
    }
    for (int type = RAD_CACHE_Q8_0; type <= RAD_CACHE_Q4_0; type++) {
        rad_attention_shape shape = {DIM,  DIM, (rad_cache_type)type, (rad_cache_type)type,
                                     0.1f, 0.0f};
        fill(queries, N * DIM, ORDINARY);
        for (uint32_t slot = 0; slot < 32; slot++)
            fill(heads[slot], DIM, ORDINARY);
        for (size_t t = 0; t < n_tables; t++) {
            for (int garbage = 0; garbage < 3; garbage++) {
                static const uint8_t bytes[] = {0x00, 0xff, 0x7c};
                memset(key_tile.bytes, bytes[garbage], sizeof key_tile.bytes);
                memset(value_tile.bytes, bytes[garbage], sizeof value_tile.bytes);
                for (uint32_t slot = 5; slot < 20; slot++) {
                    tables[t].kernels->store_key(heads[slot], DIM, shape.key_type, key_tile.bytes,
                                                 slot);
                    tables[t].kernels->store_value(heads[slot], DIM, shape.value_type,
                                                   value_tile.bytes, slot);
                }
                for (int i = 0; i < N; i++)
                    clear_state(states + i * (DIM + 2), DIM);
                run_tile(tables[t].kernels, &shape, N, first, last);
                if (t == 0 && garbage == 0)
                    memcpy(want, states, N * (DIM + 2) * sizeof *want);
                for (int i = 0; i < N * (DIM + 2); i++)
                    require(isfinite(states[i]));
                check_same(want, states, N * (DIM + 2), "attend_tile", tables[t].name);
            }
        }
    }
}
END_TEST

/* A visible key or value that is not finite makes the whole output NaN, in every format that cannot
 * hold it otherwise. */
START_TEST(what_is_not_finite_is_seen)
{
    enum { DIM = 64 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int type = RAD_CACHE_FP8; type <= RAD_CACHE_Q4_0; type++) {
        for (int which = 0; which < 6; which++) {
            rad_attention_shape shape = {DIM,    DIM, (rad_cache_type)type, (rad_cache_type)type,
                                         0.125f, 0.0f};
            uint8_t first = 0, last = 32;
            fill(queries, DIM, ORDINARY);
            for (size_t t = 0; t < n_tables; t++) {
                for (uint32_t slot = 0; slot < 32; slot++)
                    fill(heads[slot], DIM, ORDINARY);
                heads[9][40] = which < 3 ? bad[which] : heads[9][40];
                make_tile(tables[t].kernels, true, shape.key_type, DIM, key_tile.bytes, key_rows);
                heads[9][40] = which < 3 ? 1.0f : bad[which - 3];
                make_tile(tables[t].kernels, false, shape.value_type, DIM, value_tile.bytes,
                          value_rows);
                clear_state(states, DIM);
                run_tile(tables[t].kernels, &shape, 1, &first, &last);
                float out[DIM];
                tables[t].kernels->finish_attention(states, DIM, out);
                require(out[40] != out[40]);
                require(which >= 3 || out[0] != out[0]);
            }
        }
    }
}
END_TEST

/* How far a format's attention is from that of the exact keys and values. */
START_TEST(formats_are_as_exact_as_they_should_be)
{
    enum { DIM = 64, TRIES = 40 };
    static const double allowed[RAD_CACHE_TYPES] = {1e-6, 1e-3, 5e-3, 4e-2, 1e-2, 0.15};
    uint8_t first = 0, last = 32;
    for (int type = 0; type < RAD_CACHE_TYPES; type++) {
        double error = 0, power = 0;
        rad_attention_shape exact = {DIM, DIM, RAD_CACHE_F32, RAD_CACHE_F32, 0.125f, 0.0f};
        rad_attention_shape shape = {DIM,    DIM, (rad_cache_type)type, (rad_cache_type)type,
                                     0.125f, 0.0f};
        for (int i = 0; i < TRIES; i++) {
            const rad_layer_kernels *kernels = tables[(size_t)i % n_tables].kernels;
            fill(queries, DIM, ORDINARY);
            for (uint32_t slot = 0; slot < 32; slot++)
                fill(heads[slot], DIM, ORDINARY);
            for (int pass = 0; pass < 2; pass++) {
                const rad_attention_shape *used = pass == 0 ? &exact : &shape;
                make_tile(kernels, true, used->key_type, DIM, key_tile.bytes, key_rows);
                make_tile(kernels, false, used->value_type, DIM, value_tile.bytes, value_rows);
                clear_state(states, DIM);
                run_tile(kernels, used, 1, &first, &last);
                kernels->finish_attention(states, DIM, pass == 0 ? want : states);
            }
            for (int d = 0; d < DIM; d++) {
                error += pow((double)states[d] - (double)want[d], 2);
                power += pow((double)want[d], 2);
            }
        }
        ck_assert_double_le(sqrt(error / power), allowed[type]);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    find_tables();
    TCase *cases = rad_test_case(suite, "cache formats");
    tcase_add_test(cases, narrow_floats_round_to_the_nearest);
    tcase_add_test(cases, stores_follow_the_text);
    tcase_add_test(cases, small_and_huge_blocks);
    tcase_add_test(cases, single_slots_can_be_read_and_moved);
    tcase_add_test(cases, attention_follows_the_text);
    tcase_add_test(cases, hidden_slots_may_hold_anything);
    tcase_add_test(cases, what_is_not_finite_is_seen);
    tcase_add_test(cases, formats_are_as_exact_as_they_should_be);
}

int main(void)
{
    return rad_test_main("layer_cache", add_cases);
}
